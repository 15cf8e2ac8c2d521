//! Sending what is due to one receiver, and noting what became of it.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use serde_json::Value;
use sqlx::PgPool;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::follow::{accounts, beginnings};
use super::gate::{Facts, judge};
use super::metric;
use super::payload;
use super::queue::{self, Due};
use super::run::Effects;
use super::sign::headers;
use super::subscription::{Kind, Subscription};
use crate::calendar::record_json;
use crate::db::passes;
use crate::event::{Environment, Position};
use crate::event_log;
use crate::network::{Network, PostAnswer, PostError};
use crate::telemetry::LogBudget;

/// Requests at once to one receiver.
const AT_ONCE: usize = 4;
/// What is due is looked for this often without a word that something is: pauses end, and operators queue again.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// For one request as a whole.
const ANSWER_LIMIT: Duration = Duration::from_secs(15);
/// The longest that a receiver's wish for a pause is kept to.
const PAUSE_MAX: Duration = Duration::from_secs(86_400);
/// What is under way when the process is told to stop has this long. What is cut is sent again, with the same id.
const GRACE: Duration = Duration::from_secs(3);
/// Between attempts to reach a database that is gone.
const DATABASE_PAUSE: Duration = Duration::from_millis(500);

static FAILURES: LazyLock<LogBudget> = LazyLock::new(|| LogBudget::new(10));

/// Serves the subscription with this index until `ended`.
pub(super) async fn serve(effects: Arc<Effects>, index: usize, wake: Arc<Notify>, ended: watch::Receiver<bool>) {
    let subscription = &effects.subscriptions[index];
    let mut under_way: Vec<String> = Vec::new();
    let mut tasks: JoinSet<String> = JoinSet::new();
    let lifetime = effects.retry.lifetime();
    let (mut expire_at, expire_every) = (Instant::now(), (lifetime / 10).min(Duration::from_secs(60)));
    let mut stop = ended;
    loop {
        let free = AT_ONCE - tasks.len();
        let looked = async {
            if Instant::now() >= expire_at {
                let expired = queue::expire(&effects.pool, &subscription.name, &under_way, lifetime).await?;
                if expired > 0 {
                    metric::died(expired);
                    tracing::warn!(webhook = %subscription.name, expired, "not delivered in time: dead letters");
                }
                expire_at = Instant::now() + expire_every;
            }
            if free == 0 {
                Ok(vec![])
            } else {
                queue::due(&effects.pool, &subscription.name, &under_way, free as i64).await
            }
        };
        match looked.await {
            Ok(due) => {
                for due in due {
                    under_way.push(due.id.clone());
                    tasks.spawn(send(effects.clone(), index, due));
                }
            }
            Err(error) => {
                tracing::debug!(%error, webhook = %subscription.name, "what is due cannot be read; tried again")
            }
        }
        tokio::select! {
            _gone = stop.wait_for(|stop| *stop) => break,
            // A panic is told where it happened; what it was about is left alone until the next start.
            Some(done) = tasks.join_next() => if let Ok(id) = done {
                under_way.retain(|other| *other != id);
            },
            () = wake.notified() => {}
            () = sleep(LOOK_EVERY) => {}
        }
    }
    let _late = timeout(GRACE, async { while tasks.join_next().await.is_some() {} }).await;
}

/// Sends one delivery once. Gives its id back.
async fn send(effects: Arc<Effects>, index: usize, due: Due) -> String {
    let subscription = &effects.subscriptions[index];
    let letter = loop {
        match letter(&effects, subscription, due.position).await {
            Ok(letter) => break letter,
            Err(error) if passes(&error) => sleep(DATABASE_PAUSE).await,
            Err(error) => break Err(format!("the log cannot be read: {error}")),
        }
    };
    let body = match letter {
        Ok(body) => body,
        Err(why) => {
            metric::died(1);
            tracing::warn!(webhook = %subscription.name, id = due.id, "not sent: {why}");
            note(&effects.pool, Note::GivenUp { id: &due.id, why: &why }).await;
            return due.id;
        }
    };
    let answer = post(&effects.network, subscription, &due.id, body).await;
    match answer {
        Ok(answer) if answer.is_taken() => {
            note(&effects.pool, Note::Delivered { id: &due.id, status: answer.status }).await;
            metric::delivered();
        }
        answer => fail(&effects, subscription, &due, &answer).await,
    }
    due.id
}

/// What is sent, or why nothing may be: the gate is asked again, because an account may have been refused since.
async fn letter(
    effects: &Effects,
    subscription: &Subscription,
    position: Position,
) -> Result<Result<Bytes, String>, sqlx::Error> {
    let mut connection = effects.pool.acquire().await?;
    let Some(told) = event_log::told_at(&mut connection, position).await? else {
        return Ok(Err(format!("the log has no position {position}")));
    };
    let account =
        accounts(&mut connection, vec![told.did.as_str()]).await?.remove(told.did.as_str()).unwrap_or_default();
    let since = beginnings(&mut connection).await?.remove(&*subscription.name).unwrap_or(Position::MAX);
    let kind = match judge(&Facts::of(&told, account), &effects.environment, subscription, since) {
        Ok(kind) => kind,
        Err(reason) => {
            metric::suppressed(reason, 1);
            return Ok(Err(format!("suppressed ({}): {}", reason.as_str(), reason.says())));
        }
    };
    let record = match kind {
        Kind::Delete => Value::Null,
        Kind::Put => match event_log::records_at(&mut connection, &[position]).await?.remove(&position) {
            None => return Ok(Err("its record was purged from the log".to_owned())),
            Some(bytes) => match record_json(&bytes) {
                Ok(record) => record,
                Err(reject) => return Ok(Err(format!("its record cannot be read: {reject}"))),
            },
        },
    };
    Ok(Ok(payload::event(&told, kind, &record)))
}

async fn post(network: &Network, subscription: &Subscription, id: &str, body: Bytes) -> Result<PostAnswer, PostError> {
    let headers = headers(&subscription.secrets, id, Utc::now().timestamp(), &body);
    network.post(&subscription.url, &headers, body, ANSWER_LIMIT).await
}

/// Notes an attempt that failed, and what the answer asks for.
async fn fail(effects: &Effects, subscription: &Subscription, due: &Due, answer: &Result<PostAnswer, PostError>) {
    let failed = u32::try_from(due.attempts).unwrap_or_default() + 1;
    let mut pause = effects.retry.pause(failed, rand::random());
    let (status, why) = match answer {
        Ok(answer) => {
            metric::failed(None);
            let words = if answer.words.is_empty() { String::new() } else { format!(": {}", answer.words) };
            (Some(answer.status), format!("HTTP {}{words}", answer.status))
        }
        Err(error) => {
            metric::failed(Some(error));
            (None, error.detail.to_string())
        }
    };
    let asked = match answer {
        Ok(PostAnswer { status: 410, .. }) => Some(None),
        Ok(PostAnswer { status: 429 | 503, retry_after: Some(asked), .. }) => Some(Some((*asked).min(PAUSE_MAX))),
        _ => None,
    };
    if let Some(asked) = asked {
        note(&effects.pool, Note::Pause { subscription: &subscription.name, asked, why: &why }).await;
        pause = pause.map(|pause| pause.max(asked.unwrap_or_default()));
        if asked.is_none() {
            tracing::warn!(webhook = %subscription.name, "the receiver says that it is gone; `almanac webhooks resume` ends the pause");
        }
    }
    if let Some(permit) = FAILURES.take("failed") {
        let (id, suppressed) = (&due.id, permit.suppressed);
        tracing::warn!(webhook = %subscription.name, id, attempt = failed, last = pause.is_none(), suppressed, "{why}");
    }
    note(&effects.pool, Note::Failed { id: &due.id, status, why: &why, pause }).await;
    if pause.is_none() {
        metric::died(1);
    }
}

/// What became of a delivery or is asked by its receiver.
enum Note<'a> {
    Delivered { id: &'a str, status: u16 },
    Failed { id: &'a str, status: Option<u16>, why: &'a str, pause: Option<Duration> },
    GivenUp { id: &'a str, why: &'a str },
    Pause { subscription: &'a str, asked: Option<Duration>, why: &'a str },
}

/// Notes it. A database that is gone is waited for: what is not noted would be done again.
async fn note(pool: &PgPool, note: Note<'_>) {
    loop {
        let noted = match note {
            Note::Delivered { id, status } => queue::delivered(pool, id, status).await,
            Note::Failed { id, status, why, pause } => queue::failed(pool, id, status, why, pause).await,
            Note::GivenUp { id, why } => queue::given_up(pool, id, why).await,
            Note::Pause { subscription, asked, why } => queue::pause(pool, subscription, asked, why).await,
        };
        let Err(error) = noted else { return };
        if !passes(&error) {
            return tracing::error!(%error, "what became of a webhook cannot be noted");
        }
        tracing::warn!(%error, "what became of a webhook cannot be noted; tried again");
        sleep(DATABASE_PAUSE).await;
    }
}

/// What came of a test.
#[derive(Clone, Debug)]
pub struct Tested {
    /// The webhook-id under which it was sent.
    pub id: String,
    /// What the receiver said.
    pub answer: Result<PostAnswer, PostError>,
}

/// Sends a `ping` now, once. It is no effect of any event, and stands in no table.
pub async fn test(network: &Network, environment: &Environment, subscription: &Subscription) -> Tested {
    let now = Utc::now();
    let body = payload::ping(environment, &subscription.name, now);
    let id = format!("msg_ping_{:016x}", rand::random::<u64>());
    let answer = post(network, subscription, &id, body).await;
    Tested { id, answer }
}
