//! A PDS that only keeps records, as the reference PDS does: versions are compared, a record that is written again as it is
//! makes no commit, nothing is deleted twice. For faults which a real one cannot be made to show, and to see what everything
//! around a PDS costs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use data_encoding::BASE32_NOPAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::task::JoinHandle;

/// A running one. Dropped: gone, with what it kept.
pub struct NullPds {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    kept: Arc<Mutex<Kept>>,
    task: JoinHandle<()>,
}

/// A record: its version and its content.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    pub cid: String,
    pub value: Value,
}

type Hook = Box<dyn FnOnce(&mut Records) + Send>;

/// Records by `DID/collection/rkey`.
#[derive(Default)]
pub struct Records {
    records: BTreeMap<String, Held>,
    commits: u64,
}

#[derive(Default)]
struct Kept {
    records: Records,
    /// Method and repository of each request, the oldest first.
    asked: Vec<(String, String)>,
    /// Written records in the order of the writes, as `DID/collection/rkey`.
    written: Vec<String>,
    /// What happens between a look and the next write.
    before_write: Vec<Hook>,
    /// Answers for the next writes of a repository.
    answers: Vec<(String, StatusCode, &'static str)>,
    largest_body: usize,
}

impl NullPds {
    /// Starts it.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let kept = Arc::new(Mutex::new(Kept::default()));
        let router = Router::new().route("/xrpc/{method}", any(answer)).with_state(kept.clone());
        let router = router.layer(axum::extract::DefaultBodyLimit::max(5_000_000));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        NullPds { url, kept, task }
    }

    /// Every record of a repository, by `collection/rkey`.
    pub fn records(&self, did: &str) -> BTreeMap<String, Held> {
        let kept = self.kept.lock().unwrap();
        let of = kept
            .records
            .records
            .iter()
            .filter_map(|(key, held)| Some((key.strip_prefix(did)?.strip_prefix('/')?.to_owned(), held.clone())));
        of.collect()
    }

    /// Changes what is there, as another client of the account.
    pub fn change(&self, change: impl FnOnce(&mut Records)) {
        change(&mut self.kept.lock().unwrap().records);
    }

    /// Has another client be faster than the next write.
    pub fn before_next_write(&self, hook: impl FnOnce(&mut Records) + Send + 'static) {
        self.kept.lock().unwrap().before_write.push(Box::new(hook));
    }

    /// Answers the next write of this repository so, and does nothing.
    pub fn refuse_next(&self, did: &str, status: u16, name: &'static str) {
        let status = StatusCode::from_u16(status).unwrap();
        self.kept.lock().unwrap().answers.push((did.to_owned(), status, name));
    }

    /// How often this method was asked for.
    pub fn count(&self, method: &str) -> usize {
        self.kept.lock().unwrap().asked.iter().filter(|(asked, _)| asked.ends_with(method)).count()
    }

    /// Commits so far.
    pub fn commits(&self) -> u64 {
        self.kept.lock().unwrap().records.commits
    }

    /// `DID/collection/rkey` of each record written, in the order of the writes.
    pub fn written(&self) -> Vec<String> {
        self.kept.lock().unwrap().written.clone()
    }

    /// The largest body that came, in bytes.
    pub fn largest_body(&self) -> usize {
        self.kept.lock().unwrap().largest_body
    }
}

impl Drop for NullPds {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Records {
    /// Writes a record, whatever is there.
    pub fn put(&mut self, key: &str, value: Value) -> String {
        let digest = Sha256::digest(value.to_string().as_bytes());
        let bytes: Vec<u8> = [1, 0x71, 0x12, 0x20].into_iter().chain(digest).collect();
        let cid = format!("b{}", BASE32_NOPAD.encode(&bytes).to_ascii_lowercase());
        self.commits += 1;
        self.records.insert(key.to_owned(), Held { cid: cid.clone(), value });
        cid
    }

    /// Takes a record away.
    pub fn delete(&mut self, key: &str) {
        self.commits += 1;
        self.records.remove(key);
    }

    /// One that is there.
    pub fn get(&self, key: &str) -> Option<&Held> {
        self.records.get(key)
    }

    fn commit(&self) -> Value {
        // Revisions that rise as text, as those of a PDS do.
        json!({ "cid": "bafyreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", "rev": format!("3m{:0>11}", base32(self.commits)) })
    }
}

fn base32(mut number: u64) -> String {
    let mut text = Vec::new();
    while number > 0 {
        text.push(b"234567abcdefghijklmnopqrstuvwxyz"[(number % 32) as usize]);
        number /= 32;
    }
    text.reverse();
    String::from_utf8(text).unwrap().replace('0', "2")
}

fn refusal(status: StatusCode, name: &str) -> Response {
    (status, axum::Json(json!({ "error": name, "message": "said the null PDS" }))).into_response()
}

async fn answer(
    State(kept): State<Arc<Mutex<Kept>>>,
    Path(method): Path<String>,
    Query(query): Query<BTreeMap<String, String>>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let body: Value = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() };
    let text = |name: &str| body[name].as_str().map(str::to_owned).or_else(|| query.get(name).cloned());
    let repo = text("repo").unwrap_or_default();
    let key = |rkey: &Value, collection: &Value| {
        format!("{repo}/{}/{}", collection.as_str().unwrap(), rkey.as_str().unwrap())
    };
    let mut kept = kept.lock().unwrap();
    let kept = &mut *kept;
    kept.asked.push((method.clone(), repo.clone()));
    let length = headers.get("content-length").and_then(|length| length.to_str().ok()?.parse().ok());
    kept.largest_body = kept.largest_body.max(length.unwrap_or(0));
    if method.ends_with("getRecord") {
        let key = format!("{repo}/{}/{}", query["collection"], query["rkey"]);
        return match kept.records.records.get(&key) {
            Some(held) => axum::Json(json!({ "uri": format!("at://{key}"), "cid": held.cid, "value": held.value }))
                .into_response(),
            None => refusal(StatusCode::BAD_REQUEST, "RecordNotFound"),
        };
    }
    if method.ends_with("createSession") || method.ends_with("refreshSession") {
        let did = body["identifier"].as_str().unwrap_or_default();
        let session =
            json!({ "accessJwt": "access", "refreshJwt": "refresh", "did": did, "handle": "a.test", "active": true });
        return axum::Json(session).into_response();
    }
    assert!(headers.contains_key("authorization"), "{method} without a token");
    if let Some(at) = kept.answers.iter().position(|(did, ..)| *did == repo) {
        let (_, status, name) = kept.answers.remove(at);
        return refusal(status, name);
    }
    for hook in kept.before_write.drain(..) {
        hook(&mut kept.records);
    }
    match method.rsplit('.').next().unwrap() {
        "putRecord" => {
            let key = key(&body["rkey"], &body["collection"]);
            let current = kept.records.get(&key);
            if let Some(held) = current.filter(|held| held.value == body["record"]) {
                return axum::Json(json!({ "uri": format!("at://{key}"), "cid": held.cid })).into_response();
            }
            if body.get("swapRecord").is_some_and(|swap| swap.as_str() != current.map(|held| held.cid.as_str())) {
                return refusal(StatusCode::BAD_REQUEST, "InvalidSwap");
            }
            let cid = kept.records.put(&key, body["record"].clone());
            kept.written.push(key.clone());
            let commit = kept.records.commit();
            axum::Json(json!({ "uri": format!("at://{key}"), "cid": cid, "commit": commit })).into_response()
        }
        "deleteRecord" => {
            let key = key(&body["rkey"], &body["collection"]);
            let Some(held) = kept.records.get(&key) else { return axum::Json(json!({})).into_response() };
            if body.get("swapRecord").is_some_and(|swap| swap.as_str() != Some(held.cid.as_str())) {
                return refusal(StatusCode::BAD_REQUEST, "InvalidSwap");
            }
            kept.records.delete(&key);
            axum::Json(json!({ "commit": kept.records.commit() })).into_response()
        }
        "applyWrites" => {
            let writes = body["writes"].as_array().unwrap();
            let keys: Vec<String> = writes.iter().map(|write| key(&write["rkey"], &write["collection"])).collect();
            if keys.iter().any(|key| kept.records.get(key).is_some()) {
                return refusal(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError");
            }
            let mut results = Vec::new();
            for (key, write) in keys.iter().zip(writes) {
                assert_eq!(write["$type"], "com.atproto.repo.applyWrites#create");
                let cid = kept.records.put(key, write["value"].clone());
                kept.written.push(key.clone());
                results.push(json!({
                    "$type": "com.atproto.repo.applyWrites#createResult", "uri": format!("at://{key}"), "cid": cid,
                }));
            }
            kept.records.commits -= writes.len().saturating_sub(1) as u64;
            axum::Json(json!({ "commit": kept.records.commit(), "results": results })).into_response()
        }
        _ => refusal(StatusCode::NOT_IMPLEMENTED, "MethodNotImplemented"),
    }
}
