//! What one wake-up of the socket brings, together.
//!
//! In: a socket. Out: every message that has arrived, up to a parcel. Always true: nothing that arrived waits for what has
//! not; what was gathered before an end is handed on before it. Never: waits for a second message.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use chrono::{DateTime, Utc};
use futures_util::StreamExt;
use tokio_tungstenite::tungstenite::Message;

use super::dial::Socket;
use super::failure::Failure;
use crate::event::Upstream;
use crate::source::{DeliverySender, Parcel};

/// How gathering ended.
pub(super) enum Heard {
    /// With all that has arrived.
    Drained,
    /// With a full parcel; more may have arrived.
    Full,
    /// With the connection.
    End(Failure),
}

/// What was gathered and not handed on yet.
#[derive(Default)]
pub(super) struct Gathered {
    pub parcel: Parcel,
    /// When the first frame of `parcel` was read. The clock is read once for all of them: the last was read later than this
    /// says by the time that cutting a parcel out of the socket takes, half a millisecond.
    pub seen_at: DateTime<Utc>,
    /// Text messages that came with them.
    pub ignored: u64,
}

impl Gathered {
    /// Waits for a message and reads all that have arrived with it, until the parcel is as large as `out` likes them.
    /// Cancelling the future loses nothing: what was gathered stays.
    pub async fn fill(&mut self, socket: &mut Socket, upstream: &Arc<Upstream>, out: &DeliverySender) -> Heard {
        poll_fn(|cx| self.poll_fill(cx, socket, upstream, out)).await
    }

    /// Takes out the parcel.
    pub fn take(&mut self) -> Parcel {
        let room = self.parcel.len();
        std::mem::replace(&mut self.parcel, Parcel::with_capacity(room))
    }

    fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut Socket,
        upstream: &Arc<Upstream>,
        out: &DeliverySender,
    ) -> Poll<Heard> {
        let mut alive = false;
        loop {
            match socket.poll_next_unpin(cx) {
                Poll::Ready(Some(Ok(Message::Binary(frame)))) => {
                    if self.parcel.is_empty() {
                        self.seen_at = Utc::now();
                    }
                    self.parcel.push(upstream, self.seen_at, true, frame);
                    if out.is_full(&self.parcel) {
                        return Poll::Ready(Heard::Full);
                    }
                }
                Poll::Ready(Some(Ok(Message::Text(_)))) => self.ignored += 1,
                Poll::Ready(Some(Ok(Message::Close(frame)))) => return Poll::Ready(Heard::End(Failure::closed(frame))),
                Poll::Ready(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => {}
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Heard::End(Failure::websocket(error))),
                Poll::Ready(None) => return Poll::Ready(Heard::End(Failure::closed(None))),
                Poll::Pending if alive => return Poll::Ready(Heard::Drained),
                Poll::Pending => return Poll::Pending,
            }
            alive = true;
        }
    }
}
