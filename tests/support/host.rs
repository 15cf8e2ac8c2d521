//! A host on loopback that says on each connection what the test wrote down for it, whatever it is asked for.

use std::sync::{Arc, Mutex};

use almanac::devnet::frames::{self, Stamp};
use chrono::{DateTime, Utc};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

/// What is said on one connection.
#[derive(Clone, Default)]
pub struct Talk {
    /// In this order.
    pub frames: Vec<Vec<u8>>,
    /// Whether the host then ends the connection; else it stays, silent.
    pub closes: bool,
}

/// A running host. Dropped: gone, with its connections.
pub struct Host {
    /// For `--relay` and `--pds`.
    pub url: String,
    /// Its name as an upstream.
    pub name: String,
    cursors: Arc<Mutex<Vec<Option<i64>>>>,
    accepting: JoinHandle<()>,
}

impl Host {
    /// Says `talks` one after another; the last on every further connection.
    pub async fn start(talks: Vec<Talk>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let name = listener.local_addr().unwrap().to_string();
        let cursors = Arc::new(Mutex::new(Vec::new()));
        let accepting = tokio::spawn(accept(listener, talks, cursors.clone()));
        Host { url: format!("ws://{name}"), name, cursors, accepting }
    }

    /// What each connection so far asked to continue after.
    pub fn cursors(&self) -> Vec<Option<i64>> {
        self.cursors.lock().unwrap().clone()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, talks: Vec<Talk>, cursors: Arc<Mutex<Vec<Option<i64>>>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (talks, cursors) = (talks.clone(), cursors.clone());
        connections.spawn(talk(stream, talks, cursors));
    }
}

async fn talk(stream: TcpStream, talks: Vec<Talk>, cursors: Arc<Mutex<Vec<Option<i64>>>>) -> Option<()> {
    let mut cursor = None;
    #[allow(clippy::result_large_err)] // The shape that the library asks for.
    let note = |request: &Request, response: Response| {
        let query = request.uri().query().unwrap_or_default();
        cursor = query.strip_prefix("cursor=").map(|cursor| cursor.parse::<i64>().unwrap());
        Ok(response)
    };
    let mut socket = tokio_tungstenite::accept_hdr_async(stream, note).await.ok()?;
    let turn = {
        let mut cursors = cursors.lock().unwrap();
        cursors.push(cursor);
        cursors.len() - 1
    };
    let talk = &talks[turn.min(talks.len() - 1)];
    for frame in &talk.frames {
        socket.send(Message::Binary(frame.clone().into())).await.ok()?;
    }
    if talk.closes {
        socket.close(None).await.ok()?;
    }
    while socket.next().await?.is_ok() {}
    None
}

/// A frame that has a number and a time and moves nothing but the cursor.
pub fn numbered(seq: i64, time: DateTime<Utc>) -> Vec<u8> {
    let did = "did:plc:nobodyofinteresttoanyone";
    frames::identity(Stamp { seq, did, micros: time.timestamp_micros() }, Some("nobody.test"))
}
