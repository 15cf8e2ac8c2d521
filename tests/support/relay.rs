//! A relay on loopback that sends given frames, as fast as the test lets it.
//!
//! It speaks as relays do: with `?cursor=N` it sends what it numbered after N, without one what comes from now on. A
//! frame exists once it is released. Connections can be cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use almanac::devnet::Frame;
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

/// A running relay. Dropped: gone, with its connections.
pub struct Relay {
    /// For `--relay`.
    pub url: String,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    frames: Vec<(i64, Bytes)>,
    released: watch::Sender<usize>,
    /// Counts up to cut every connection there is.
    cuts: watch::Sender<usize>,
    connections: AtomicUsize,
    /// One past the furthest frame that a connection has taken.
    sent: AtomicUsize,
}

impl Relay {
    pub async fn start(frames: &[Frame]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://127.0.0.1:{}", listener.local_addr().unwrap().port());
        let shared = Arc::new(Shared {
            frames: frames.iter().map(|frame| (frame.seq, Bytes::copy_from_slice(&frame.bytes))).collect(),
            released: watch::Sender::new(0),
            cuts: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
            sent: AtomicUsize::new(0),
        });
        let accepting = tokio::spawn(accept(listener, shared.clone()));
        Relay { url, shared, accepting }
    }

    /// How many frames there are.
    pub fn len(&self) -> usize {
        self.shared.frames.len()
    }

    /// Lets the first `count` frames exist.
    pub fn release(&self, count: usize) {
        self.shared.released.send_replace(count.min(self.len()));
    }

    /// From what there is now, lets `per_second` more exist each second until all do.
    pub fn release_steadily(&self, per_second: usize) {
        let shared = self.shared.clone();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(Duration::from_millis(20));
            let (begun, from) = (tokio::time::Instant::now(), *shared.released.borrow());
            loop {
                tick.tick().await;
                let released = from + (begun.elapsed().as_secs_f64() * per_second as f64) as usize;
                shared.released.send_replace(released.min(shared.frames.len()));
                if released >= shared.frames.len() {
                    return;
                }
            }
        });
    }

    /// How many frames exist.
    pub fn released(&self) -> usize {
        *self.shared.released.borrow()
    }

    /// How many frames a reader has taken, so far as the sockets know.
    pub fn sent(&self) -> usize {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// How many connections there were.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// The number of the last frame.
    pub fn last_seq(&self) -> i64 {
        self.shared.frames.last().expect("a relay with frames").0
    }

    /// Cuts every connection.
    pub fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut readers = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (mut cut, shared) = (shared.cuts.subscribe(), shared.clone());
        readers.spawn(async move {
            tokio::select! {
                _ = serve(stream, &shared) => {}
                _ = cut.changed() => {}
            }
        });
    }
}

async fn serve(stream: TcpStream, shared: &Shared) -> Option<()> {
    let mut cursor = None;
    #[allow(clippy::result_large_err)] // The shape that the library asks for.
    let note = |request: &Request, response: Response| {
        let query = request.uri().query().unwrap_or_default();
        cursor = query.strip_prefix("cursor=").map(|cursor| cursor.parse::<i64>().unwrap());
        Ok(response)
    };
    let socket = tokio_tungstenite::accept_hdr_async(stream, note).await.ok()?;
    let mut released = shared.released.subscribe();
    let mut next = match cursor {
        Some(cursor) => shared.frames.partition_point(|(seq, _)| *seq <= cursor),
        None => *released.borrow_and_update(),
    };
    shared.connections.fetch_add(1, Ordering::SeqCst);
    let (mut out, mut words) = socket.split();
    loop {
        let until = *released.borrow_and_update();
        while next < until {
            out.feed(Message::Binary(shared.frames[next].1.clone())).await.ok()?;
            next += 1;
            shared.sent.fetch_max(next, Ordering::SeqCst);
        }
        tokio::select! {
            sent = out.flush() => {
                sent.ok()?;
                tokio::select! {
                    changed = released.changed() => changed.ok()?,
                    // An answer to a ping goes out with the next flush.
                    word = words.next() => drop(word?.ok()?),
                }
            }
            word = words.next() => drop(word?.ok()?),
        }
    }
}
