//! Somebody who asks the index for a record until it is there, on a thread and a connection of its own.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};
use tokio::sync::mpsc;

use super::relay::Sent;

/// The pause between two questions. A question takes about as long again.
const POLL_EVERY: Duration = Duration::from_micros(500);

/// What was seen so far.
#[derive(Clone, Default)]
pub struct Seen {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    latencies: Vec<Duration>,
    waiting: usize,
    last: Option<Instant>,
}

impl Seen {
    /// From a record sent until its row was there, for each record since this was last asked.
    pub fn take(&self) -> Vec<Duration> {
        std::mem::take(&mut self.lock().latencies)
    }

    /// Records that are not there yet.
    pub fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// How many were seen since the last `take`, and when the last of them.
    pub fn count(&self) -> (usize, Option<Instant>) {
        let inner = self.lock();
        (inner.latencies.len(), inner.last)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().expect("whoever held it did not panic")
    }
}

/// Asks the database at `url` for whatever is told, until the sender is gone.
pub fn watch(url: String, mut sent: mpsc::UnboundedReceiver<Sent>) -> Seen {
    let seen = Seen::default();
    let told = seen.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("the runtime starts");
        runtime.block_on(async {
            let mut connection = PgConnection::connect(&url).await.expect("the bench's server answers");
            let mut waiting: Vec<Sent> = Vec::new();
            loop {
                if waiting.is_empty() {
                    let Some(first) = sent.recv().await else { return };
                    waiting.push(first);
                }
                while let Ok(next) = sent.try_recv() {
                    waiting.push(next);
                }
                told.lock().waiting = waiting.len();
                let uris: Vec<&str> = waiting.iter().map(|sent| sent.uri.as_str()).collect();
                let there: Vec<String> = sqlx::query_scalar(
                    "select uri from calendar.events where uri = any($1)
                     union all select uri from calendar.rsvps where uri = any($1)",
                )
                .bind(&uris)
                .fetch_all(&mut connection)
                .await
                .expect("the index is there");
                let now = Instant::now();
                if !there.is_empty() {
                    let mut inner = told.lock();
                    waiting.retain(|sent| {
                        let is_there = there.contains(&sent.uri);
                        if is_there {
                            inner.latencies.push(now - sent.at);
                        }
                        !is_there
                    });
                    inner.last = Some(now);
                    inner.waiting = waiting.len();
                }
                // Not the runtime's timer: that is no finer than a millisecond.
                std::thread::sleep(POLL_EVERY);
            }
        });
    });
    seen
}
