//! A receiver of webhooks on loopback: what it was sent, and what it answers. It verifies signatures with code of its own.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// One request.
#[derive(Clone, Debug)]
pub struct Received {
    /// The path that it was sent to: tests of several webhooks give each its own.
    pub path: String,
    pub id: String,
    pub timestamp: i64,
    pub signature: String,
    pub body: Vec<u8>,
    pub json: Value,
    pub at: Instant,
}

impl Received {
    /// Whether one of its signatures is by this secret, `whsec_…`.
    pub fn is_signed_with(&self, secret: &str) -> bool {
        let key = data_encoding::BASE64.decode(secret.strip_prefix("whsec_").unwrap().as_bytes()).unwrap();
        let mut signed = format!("{}.{}.", self.id, self.timestamp).into_bytes();
        signed.extend_from_slice(&self.body);
        let wanted = format!("v1,{}", data_encoding::BASE64.encode(&hmac_sha256(&key, &signed)));
        self.signature.split(' ').any(|signature| signature == wanted)
    }

    /// The record that it is about.
    pub fn uri(&self) -> &str {
        self.json["data"]["uri"].as_str().unwrap_or_default()
    }
}

/// RFC 2104, by hand.
fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    assert!(key.len() <= 64);
    let pad = |with: u8| -> Vec<u8> { (0..64).map(|i| key.get(i).copied().unwrap_or(0) ^ with).collect() };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().to_vec()
}

/// An answer: the status, and how long it asks to be left alone.
pub type Reply = (u16, Option<&'static str>);
type Answers = Box<dyn FnMut(&Received) -> Reply + Send>;

struct Shared {
    received: Mutex<Vec<Received>>,
    answers: Mutex<Answers>,
    held: watch::Sender<bool>,
}

/// A running receiver. Dropped: gone.
pub struct Receiver {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl Receiver {
    /// One that takes everything.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            received: Mutex::default(),
            answers: Mutex::new(Box::new(|_| (200, None))),
            held: watch::Sender::new(false),
        });
        let router = Router::new().fallback(receive).layer(DefaultBodyLimit::disable()).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Receiver { url, shared, task }
    }

    /// What it answers from now on.
    pub fn answer(&self, answers: impl FnMut(&Received) -> Reply + Send + 'static) {
        *self.shared.answers.lock().unwrap() = Box::new(answers);
    }

    /// Takes requests and answers none, until it is let go.
    pub fn hold(&self, held: bool) {
        self.shared.held.send_replace(held);
    }

    /// Everything that it was sent so far.
    pub fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// What it was sent so far about this record.
    pub fn about(&self, uri: &str) -> Vec<Received> {
        self.received().into_iter().filter(|received| received.uri() == uri).collect()
    }

    /// Waits until it was sent so much.
    pub async fn wait_for(&self, count: usize, limit: Duration) -> Vec<Received> {
        let deadline = Instant::now() + limit;
        loop {
            let received = self.received();
            if received.len() >= count {
                return received;
            }
            assert!(
                Instant::now() < deadline,
                "{} of {count} requests within {limit:?}: {received:#?}",
                received.len()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn receive(State(shared): State<Arc<Shared>>, uri: Uri, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap().to_owned();
    assert_eq!(header("content-type"), "application/json");
    let received = Received {
        path: uri.path().to_owned(),
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp").parse().unwrap(),
        signature: header("webhook-signature"),
        json: serde_json::from_slice(&body).unwrap(),
        body: body.to_vec(),
        at: Instant::now(),
    };
    let (status, retry_after) = (shared.answers.lock().unwrap())(&received);
    shared.received.lock().unwrap().push(received);
    let mut held = shared.held.subscribe();
    held.wait_for(|held| !held).await.unwrap();
    let status = StatusCode::from_u16(status).unwrap();
    match retry_after {
        Some(pause) => (status, [("retry-after", pause)], "words of the receiver").into_response(),
        None => (status, "words of the receiver").into_response(),
    }
}
