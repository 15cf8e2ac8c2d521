//! A reader of the simulated network that shares no code with it.

use std::time::Duration;

use almanac::devnet::sim::Sim;
use ciborium::Value;
use futures_util::StreamExt;
use serde_json::Value as Json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use crate::judge::{decode_frame, int, text};

/// Longer than anything here takes, so that a wait that fails tells where.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// `GET`: status and body.
pub async fn get(url: &str) -> (u16, Vec<u8>) {
    let response = client().get(url).send().await.unwrap();
    (response.status().as_u16(), response.bytes().await.unwrap().to_vec())
}

/// `GET` without redirects.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).timeout(PATIENCE).build().unwrap()
}

/// `GET` of JSON: status and body.
pub async fn get_json(url: &str) -> (u16, Json) {
    let (status, body) = get(url).await;
    (status, serde_json::from_slice(&body).unwrap())
}

/// `GET` of an XRPC method on the PDS that holds the account.
pub fn xrpc(sim: &Sim, did: &str, method: &str, more: &str) -> String {
    format!("{}/xrpc/{method}?did={did}{more}", sim.pds_url(sim.host_of(did).unwrap()))
}

/// One frame.
#[derive(Clone, Debug)]
pub struct Seen {
    pub kind: String,
    pub seq: i64,
    pub did: String,
    pub body: Value,
}

/// A subscriber.
pub struct Subscriber(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Subscriber {
    pub async fn new(http_url: &str, cursor: Option<i64>) -> Self {
        let cursor = cursor.map(|cursor| format!("?cursor={cursor}")).unwrap_or_default();
        let url = format!("{}/xrpc/com.atproto.sync.subscribeRepos{cursor}", http_url.replacen("http", "ws", 1));
        Subscriber(tokio_tungstenite::connect_async(url).await.unwrap().0)
    }

    /// The next binary message; `None` when the connection ended.
    pub async fn next_bytes(&mut self) -> Option<Vec<u8>> {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("a frame in time") {
                Some(Ok(Message::Binary(bytes))) => return Some(bytes.to_vec()),
                Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                Some(Ok(_)) => {}
            }
        }
    }

    pub async fn next(&mut self) -> Option<Seen> {
        let bytes = self.next_bytes().await?;
        let (header, body) = decode_frame(&bytes);
        let kind = text(&header, "t").unwrap_or("error").to_owned();
        let did = text(&body, "repo").or(text(&body, "did")).unwrap_or_default().to_owned();
        Some(Seen { kind, seq: int(&body, "seq").unwrap_or(0), did, body })
    }

    pub async fn take(&mut self, count: usize) -> Vec<Seen> {
        let mut out = vec![];
        for at in 0..count {
            out.push(self.next().await.unwrap_or_else(|| panic!("frame {at} of {count}")));
        }
        out
    }
}
