//! A host whose firehose is a list of frames: for the demo, and for trying things out on loopback.
//!
//! It speaks the websocket side of `com.atproto.sync.subscribeRepos`: with `?cursor=N` it sends what follows N, without a
//! cursor everything from the first frame, and then stays connected and silent.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};

/// Frames are sent in bursts this far apart; timers are not finer than that anyway.
const TICK: Duration = Duration::from_millis(20);

/// What the host sends.
#[derive(Clone, Debug)]
pub struct Host {
    /// The frames with their seq, in order.
    pub frames: Arc<[(i64, Bytes)]>,
    /// How many of them a second; at least 1.
    pub per_second: u32,
}

impl Host {
    /// Serves every connection until the listener fails.
    pub async fn serve(self, listener: TcpListener) -> io::Result<()> {
        loop {
            let (stream, _peer) = listener.accept().await?;
            let host = self.clone();
            // How a subscriber leaves is its own business.
            tokio::spawn(async move { host.send_to(stream).await.ok() });
        }
    }

    async fn send_to(self, stream: TcpStream) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        stream.set_nodelay(true)?;
        let mut cursor = None;
        // The type of a refusal is the library's.
        #[allow(clippy::result_large_err)]
        let read_cursor = |request: &Request, response: Response| -> Result<Response, ErrorResponse> {
            let query = request.uri().query().unwrap_or_default();
            cursor = query.split('&').find_map(|pair| pair.strip_prefix("cursor=")?.parse::<i64>().ok());
            Ok(response)
        };
        let mut socket = tokio_tungstenite::accept_hdr_async(stream, read_cursor).await?;
        let first = cursor.map_or(0, |cursor| self.frames.partition_point(|(seq, _)| *seq <= cursor));
        let started = Instant::now();
        let mut sent = 0usize;
        let waiting = &self.frames[first..];
        while sent < waiting.len() {
            let due = (started.elapsed().as_secs_f64() * f64::from(self.per_second.max(1))) as usize + 1;
            for (_, frame) in &waiting[sent..due.clamp(sent, waiting.len())] {
                socket.feed(Message::Binary(frame.clone())).await?;
            }
            sent = due.clamp(sent, waiting.len());
            socket.flush().await?;
            tokio::time::sleep(TICK).await;
        }
        // Answers pings until the subscriber leaves.
        while let Some(message) = socket.next().await {
            message?;
        }
        Ok(())
    }
}
