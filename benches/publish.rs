//! How many wishes a second become records: at a PDS that costs nothing, and, in the full run, at the official one beside what
//! its bare `putRecord` does.

use std::sync::Arc;
use std::time::{Duration, Instant};

use almanac::calendar::{Draft, DraftKind};
use almanac::db::{self, Target};
use almanac::event::Did;
use almanac::identity::{self, Sessions};
use almanac::network::{HostLimits, Network, NetworkOptions};
use almanac::publisher::{Action, IntentState, Kind, PublishOptions, Publisher, PublisherParts, Wish};
use futures_util::{StreamExt, stream};
use serde_json::json;
use sqlx::PgPool;
use tokio::sync::watch;

use crate::fixture::Scale;
use crate::keeper::Tokens;
use crate::null_pds::NullPds;
use crate::real_parts::RealParts;
use crate::replay::start_server;

/// Writes at once.
const WORKERS: usize = 8;
const ACCOUNTS: usize = 32;

/// What was found.
pub struct Report {
    /// What was done, how many of it, and how long it took.
    pub rows: Vec<(&'static str, usize, Duration)>,
}

/// Runs it, if it is chosen.
pub fn run(scale: Scale, chosen: &dyn Fn(&str) -> bool) -> Option<Report> {
    if !chosen("publish") {
        return None;
    }
    let count = match scale {
        Scale::Test => 64,
        Scale::Small => 2_000,
        Scale::Full => 10_000,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("the runtime starts");
    Some(runtime.block_on(async {
        let (_folder, server) = start_server().await;
        let mut rows = Vec::new();
        let pds = NullPds::start().await;
        drop(server.connect_or_create("publish_null").await.expect("a database can be made"));
        let stand = Stand::new(server.url("publish_null")).await;
        for n in 0..ACCOUNTS {
            stand.link(n, &format!("did:plc:{n:a>24}"), &pds.url, "none").await;
        }
        eprintln!("publish: {count} wishes, each waited for");
        rows.push(("wishes that somebody waits for, null PDS", count, stand.wish(count, ACCOUNTS, "waited").await));
        eprintln!("publish: {count} wishes that waited");
        rows.push(("wishes that waited, null PDS", count, stand.drain(count, ACCOUNTS).await));
        assert_eq!(pds.written().len(), 2 * count, "each was written once");
        if scale == Scale::Full {
            eprintln!("publish: the official PDS");
            let parts = RealParts::start().await;
            let account = parts.create_account("bench").await;
            drop(server.connect_or_create("publish_real").await.expect("a database can be made"));
            let stand = Stand::new(server.url("publish_real")).await;
            stand.link(0, &account.did, &parts.pds_url, &account.token).await;
            let began = Instant::now();
            let record =
                json!({ "$type": Kind::Event.collection(), "name": "Bare", "createdAt": "2026-01-01T00:00:00Z" });
            let bare = stream::iter(0..500).map(|n| {
                let (parts, account, record) = (&parts, &account, record.clone());
                async move { parts.put_record(account, &format!("bare{n}"), record).await }
            });
            bare.buffer_unordered(WORKERS).collect::<Vec<_>>().await;
            rows.push(("bare putRecord, official PDS", 500, began.elapsed()));
            rows.push(("wishes that somebody waits for, official PDS", 500, stand.wish(500, 1, "waited").await));
            rows.push(("wishes that waited, official PDS", 500, stand.drain(500, 1).await));
        }
        server.stop().await;
        Report { rows }
    }))
}

struct Stand {
    pool: PgPool,
    tokens: Tokens,
    publisher: Publisher,
    /// Stores and asks nobody.
    storing: Publisher,
}

impl Stand {
    async fn new(url: almanac::db::DatabaseUrl) -> Self {
        let db = db::open(&Target::Url(url), 20).await.expect("the server is there");
        db.migrate().await.expect("an empty database takes the tables");
        let wide = HostLimits { concurrency: 64, requests_per_second: 1e6, burst: 1e6 };
        let options = NetworkOptions { allow_private: true, acting: wide, ..NetworkOptions::default() };
        let network = Network::new(options).expect("a network without certificates");
        let tokens = Tokens::new(network.clone());
        let publisher = |may_write: bool| {
            Publisher::new(PublisherParts {
                pool: db.pool().clone(),
                sessions: Sessions::new(db.pool().clone(), vec![Arc::new(tokens.clone())]),
                network: network.clone(),
                may_write: Arc::new(move |_| if may_write { Ok(()) } else { Err("not now".to_owned()) }),
                options: PublishOptions {
                    points_per_hour: 1_000_000,
                    points_per_day: 1_000_000,
                    workers: WORKERS,
                    wait: Duration::from_secs(60),
                    ..PublishOptions::default()
                },
            })
        };
        let (publisher, storing) = (publisher(true), publisher(false));
        Stand { pool: db.pool().clone(), tokens, publisher, storing }
    }

    async fn link(&self, n: usize, did: &str, pds: &str, token: &str) {
        let mut connection = self.pool.acquire().await.expect("the server is there");
        let did = Did::parse(did).expect("made above");
        identity::link(&mut connection, &format!("u{n}"), &did, None, pds, true).await.expect("nobody has it yet");
        self.tokens.set(did.as_str(), token);
    }

    /// Each answered before the next of its eighth begins.
    async fn wish(&self, count: usize, accounts: usize, name: &str) -> Duration {
        let began = Instant::now();
        let wishes = stream::iter(0..count).map(|n| self.publisher.wish(wish(n, accounts, name)));
        let views: Vec<_> = wishes.buffer_unordered(WORKERS).collect().await;
        let took = began.elapsed();
        for view in views {
            let intent = view.expect("the server is there").intent.expect("it was wished");
            assert_eq!(intent.state, IntentState::Acknowledged, "{intent:?}");
        }
        took
    }

    /// All stored before the first is sent.
    async fn drain(&self, count: usize, accounts: usize) -> Duration {
        let wishes = stream::iter(0..count).map(|n| self.storing.wish(wish(n, accounts, "drained")));
        for view in wishes.buffer_unordered(WORKERS).collect::<Vec<_>>().await {
            view.expect("the server is there");
        }
        let began = Instant::now();
        sqlx::query("update publish.intent set next_at = now() where state = 'wanted'")
            .execute(&self.pool)
            .await
            .expect("the server is there");
        let (end, ended) = watch::channel(false);
        let publisher = self.publisher.clone();
        let draining = tokio::spawn(async move { publisher.run(ended).await });
        loop {
            let open = "select count(*) from publish.intent where state in ('wanted', 'attempted')";
            let open: i64 = sqlx::query_scalar(open).fetch_one(&self.pool).await.expect("the server is there");
            if open == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let took = began.elapsed();
        end.send_replace(true);
        draining.await.expect("the drain does not panic");
        took
    }
}

fn wish(n: usize, accounts: usize, name: &str) -> Wish {
    let draft = Draft::read(DraftKind::Event, &json!({ "name": format!("{name} {n}"), "mode": "virtual" }));
    Wish {
        user: format!("u{}", n % accounts),
        kind: Kind::Event,
        client_key: format!("{name}-{n}"),
        action: Action::Put,
        draft: Some(draft.expect("a good draft")),
        if_match: None,
        adopt: None,
        acting: None,
    }
}
