//! A running interface over a database of its own. Every answer is held against the document that describes it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use almanac::api;
use almanac::api::token::{self, Scope};
use almanac::api::v1::{DeskFuture, PublishDesk, V1State};
use almanac::event::{AtUri, Environment};
use almanac::publisher::{Action, IntentState, IntentView, Kind, RecordView, Wish, WishError};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use sqlx::PgPool;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::schema::Document;
use crate::support::postgres::TestDb;

pub const ANNA: &str = "did:plc:annaannaannaannaannaanna";
pub const EVENT: &str = "community.lexicon.calendar.event";
pub const CID: &str = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a";
/// Nothing of ours is written there.
pub const FORBIDDEN_PDS: &str = "https://elsewhere.example.org";

/// Answers as it was told to, and remembers what it was asked.
#[derive(Default)]
pub struct StubDesk {
    /// What the next wish comes to; a record that the PDS took, if nothing is said.
    pub next: Mutex<Option<Result<RecordView, WishError>>>,
    /// The records that are there.
    pub there: Mutex<Vec<RecordView>>,
    pub wishes: Mutex<Vec<Wish>>,
}

pub fn uri(kind: Kind, rkey: &str) -> AtUri {
    format!("at://{ANNA}/{}/{rkey}", kind.collection()).parse().unwrap()
}

pub fn record(kind: Kind, client_key: &str, rkey: &str, state: IntentState) -> RecordView {
    let uri = uri(kind, rkey);
    let done = matches!(state, IntentState::Acknowledged | IntentState::Confirmed);
    let intent = IntentView {
        id: 7,
        uri: uri.clone(),
        action: Action::Put,
        state,
        cid: done.then(|| CID.to_owned()),
        rev: done.then(|| "3n2uyhpluwr2l".to_owned()),
        trouble: None,
        detail: None,
        advice: None,
        conflict: None,
        attempts: 1,
        next_at: state.is_open().then(|| chrono::Utc::now() + chrono::TimeDelta::seconds(90)),
        created_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        acknowledged_at: done.then(|| "2026-01-01T00:00:01Z".parse().unwrap()),
        confirmed_at: None,
        confirmed_position: None,
    };
    RecordView {
        user: "anna".to_owned(),
        client_key: Some(client_key.to_owned()),
        uri,
        cid: done.then(|| CID.to_owned()),
        rev: done.then(|| "3n2uyhpluwr2l".to_owned()),
        deleted: false,
        edited_elsewhere_at: None,
        intent: Some(intent),
    }
}

impl PublishDesk for StubDesk {
    fn wish(&self, wish: Wish) -> DeskFuture<'_, Result<RecordView, WishError>> {
        let mut made = record(wish.kind, &wish.client_key, "3kfake", IntentState::Acknowledged);
        made.intent.iter_mut().for_each(|intent| intent.action = wish.action);
        self.wishes.lock().unwrap().push(wish);
        let answer = self.next.lock().unwrap().take().unwrap_or(Ok(made));
        Box::pin(std::future::ready(answer))
    }

    fn record<'a>(
        &'a self,
        user: &'a str,
        kind: Kind,
        client_key: &'a str,
    ) -> DeskFuture<'a, Result<Option<RecordView>, sqlx::Error>> {
        let there = self.there.lock().unwrap();
        let named = |record: &&RecordView| {
            record.user == user
                && record.client_key.as_deref() == Some(client_key)
                && record.uri.collection.as_str() == kind.collection()
        };
        Box::pin(std::future::ready(Ok(there.iter().find(named).cloned())))
    }

    fn intent(&self, id: i64) -> DeskFuture<'_, Result<Option<IntentView>, sqlx::Error>> {
        let there = self.there.lock().unwrap();
        let found = there.iter().filter_map(|record| record.intent.clone()).find(|intent| intent.id == id);
        Box::pin(std::future::ready(Ok(found)))
    }
}

/// Answers: the status, the headers, the body.
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: Value,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// That it is this status and this word.
    pub fn is(&self, status: u16, error: &str) {
        assert_eq!((self.status, self.body["error"].as_str().unwrap_or_default()), (status, error), "{}", self.body);
    }
}

pub struct World {
    pub db: TestDb,
    pub base: String,
    pub desk: Arc<StubDesk>,
    /// With every scope.
    pub token: String,
    client: reqwest::Client,
    document: Document,
    _stop: oneshot::Sender<()>,
}

impl World {
    /// With the user `anna`.
    pub async fn new() -> Self {
        let desk = Arc::new(StubDesk::default());
        let world = World::over(TestDb::fresh().await, desk.clone(), desk).await;
        world.user("anna", ANNA, "https://pds.example.org").await;
        world
    }

    /// Without users, and with somebody real who carries wishes out.
    pub async fn with(db: TestDb, desk: Arc<dyn PublishDesk>) -> Self {
        World::over(db, desk, Arc::default()).await
    }

    async fn over(db: TestDb, at_work: Arc<dyn PublishDesk>, desk: Arc<StubDesk>) -> Self {
        let may_write = Arc::new(|pds: &str| match pds {
            FORBIDDEN_PDS => Err("`elsewhere.example.org` is declared for `other`".to_owned()),
            _ => Ok(()),
        });
        let v1 = V1State::new(db.pool().clone(), at_work, may_write, Duration::from_secs(10));
        let environment = Environment::parse("test").unwrap();
        let state = api::public::PublicState::new(db.pool().clone(), environment, Arc::new(Vec::new)).with_v1(v1);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        tokio::spawn(api::serve(listener, api::public::router(state), async move { drop(stopped.await) }));
        let (_, text) = token::create(db.pool(), "all", &Scope::ALL, None, "test").await.unwrap();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        let token = text.reveal().to_owned();
        World { db, base, desk, token, client, document: Document::new(), _stop: stop }
    }

    pub fn pool(&self) -> &PgPool {
        self.db.pool()
    }

    pub async fn user(&self, user: &str, did: &str, pds: &str) {
        let mut connection = self.pool().acquire().await.unwrap();
        let did = did.parse().unwrap();
        almanac::identity::link(&mut connection, user, &did, None, pds, true).await.unwrap();
    }

    /// A token of these scopes.
    pub async fn token(&self, name: &str, scopes: &[Scope]) -> String {
        let (_, text) = token::create(self.pool(), name, scopes, None, "test").await.unwrap();
        text.reveal().to_owned()
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.base))
    }

    /// Sends it as it is. The answer must be as the document says.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let request = request.build().unwrap();
        let (method, path) = (request.method().as_str().to_lowercase(), request.url().path().to_owned());
        let response = self.client.execute(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body: Value = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{method} {path}: {e}: {text}"));
        self.document.judge(&method, &path, status, &body);
        Answer { status, headers, body }
    }

    /// With the token that may everything.
    pub async fn ask(&self, method: Method, path: &str) -> Answer {
        self.send(self.request(method, path).bearer_auth(&self.token)).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.ask(Method::GET, path).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PUT, path).bearer_auth(&self.token).json(body)).await
    }

    /// Another user than the owner puts.
    pub async fn put_as(&self, acting: &str, path: &str, body: &Value) -> Answer {
        let request = self.request(Method::PUT, path).bearer_auth(&self.token);
        self.send(request.header("Acting-User", acting).json(body)).await
    }

    /// The last wish that the desk got.
    pub fn wish(&self) -> Option<Wish> {
        self.desk.wishes.lock().unwrap().last().cloned()
    }

    pub fn wishes(&self) -> usize {
        self.desk.wishes.lock().unwrap().len()
    }

    pub fn next(&self, answer: Result<RecordView, WishError>) {
        *self.desk.next.lock().unwrap() = Some(answer);
    }

    pub fn there(&self, record: RecordView) {
        self.desk.there.lock().unwrap().push(record);
    }
}
