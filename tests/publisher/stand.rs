//! A database, accounts on a PDS, and a publisher.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use almanac::calendar::{Draft, DraftKind};
use almanac::event::{AtUri, Did};
use almanac::identity::{self, Sessions};
use almanac::network::{HostLimits, Network, NetworkOptions, ServiceUrl};
use almanac::publisher::{
    Action, IntentState, IntentView, Kind, PublishOptions, Publisher, PublisherParts, RecordView, Wish,
};
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::support::keeper::Tokens;
use crate::support::postgres::TestDb;

/// Far more than anything here takes, also on a machine that compiles at the same time.
pub const LIMIT: Duration = Duration::from_secs(60);
pub const EVENT: &str = "community.lexicon.calendar.event";

pub struct Stand {
    pub db: TestDb,
    pub tokens: Tokens,
    pub network: Network,
    pub options: PublishOptions,
    /// Whether the environment may write.
    pub may_write: Arc<AtomicBool>,
}

/// A drain that runs. Dropped: told to end.
pub struct Drain {
    end: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Drain {
    pub async fn end(self) {
        self.end.send_replace(true);
        self.task.await.unwrap();
    }
}

/// Quick, and patient enough for a machine that does other things.
pub fn options() -> PublishOptions {
    PublishOptions {
        wait: Duration::from_secs(20),
        retry_first: Duration::from_millis(50),
        retry_max: Duration::from_millis(400),
        ..PublishOptions::default()
    }
}

/// A way to hosts on this machine, limited by nothing.
pub fn network(plc: Option<&str>) -> Network {
    let wide = HostLimits { concurrency: 64, requests_per_second: 1e6, burst: 1e6 };
    let mut options = NetworkOptions {
        allow_private: true,
        acting: wide,
        host: wide,
        acting_backoff_max: Duration::from_millis(100),
        backoff_min: Duration::from_millis(10),
        ..NetworkOptions::default()
    };
    if let Some(plc) = plc {
        options.plc = ServiceUrl::parse(plc).unwrap();
    }
    Network::new(options).unwrap()
}

impl Stand {
    /// With nobody in it.
    pub async fn new(options: PublishOptions) -> Self {
        Self::with(network(None), options).await
    }

    pub async fn with(network: Network, options: PublishOptions) -> Self {
        let tokens = Tokens::new(network.clone());
        let db = TestDb::fresh().await;
        Stand { db, tokens, network, options, may_write: Arc::new(AtomicBool::new(true)) }
    }

    pub fn pool(&self) -> &PgPool {
        self.db.pool()
    }

    /// Links a user with an account.
    pub async fn link(&self, user: &str, did: &str, pds: &str) {
        let mut connection = self.pool().acquire().await.unwrap();
        identity::link(&mut connection, user, &Did::parse(did).unwrap(), None, pds, true).await.unwrap();
    }

    /// A publisher: of several each is a process of its own, as far as it can tell.
    pub fn publisher(&self) -> Publisher {
        let may_write = self.may_write.clone();
        Publisher::new(PublisherParts {
            pool: self.pool().clone(),
            sessions: Sessions::new(self.pool().clone(), vec![Arc::new(self.tokens.clone())]),
            network: self.network.clone(),
            may_write: Arc::new(move |pds| match may_write.load(Ordering::SeqCst) {
                true => Ok(()),
                false => Err(format!("{pds} is not ours")),
            }),
            options: self.options,
        })
    }

    /// Stores wishes and leaves it at that: until somebody drains, nothing is asked of a PDS.
    pub async fn store_only(&self, publisher: &Publisher, wishes: impl IntoIterator<Item = Wish>) {
        self.may_write.store(false, Ordering::SeqCst);
        for wish in wishes {
            publisher.wish(wish).await.unwrap();
        }
        self.may_write.store(true, Ordering::SeqCst);
        sqlx::query("update publish.intent set next_at = now() where state = 'wanted'")
            .execute(self.pool())
            .await
            .unwrap();
    }

    /// One that also drains.
    pub fn drain(&self, publisher: &Publisher) -> Drain {
        let (end, ended) = watch::channel(false);
        let publisher = publisher.clone();
        Drain { end, task: tokio::spawn(async move { publisher.run(ended).await }) }
    }

    /// Waits until no intent is open.
    pub async fn settled(&self) {
        self.until("intents are open", "select count(*) from publish.intent where state in ('wanted', 'attempted')", 0)
            .await;
    }

    /// Waits until a count is what it should be.
    pub async fn until(&self, what: &str, query: &'static str, wanted: i64) {
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            let found: i64 = sqlx::query_scalar(query).fetch_one(self.pool()).await.unwrap();
            if found == wanted {
                return;
            }
            if tokio::time::Instant::now() >= deadline {
                panic!("{what}: {found}, not {wanted}, after {LIMIT:?}:\n{}", self.intents().await.join("\n"));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Every intent, for messages.
    pub async fn intents(&self) -> Vec<String> {
        sqlx::query_scalar(
            "select concat_ws(' ', i.id, r.client_key, i.action, i.state, 'maybe', i.maybe_written, 'attempts', i.attempts,
                 'due in', i.next_at - now(), 'leased for', i.leased_until - now(), i.trouble, i.trouble_detail, i.cid)
             from publish.intent i join publish.record r on r.id = i.record_id order by i.id limit 100",
        )
        .fetch_all(self.pool())
        .await
        .unwrap()
    }
}

/// A draft of an event.
pub fn event(fields: Value) -> Draft {
    Draft::read(DraftKind::Event, &fields).unwrap()
}

/// A wish that an event be so.
pub fn put(user: &str, client_key: &str, fields: Value) -> Wish {
    Wish {
        user: user.to_owned(),
        kind: Kind::Event,
        client_key: client_key.to_owned(),
        action: Action::Put,
        draft: Some(event(fields)),
        if_match: None,
        adopt: None,
        acting: None,
    }
}

/// A wish that an event of that name be.
pub fn named(user: &str, client_key: &str, name: &str) -> Wish {
    put(user, client_key, json!({ "name": name }))
}

/// A wish that it be gone.
pub fn delete(user: &str, client_key: &str) -> Wish {
    Wish { action: Action::Delete, draft: None, ..named(user, client_key, "gone") }
}

/// A wish for an RSVP.
pub fn rsvp(user: &str, client_key: &str, subject: Value, status: &str) -> Wish {
    let draft = Draft::read(DraftKind::Rsvp, &json!({ "subject": subject, "status": status })).unwrap();
    Wish { kind: Kind::Rsvp, draft: Some(draft), ..named(user, client_key, "an answer") }
}

/// The last intent.
pub fn intent(view: &RecordView) -> &IntentView {
    view.intent.as_ref().unwrap()
}

/// Its state must be this.
#[track_caller]
pub fn assert_state(view: &RecordView, state: IntentState) {
    assert_eq!(intent(view).state, state, "{view:#?}");
}

/// `collection/rkey`.
pub fn path(uri: &AtUri) -> String {
    format!("{}/{}", uri.collection, uri.rkey)
}

/// As the null PDS names it.
pub fn key(uri: &AtUri) -> String {
    format!("{}/{}", uri.did, path(uri))
}
