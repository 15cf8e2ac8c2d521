//! A running interface over a database of its own, and builders for rows in it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use almanac::api::{self, Health, ServeLimits, UpstreamView};
use almanac::event::Environment;
use almanac::telemetry::install_metrics;
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::support::postgres::TestDb;

pub const EVENT: &str = "community.lexicon.calendar.event";
pub const RSVP: &str = "community.lexicon.calendar.rsvp";

/// How many statements wait for a lock of this database: other tests share the server.
pub const WAITING: &str = "select count(*) from pg_locks l join pg_database d on d.oid = l.database \
    where not l.granted and d.datname = current_database()";

/// Both listeners over one pool. They stop when this is dropped.
pub struct Listeners {
    pub public: String,
    pub admin: String,
    pub health: Arc<Health>,
    pub stop: Vec<oneshot::Sender<()>>,
    pub done: Vec<JoinHandle<()>>,
    client: reqwest::Client,
}

pub fn recorder() -> PrometheusHandle {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let install = || {
        let handle = install_metrics().unwrap();
        api::register_metrics();
        handle
    };
    RECORDER.get_or_init(install).clone()
}

impl Listeners {
    pub async fn start(pool: &PgPool, limits: ServeLimits) -> Self {
        let environment = Environment::parse("test").unwrap();
        let upstreams: api::Upstreams = Arc::new(|| {
            vec![UpstreamView {
                host: "relay.test".into(),
                kind: "relay".into(),
                state: "live".into(),
                cursor: Some(77),
                lag_seconds: Some(1),
                last_event_time: Some("2026-01-01T00:00:00Z".parse().unwrap()),
                last_error: Some("secret place".into()),
            }]
        });
        let health = Arc::new(Health::new(["projection"]));
        let public = api::public::PublicState::new(pool.clone(), environment.clone(), upstreams.clone());
        let admin = api::admin::AdminState {
            pool: pool.clone(),
            environment,
            health: health.clone(),
            upstreams,
            metrics: recorder(),
            refresh: Some(Arc::new(|| Box::pin(async { metrics::gauge!("almanac_projection_lag_events").set(5.0) }))),
            token: Some(api::admin::AdminToken::parse(crate::origin::TOKEN).unwrap()),
            origin: Some(Arc::new(crate::origin::Stub)),
            quarantine: None,
        };
        let (mut addresses, mut stop, mut done) = (Vec::new(), Vec::new(), Vec::new());
        for router in [api::public::router(public), api::admin::router(admin)] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            addresses.push(format!("http://{}", listener.local_addr().unwrap()));
            let (sender, receiver) = oneshot::channel::<()>();
            stop.push(sender);
            let shutdown = async move { drop(receiver.await) };
            done.push(tokio::spawn(api::serve_within(limits, listener, router, shutdown)));
        }
        let admin = addresses.pop().unwrap();
        let public = addresses.pop().unwrap();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(20)).build().unwrap();
        Listeners { public, admin, health, stop, done, client }
    }

    pub async fn get(&self, url: &str) -> (u16, Value) {
        let response = self.client.get(url).send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    pub async fn response(&self, method: reqwest::Method, url: &str, headers: &[(&str, &str)]) -> reqwest::Response {
        let mut request = self.client.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    /// One XRPC query.
    pub async fn xrpc(&self, query: &str, params: &[(&str, &str)]) -> (u16, Value) {
        let url = reqwest::Url::parse_with_params(&format!("{}/xrpc/events.almanac.{query}", self.public), params);
        self.get(url.unwrap().as_str()).await
    }
}

/// Listeners over a fresh database.
pub struct World {
    pub db: TestDb,
    pub http: Listeners,
}

impl World {
    pub async fn new() -> Self {
        let db = TestDb::fresh().await;
        let http = Listeners::start(db.pool(), ServeLimits::default()).await;
        World { db, http }
    }

    pub fn pool(&self) -> &PgPool {
        self.db.pool()
    }

    /// A query that must succeed.
    pub async fn ok(&self, query: &str, params: &[(&str, &str)]) -> Value {
        let (status, body) = self.http.xrpc(query, params).await;
        assert_eq!(status, 200, "{query} {params:?}: {body}");
        body
    }

    /// The keys of the events that a list shows, in order.
    pub async fn events(&self, params: &[(&str, &str)]) -> Vec<String> {
        keys(&self.ok("listEvents", params).await["events"])
    }

    /// The keys of the RSVPs that a list shows, in order.
    pub async fn rsvps(&self, params: &[(&str, &str)]) -> Vec<String> {
        keys(&self.ok("listRsvps", params).await["rsvps"])
    }

    pub async fn account(&self, did: &str, handle: &str) {
        sqlx::query("insert into calendar.accounts (did, handle, handle_time) values ($1, $2, now())")
            .bind(did)
            .bind(handle)
            .execute(self.pool())
            .await
            .unwrap();
    }
}

pub fn keys(rows: &Value) -> Vec<String> {
    let key = |row: &Value| row["uri"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    rows.as_array().unwrap().iter().map(key).collect()
}

pub fn event_uri(did: &str, rkey: &str) -> String {
    format!("at://{did}/{EVENT}/{rkey}")
}

/// A row of `calendar.events`.
pub struct Event {
    pub did: String,
    pub rkey: String,
    pub columns: serde_json::Map<String, Value>,
}

/// An event of `did:plc:anna` without dates.
pub fn event(rkey: &str) -> Event {
    let Value::Object(columns) = json!({ "name": format!("Event {rkey}"), "record": { "$type": EVENT, "name": rkey } })
    else {
        unreachable!()
    };
    Event { did: "did:plc:anna".into(), rkey: rkey.into(), columns }
}

impl Event {
    pub fn by(mut self, did: &str) -> Self {
        self.did = did.into();
        self
    }

    pub fn set(mut self, column: &str, value: impl Into<Value>) -> Self {
        self.columns.insert(column.into(), value.into());
        self
    }

    pub async fn insert(mut self, world: &World) {
        self.columns.insert("uri".into(), event_uri(&self.did, &self.rkey).into());
        insert(world.pool(), "events", &self.did, &self.rkey, self.columns).await;
    }
}

/// Inserts an RSVP of `did` with the given further columns.
pub async fn rsvp(world: &World, did: &str, rkey: &str, columns: Value) {
    let Value::Object(mut columns) = columns else { panic!("columns are an object") };
    columns.insert("uri".into(), format!("at://{did}/{RSVP}/{rkey}").into());
    columns.entry("effective").or_insert(true.into());
    columns.entry("record").or_insert(json!({ "$type": RSVP }));
    insert(world.pool(), "rsvps", did, rkey, columns).await;
}

async fn insert(pool: &PgPool, table: &str, did: &str, rkey: &str, mut columns: serde_json::Map<String, Value>) {
    columns.insert("did".into(), did.into());
    columns.insert("rkey".into(), rkey.into());
    columns.insert("rev".into(), "3n2uyhpluwr2l".into());
    columns.insert("cid".into(), "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a".into());
    let names: Vec<&str> = columns.keys().map(String::as_str).collect();
    let names = names.join(", ");
    let sql = format!(
        "insert into calendar.{table} ({names}) select {names} from jsonb_populate_record(null::calendar.{table}, $1)"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(Value::Object(columns)).execute(pool).await.unwrap();
}
