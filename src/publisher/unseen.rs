//! What a PDS took and our own stream does not show: the sign of a wrong filter, a dead relay, a wrong environment.

use std::time::Duration;

use serde::Serialize;
use sqlx::PgPool;
use tokio::time::Instant;

/// How often the same trouble is told again.
const TELL_EVERY: Duration = Duration::from_secs(300);

/// What is acknowledged for too long without being confirmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Unseen {
    /// How many intents.
    pub intents: i64,
    /// How long ago the PDS took the oldest of them; 0 when there is none.
    pub oldest_seconds: i64,
    /// The record of that one.
    pub oldest: Option<String>,
}

/// What is unseen for longer than `after`, of accounts that are linked.
///
/// # Errors
/// What the database says.
pub async fn unseen(pool: &PgPool, after: Duration) -> Result<Unseen, sqlx::Error> {
    let (intents, oldest_seconds, oldest) = sqlx::query_as(
        "select count(*), coalesce(extract(epoch from now() - min(i.acknowledged_at)), 0)::bigint,
             (array_agg('at://' || r.did || '/' || r.collection || '/' || r.rkey order by i.acknowledged_at, i.id))[1]
         from publish.intent i
         join publish.record r on r.id = i.record_id
         join identity.account a on a.did = r.did
         where i.state = 'acknowledged' and i.acknowledged_at < now() - make_interval(secs => $1)",
    )
    .bind(after.as_secs_f64())
    .fetch_one(pool)
    .await?;
    Ok(Unseen { intents, oldest_seconds, oldest })
}

/// Tells the operator, and not too often.
#[derive(Default)]
pub(super) struct Teller {
    told: Option<Instant>,
}

impl Teller {
    /// Tells of what is unseen, or that it is over.
    pub fn tell(&mut self, unseen: &Unseen) {
        let Some(oldest) = unseen.oldest.as_deref().filter(|_| unseen.intents > 0) else {
            if self.told.take().is_some() {
                tracing::info!("everything that was published is seen again");
            }
            return;
        };
        if self.told.is_some_and(|at| at.elapsed() < TELL_EVERY) {
            return;
        }
        self.told = Some(Instant::now());
        tracing::warn!(
            intents = unseen.intents,
            oldest_seconds = unseen.oldest_seconds,
            uri = oldest,
            "records were published that our own stream does not show. Look whether an upstream that carries their PDS is \
             connected and keeps up (`almanac status`), whether their account may enter here (`almanac origin explain`), and \
             whether that PDS, the relay and the PLC directory are of this environment (`almanac doctor`); `almanac trace` \
             with the record's address tells what is known of it"
        );
    }
}
