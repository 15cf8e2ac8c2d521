//! How much is asked of each host, and when none of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::Utc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::{HostError, HostErrorKind, HostLimits, NetworkOptions};

/// So many failures in a row close a host. One may be an accident of one connection.
const FAILURES_MAX: u32 = 3;
/// Hosts remembered. Past it, those with nothing to remember are forgotten, then those nobody asks now.
const HOSTS_MAX: usize = 10_000;

/// The gates of all hosts.
pub(super) struct Gates {
    gates: Mutex<HashMap<Box<str>, Arc<Gate>>>,
    directory: Box<str>,
    options: NetworkOptions,
}

impl Gates {
    pub fn new(options: NetworkOptions, directory: Box<str>) -> Self {
        Gates { gates: Mutex::default(), directory, options }
    }

    /// The gate of a host.
    pub fn of(&self, host: &str) -> Arc<Gate> {
        let mut gates = locked(&self.gates);
        if let Some(gate) = gates.get(host) {
            return gate.clone();
        }
        if gates.len() >= HOSTS_MAX {
            let now = Instant::now();
            // A gate in use stays whatever happens: a second one would let twice as much through.
            gates.retain(|_, gate| Arc::strong_count(gate) > 1 || !locked(&gate.state).is_forgettable(now));
            if gates.len() >= HOSTS_MAX {
                gates.retain(|_, gate| Arc::strong_count(gate) > 1);
            }
        }
        let limits = if *host == *self.directory { self.options.directory } else { self.options.host };
        let gate = Arc::new(Gate::new(host, limits, &self.options));
        gates.insert(host.into(), gate.clone());
        gate
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// One host's.
pub(super) struct Gate {
    host: Box<str>,
    places: Arc<Semaphore>,
    /// The time that one request takes of the pace.
    interval: Duration,
    /// How far ahead of the pace a burst may run.
    ahead_max: Duration,
    backoff_min: Duration,
    backoff_max: Duration,
    pause_max: Duration,
    wait_max: Duration,
    state: Mutex<State>,
}

struct State {
    /// The moment up to which the pace is used up.
    paced_until: Instant,
    failures: u32,
    closed: Option<Closed>,
}

struct Closed {
    until: Instant,
    kind: HostErrorKind,
    detail: Box<str>,
}

impl State {
    fn is_forgettable(&self, now: Instant) -> bool {
        self.failures == 0 && self.paced_until <= now && self.closed.as_ref().is_none_or(|closed| closed.until <= now)
    }
}

/// A place among a host's requests.
pub(super) struct Permit {
    _place: OwnedSemaphorePermit,
    gate: Arc<Gate>,
}

impl Gate {
    fn new(host: &str, limits: HostLimits, options: &NetworkOptions) -> Self {
        let interval = Duration::from_secs_f64(1.0 / limits.requests_per_second);
        Gate {
            host: host.into(),
            places: Arc::new(Semaphore::new(limits.concurrency)),
            interval,
            ahead_max: interval.mul_f64((limits.burst - 1.0).clamp(0.0, 1e6)),
            backoff_min: options.backoff_min,
            backoff_max: options.backoff_max.max(options.backoff_min),
            pause_max: options.pause_max,
            wait_max: options.wait_max,
            state: Mutex::new(State { paced_until: Instant::now(), failures: 0, closed: None }),
        }
    }

    /// Waits for a place and for the pace.
    ///
    /// # Errors
    /// At once, when the host is closed for longer than is waited for.
    pub async fn enter(self: &Arc<Self>) -> Result<Permit, HostError> {
        self.wait_until_open().await?;
        let place = self.places.clone().acquire_owned().await.expect("nobody closes the semaphore");
        // The host may have closed while this one queued.
        self.wait_until_open().await?;
        let start = self.take_from_pace();
        sleep_until(start).await;
        Ok(Permit { _place: place, gate: self.clone() })
    }

    async fn wait_until_open(&self) -> Result<(), HostError> {
        let deadline = Instant::now() + self.wait_max;
        loop {
            let until = {
                let state = locked(&self.state);
                let Some(closed) = state.closed.as_ref().filter(|closed| closed.until > Instant::now()) else {
                    return Ok(());
                };
                if closed.until > deadline {
                    return Err(self.refusal(closed));
                }
                closed.until
            };
            sleep_until(until).await;
        }
    }

    fn refusal(&self, closed: &Closed) -> HostError {
        let until = Utc::now() + (closed.until - Instant::now());
        let kind = match &closed.kind {
            HostErrorKind::RateLimited { .. } => HostErrorKind::RateLimited { until },
            other => other.clone(),
        };
        let detail = format!("not asked before {}: {}", until.format("%H:%M:%S UTC"), closed.detail);
        HostError { not_before: Some(until), ..HostError::new(kind, self.host.clone(), detail) }
    }

    /// When the next request may start.
    fn take_from_pace(&self) -> Instant {
        let now = Instant::now();
        let mut state = locked(&self.state);
        let paced_until = state.paced_until.max(now);
        state.paced_until = paced_until + self.interval;
        paced_until.checked_sub(self.ahead_max).unwrap_or(now).max(now)
    }

    /// The host answers.
    pub fn succeeded(&self) {
        locked(&self.state).failures = 0;
    }

    /// The host fails: several times in a row close it for a while that doubles.
    pub fn failed(&self, error: &HostError) {
        let mut state = locked(&self.state);
        state.failures = state.failures.saturating_add(1);
        if state.failures < FAILURES_MAX {
            return;
        }
        let doublings = (state.failures - FAILURES_MAX).min(20);
        let top = self.backoff_min.saturating_mul(1 << doublings).min(self.backoff_max);
        // Half of it is chance, so that what waited for one host does not come back in one moment.
        let pause = top.mul_f64(0.5 + 0.5 * rand::random::<f64>());
        state.close(Closed { until: Instant::now() + pause, kind: error.kind.clone(), detail: error.detail.clone() });
    }

    /// The host asks for a pause. Gives what is kept of it.
    pub fn pause(&self, asked: Duration, detail: &str) -> Duration {
        let pause = asked.min(self.pause_max);
        let kind = HostErrorKind::RateLimited { until: Utc::now() + pause };
        locked(&self.state).close(Closed { until: Instant::now() + pause, kind, detail: detail.into() });
        pause
    }
}

impl State {
    /// A later end counts; a pause that is asked for is not cut short by a failure.
    fn close(&mut self, closed: Closed) {
        if self.closed.as_ref().is_none_or(|now| now.until < closed.until) {
            self.closed = Some(closed);
        }
    }
}

impl Permit {
    /// The gate that it is from.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// The host, as [`authority`](super::authority) writes it.
    pub fn host(&self) -> &str {
        &self.gate.host
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gates(limits: HostLimits) -> Gates {
        let options = NetworkOptions { host: limits, ..NetworkOptions::default() };
        Gates::new(options, "plc.directory".into())
    }

    fn failure(host: &str) -> HostError {
        HostError::new(HostErrorKind::Timeout, host, "no answer")
    }

    const WIDE: HostLimits = HostLimits { concurrency: 100, requests_per_second: 1e6, burst: 1e6 };

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_at_once_and_the_rest_at_the_pace() {
        let gates = gates(HostLimits { concurrency: 100, requests_per_second: 10.0, burst: 5.0 });
        let gate = gates.of("a.example");
        let start = Instant::now();
        let mut at = vec![];
        for _ in 0..8 {
            drop(gate.enter().await.unwrap());
            at.push(start.elapsed().as_millis());
        }
        assert_eq!(at[..5], [0; 5]);
        // Timers of the runtime are exact to a millisecond.
        for (millis, wanted) in at[5..].iter().zip([100, 200, 300]) {
            assert!(millis.abs_diff(wanted) <= 2, "{at:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_given_back_by_whoever_goes_away() {
        let gates = gates(HostLimits { concurrency: 1, ..WIDE });
        let gate = gates.of("a.example");
        let held = gate.enter().await.unwrap();
        let waiting = tokio::time::timeout(Duration::from_secs(5), gate.enter()).await;
        assert!(waiting.is_err(), "a second one came in");
        drop(held);
        assert!(gate.enter().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_in_a_row_close_for_longer_and_longer_and_one_success_forgives() {
        let gates = gates(WIDE);
        let gate = gates.of("a.example");
        gate.failed(&failure("a.example"));
        gate.failed(&failure("a.example"));
        gate.succeeded();
        gate.failed(&failure("a.example"));
        gate.failed(&failure("a.example"));
        let start = Instant::now();
        gate.enter().await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO, "two failures are none");
        for _ in 0..8 {
            gate.failed(&failure("a.example"));
        }
        let error = gate.enter().await.err().unwrap();
        assert_eq!(error.kind, HostErrorKind::Timeout);
        assert!(error.not_before.is_some() && error.pause() > Duration::from_secs(29), "{error:?}");
        assert!(gates.of("b.example").enter().await.is_ok(), "another host");
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert!(gate.enter().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_pause_is_waited_for_and_a_long_one_refuses_at_once() {
        let gates = gates(WIDE);
        let gate = gates.of("a.example");
        gate.pause(Duration::from_secs(2), "429");
        let start = Instant::now();
        gate.enter().await.unwrap();
        assert!(start.elapsed() >= Duration::from_secs(2));
        assert_eq!(gate.pause(Duration::from_secs(86_400), "429"), Duration::from_secs(900), "cut to the longest");
        let start = Instant::now();
        let error = gate.enter().await.err().unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert!(matches!(error.kind, HostErrorKind::RateLimited { .. }), "{error:?}");
        assert!(error.pause() > Duration::from_secs(890));
        // A failure meanwhile does not shorten it.
        (0..9).for_each(|_| gate.failed(&failure("a.example")));
        assert!(matches!(gate.enter().await.err().unwrap().kind, HostErrorKind::RateLimited { .. }));
    }

    #[tokio::test(start_paused = true)]
    async fn hosts_are_forgotten_but_not_those_in_use() {
        let gates = gates(HostLimits { concurrency: 1, ..WIDE });
        let _held = gates.of("busy.example").enter().await.unwrap();
        gates.of("closed.example").pause(Duration::from_secs(60), "429");
        for n in 0..3 * HOSTS_MAX {
            gates.of(&format!("h{n}.example"));
        }
        assert!(locked(&gates.gates).len() <= HOSTS_MAX);
        let busy = gates.of("busy.example");
        assert!(tokio::time::timeout(Duration::from_secs(1), busy.enter()).await.is_err());
        assert!(gates.of("closed.example").enter().await.is_err());
    }
}
