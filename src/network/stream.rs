//! A repository as it arrives.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use tokio::time::{Instant, timeout};

use super::gate::Permit;
use super::http::{Head, cut_off, too_large};
use super::{HostError, HostErrorKind, metric};

/// A host that gives less than this in the long run holds a place for nothing.
const BYTES_PER_SECOND_MIN: f64 = 1_000.0;
/// From when on that is judged.
const SLOW_AFTER: Duration = Duration::from_secs(60);

/// The bytes of `com.atproto.sync.getRepo`, unread. Holds its place among the host's requests until its end, an error,
/// or until it is dropped.
pub struct RepoStream {
    body: Option<Body>,
    host: Box<str>,
    length: Option<u64>,
    bytes: u64,
    bytes_max: u64,
    idle: Duration,
    /// Time spent waiting for the host; how long the reader takes is not its fault.
    waited: Duration,
}

struct Body {
    response: Response,
    permit: Permit,
    watch: metric::Watch,
}

impl RepoStream {
    pub(super) fn new(head: Head, watch: metric::Watch, bytes_max: u64, idle: Duration) -> Result<Self, HostError> {
        let length = head.response.content_length();
        if length.is_some_and(|length| length > bytes_max) {
            let error = too_large(head.permit.host(), bytes_max);
            watch.end(Some(&error));
            return Err(error);
        }
        let host = head.permit.host().into();
        let body = Some(Body { response: head.response, permit: head.permit, watch });
        Ok(RepoStream { body, host, length, bytes: 0, bytes_max, idle, waited: Duration::ZERO })
    }

    /// The next bytes, `None` after the last and after an error. Dropping the future loses nothing.
    ///
    /// # Errors
    /// `TooLarge` above the limit that was given; `CutOff` when the answer breaks off; `Timeout` when nothing comes for
    /// [`idle_timeout`](super::NetworkOptions::idle_timeout), or too little in a long time. An answer without a length
    /// that simply stops cannot be told from a whole one here: whoever reads the CAR notices.
    pub async fn next_chunk(&mut self) -> Result<Option<Bytes>, HostError> {
        let Some(body) = &mut self.body else { return Ok(None) };
        let start = Instant::now();
        let read = timeout(self.idle, body.response.chunk()).await;
        self.waited += start.elapsed();
        let error = match read {
            Ok(Ok(None)) => {
                body.permit.gate().succeeded();
                self.finish(None);
                return Ok(None);
            }
            Ok(Ok(Some(chunk))) => {
                self.bytes += chunk.len() as u64;
                metric::bytes(super::Call::Repo, chunk.len());
                if self.bytes > self.bytes_max {
                    too_large(&self.host, self.bytes_max)
                } else if self.is_too_slow() {
                    self.too_slow("the answer comes too slowly")
                } else {
                    return Ok(Some(chunk));
                }
            }
            Ok(Err(error)) => cut_off(&self.host, self.bytes, &error),
            Err(_) => self.too_slow("nothing more came in time"),
        };
        if let (Some(body), false) = (&self.body, error.kind == HostErrorKind::TooLarge) {
            body.permit.gate().failed(&error);
        }
        self.finish(Some(&error));
        Err(error)
    }

    fn is_too_slow(&self) -> bool {
        self.waited > SLOW_AFTER && (self.bytes as f64) < self.waited.as_secs_f64() * BYTES_PER_SECOND_MIN
    }

    fn too_slow(&self, what: &str) -> HostError {
        HostError::new(HostErrorKind::Timeout, self.host.clone(), format!("{what}, after {} bytes", self.bytes))
    }

    /// Gives the place back.
    fn finish(&mut self, error: Option<&HostError>) {
        if let Some(body) = self.body.take() {
            body.watch.end(error);
        }
    }

    /// Bytes so far, after decompression.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many bytes there will be, where the host tells.
    pub fn length(&self) -> Option<u64> {
        self.length
    }
}

impl std::fmt::Debug for RepoStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RepoStream({}, {} of {:?} bytes)", self.host, self.bytes, self.length)
    }
}
