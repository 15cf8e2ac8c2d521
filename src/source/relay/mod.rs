//! A subscription to one host's firehose over a websocket.
//!
//! In: an address, and where to resume, asked anew at each connection. Out: one
//! [`Delivery`](crate::event::Delivery) per binary message, in order, through a bounded queue.
//! Always true: the connection is tried again until somebody says stop; while the queue is full the socket is not read
//! beyond the parcel in hand, and that silence of ours is never taken for the host's; a host that is idle but answers
//! pings is kept.
//! Never: parses a frame, or decides from its content.

mod backoff;
mod dial;
mod failure;
mod gather;
mod options;
mod rest;
mod status;
mod url;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures_util::SinkExt;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_tungstenite::tungstenite::Message;

use self::backoff::Backoff;
use self::dial::{Socket, dial};
pub use self::failure::DisconnectReason;
use self::failure::Failure;
use self::gather::{Gathered, Heard};
pub use self::options::{ExtraCa, ExtraCaError, RelayOptions};
use self::rest::Rest;
pub use self::status::{Oversized, SubscriptionSnapshot, SubscriptionState, SubscriptionStatus};
pub use self::url::{RelayUrl, RelayUrlError};
use super::metric::RelayMetrics;
use super::queue::DeliverySender;
use crate::event::{Seq, Upstream};

/// What to subscribe to.
#[derive(Clone, Debug)]
pub struct Subscription {
    /// The name that deliveries carry.
    pub upstream: Arc<Upstream>,
    /// Where it is.
    pub url: RelayUrl,
    /// How patient to be.
    pub options: RelayOptions,
}

/// How long the farewell to a host may take.
const FAREWELL: Duration = Duration::from_millis(300);

/// Runs a subscription until `stop` becomes true (or its sender is gone), `status.stop_for_good` is called, or the
/// receiver of `out` is gone. `status` says which.
///
/// `resume` is asked at each connection for the cursor: the number of the last frame that need not come again, or
/// `None` for the live edge.
pub async fn run(
    sub: Subscription,
    resume: impl Fn() -> Option<Seq> + Send,
    out: DeliverySender,
    status: Arc<SubscriptionStatus>,
    stop: watch::Receiver<bool>,
) {
    let Subscription { upstream, url, options } = sub;
    let metrics = RelayMetrics::new(&upstream);
    let tls = match options::tls_config(&options) {
        Ok(tls) => tls,
        Err(error) => return status.stop_for_good(format!("no TLS can be set up: {error}")),
    };
    let stopped = stopped(stop, status.ended());
    tokio::pin!(stopped);
    let mut line = Line { upstream, options: &options, out, status: &status, metrics: &metrics, frames: 0 };
    let mut backoff = Backoff::new(options.backoff_min, options.backoff_max);
    // Whether the next connection takes larger messages than usual.
    let mut wide = false;
    loop {
        status.set_state(SubscriptionState::Connecting);
        let cursor = resume();
        let message_bytes_max = if wide { options.message_bytes_max_retry } else { options.message_bytes_max };
        let dialled = tokio::select! {
            biased;
            () = &mut stopped => return finish(&status),
            dialled = dial(&url, cursor, &options, tls.clone(), message_bytes_max) => dialled,
        };
        let failure = match dialled {
            Ok(socket) => {
                let connected_at = Instant::now();
                status.connected();
                metrics.connects.increment(1);
                tracing::info!(upstream = %line.upstream.name, cursor, "connected to {url}");
                let end = line.pump(socket, stopped.as_mut()).await;
                if connected_at.elapsed() >= options.stable_after {
                    backoff.reset();
                }
                match end {
                    End::Stopped => {
                        metrics.disconnected(DisconnectReason::Stopped);
                        return finish(&status);
                    }
                    End::Lost(failure) => failure,
                }
            }
            Err(failure) => failure,
        };
        metrics.disconnected(failure.reason);
        status.failed(&failure.message);
        wide = failure.oversized.is_some();
        if let Some(bytes) = failure.oversized {
            status.oversized(cursor, bytes, line.frames == 0);
        }
        let pause = backoff.next(failure.retry_after);
        let until = Utc::now() + pause;
        status.set_state(SubscriptionState::Backoff { until, attempts: backoff.attempts() });
        tracing::warn!(
            upstream = %line.upstream.name, reason = failure.reason.as_str(), attempts = backoff.attempts(),
            pause_ms = pause.as_millis() as u64, "no connection to {url}: {}", failure.message,
        );
        tokio::select! {
            biased;
            () = &mut stopped => return finish(&status),
            () = sleep(pause) => {}
        }
    }
}

/// Keeps the reason of `stop_for_good` when there is one.
fn finish(status: &SubscriptionStatus) {
    status.set_state(SubscriptionState::Stopped { reason: "told to stop".to_owned() });
}

/// Completes when either word to end was given. Somebody who dropped the switch can no longer say stop, which is
/// taken as having said it.
async fn stopped(mut stop: watch::Receiver<bool>, mut ended: watch::Receiver<bool>) {
    tokio::select! {
        _ = stop.wait_for(|stop| *stop) => {}
        _ = ended.wait_for(|ended| *ended) => {}
    }
}

/// How a connection ended.
enum End {
    Stopped,
    Lost(Failure),
}

/// What stays the same from one connection to the next.
struct Line<'a> {
    upstream: Arc<Upstream>,
    options: &'a RelayOptions,
    out: DeliverySender,
    status: &'a SubscriptionStatus,
    metrics: &'a RelayMetrics,
    /// Handed on from the connection in work.
    frames: u64,
}

impl Line<'_> {
    /// Carries messages from one connection to the queue until it ends.
    async fn pump(&mut self, mut socket: Socket, mut stopped: Pin<&mut impl Future<Output = ()>>) -> End {
        let options = self.options;
        self.frames = 0;
        let tick = options.ping_interval.min(options.dead_after).max(Duration::from_millis(1));
        let mut ticks = interval_at(Instant::now() + tick, tick);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard_at = Instant::now();
        let mut gathered = Gathered::default();
        let mut rest = Rest::default();
        loop {
            // In this order: what has arrived is read before silence is judged.
            let heard = tokio::select! {
                biased;
                () = stopped.as_mut() => {
                    let _ = timeout(FAREWELL, socket.close(None)).await;
                    return End::Stopped;
                }
                heard = async {
                    rest.end(&socket).await;
                    gathered.fill(&mut socket, &self.upstream, &self.out).await
                } => heard,
                _ = ticks.tick() => {
                    let silent = heard_at.elapsed();
                    if silent >= options.dead_after {
                        let message = format!("silent for {:.0?}, pings unanswered", silent);
                        return End::Lost(Failure::new(DisconnectReason::Dead, message));
                    }
                    match timeout(options.dead_after, socket.send(Message::Ping(Default::default()))).await {
                        Ok(Ok(())) => continue,
                        Ok(Err(error)) => return End::Lost(Failure::websocket(error)),
                        Err(_) => return End::Lost(Failure::new(DisconnectReason::Dead, "takes no pings any more")),
                    }
                }
            };
            if gathered.ignored > 0 {
                self.status.ignored(gathered.ignored);
                self.metrics.ignored.increment(gathered.ignored);
                gathered.ignored = 0;
            }
            let count = gathered.parcel.len();
            if count > 0 {
                let (frames, bytes) = (count as u64, gathered.parcel.bytes() as u64);
                tokio::select! {
                    biased;
                    sent = self.out.send_parcel(gathered.take()) => if sent.is_err() {
                        self.status.stop_for_good("nobody takes deliveries any more");
                        return End::Stopped;
                    },
                    () = stopped.as_mut() => return End::Stopped,
                }
                self.frames += frames;
                self.status.frames(frames, bytes, gathered.seen_at);
                self.metrics.frames.increment(frames);
                self.metrics.bytes.increment(bytes);
            }
            match heard {
                Heard::Drained => rest.begin(&socket, count, options.rest),
                Heard::Full => {}
                Heard::End(failure) => return End::Lost(failure),
            }
            // After the wait for room, not before: what the host said meanwhile is still unread.
            heard_at = Instant::now();
        }
    }
}
