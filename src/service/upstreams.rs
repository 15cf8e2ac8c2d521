//! The upstreams of a `serve`: their subscriptions, what is shown of them, and what their hosts' words do to them.

use std::sync::Arc;

use metrics::{describe_gauge, gauge};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::api::UpstreamView;
use crate::config::Settings;
use crate::event::UpstreamKind;
use crate::ingest::{Cursors, HostWord};
use crate::source::DeliverySender;
use crate::source::gap::{Resume, Resumes};
use crate::source::relay::{self, RelayOptions, RelayUrl, Subscription, SubscriptionState, SubscriptionStatus};

const LAG: &str = "almanac_source_lag_seconds";
const LAST_EVENT: &str = "almanac_source_last_event_timestamp_seconds";
const CONNECTED: &str = "almanac_source_connected_upstreams";
const STOPPED: &str = "almanac_source_stopped_upstreams";

/// Describes the gauges that are refreshed before each scrape.
pub(super) fn register_metrics() {
    describe_gauge!(LAG, "Age of the upstream's last frame when it was judged");
    describe_gauge!(LAST_EVENT, "The time that the upstream's last frame carries, in Unix seconds");
    describe_gauge!(CONNECTED, "Upstreams connected now");
    describe_gauge!(STOPPED, "Upstreams that do not come back by themselves; /admin/status says why");
    gauge!(CONNECTED).set(0.0);
    gauge!(STOPPED).set(0.0);
}

/// The upstreams that the settings name.
pub(super) struct Upstreams {
    all: Vec<(Subscription, Arc<SubscriptionStatus>)>,
    cursors: Arc<Cursors>,
    resumes: Arc<Resumes>,
}

impl Upstreams {
    pub fn new(settings: &Settings, cursors: Arc<Cursors>) -> Self {
        let options = RelayOptions { extra_ca: settings.extra_ca.clone(), ..RelayOptions::default() };
        let subscribe = |url: &RelayUrl, kind: UpstreamKind| {
            let upstream = Arc::new(url.upstream(kind));
            (Subscription { upstream, url: url.clone(), options: options.clone() }, Arc::new(SubscriptionStatus::new()))
        };
        let relays = settings.relays.iter().map(|url| subscribe(url, UpstreamKind::Relay));
        let pdses = settings.pdses.iter().map(|url| subscribe(url, UpstreamKind::Pds));
        Upstreams { all: relays.chain(pdses).collect(), cursors, resumes: Arc::default() }
    }

    /// Where every connection is noted, for whoever judges its frames.
    pub fn resumes(&self) -> Arc<Resumes> {
        self.resumes.clone()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Starts every subscription. They end at `stop`, or when the receiver of `out` is gone.
    pub fn start(&self, out: &DeliverySender, stop: &watch::Receiver<bool>) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        for (subscription, status) in &self.all {
            let (cursors, resumes) = (self.cursors.clone(), self.resumes.clone());
            let (upstream, seen) = (subscription.upstream.clone(), status.clone());
            let resume = move || {
                let cursor = cursors.get(&upstream.name);
                let after = seen.resume_after(cursor.map(|cursor| cursor.seq));
                let note = cursor.zip(after).map(|(cursor, seq)| Resume {
                    seq,
                    event_time: cursor.event_time,
                    judged_at: cursor.judged_at,
                });
                resumes.connecting(&upstream, note);
                after
            };
            tasks.spawn(relay::run(subscription.clone(), resume, out.clone(), status.clone(), stop.clone()));
        }
        tasks
    }

    /// What a host's word does to its subscription. Gaps that it tells of are [`GapWatch::word`]'s to find.
    ///
    /// [`GapWatch::word`]: crate::source::gap::GapWatch::word
    pub fn heed(&self, word: &HostWord) {
        let (name, notice) = (&*word.notice.name, &*word.notice.message);
        let host = &word.upstream.name;
        match name {
            "FutureCursor" => {
                let cursor = self.cursors.get(host).map(|cursor| cursor.seq);
                let advice = format!(
                    "{host} says that our cursor {cursor:?} is in its future: its numbers started again, or the address \
                     leads to another host than before. Stopped. When that is understood, remove its row from \
                     log.cursor and start again: all its accounts are then compared with it ({notice})"
                );
                tracing::error!("{advice}");
                if let Some((_, status)) = self.all.iter().find(|(s, _)| s.upstream.name == *host) {
                    status.stop_for_good(advice);
                }
            }
            _ if word.is_error => tracing::warn!(host = %host, error = name, "the host ends the stream: {notice}"),
            _ => tracing::info!(host = %host, name, "{notice}"),
        }
    }

    /// For the status page.
    pub fn views(&self) -> Vec<UpstreamView> {
        let view = |(subscription, status): &(Subscription, Arc<SubscriptionStatus>)| {
            let snapshot = status.snapshot();
            let cursor = self.cursors.get(&subscription.upstream.name);
            UpstreamView {
                host: subscription.upstream.name.to_string(),
                kind: subscription.upstream.kind.as_str().to_owned(),
                state: state_word(&snapshot.state).to_owned(),
                cursor: cursor.map(|c| c.seq),
                lag_seconds: cursor.and_then(|c| c.lag_seconds()).map(|s| s as i64),
                last_event_time: cursor.and_then(|c| c.event_time),
                last_error: match snapshot.state {
                    SubscriptionState::Stopped { reason } => Some(format!("stopped: {reason}")),
                    _ => snapshot.last_error.map(|(at, error)| format!("{}: {error}", at.format("%Y-%m-%dT%H:%M:%SZ"))),
                },
            }
        };
        self.all.iter().map(view).collect()
    }

    /// Whether every upstream is connected, or which is not and why.
    pub fn health(&self) -> Result<(), String> {
        if self.all.is_empty() {
            return Ok(());
        }
        let mut down = Vec::new();
        for (subscription, status) in &self.all {
            let snapshot = status.snapshot();
            if !matches!(snapshot.state, SubscriptionState::Connected { .. }) {
                let why = snapshot.last_error.map_or("not yet".to_owned(), |(_, error)| error);
                down.push(format!("{}: {why}", subscription.upstream.name));
            }
        }
        // One of several upstreams may be gone: the others carry on, and its metric tells.
        if down.len() < self.all.len() { Ok(()) } else { Err(format!("no upstream is connected: {}", down.join("; "))) }
    }

    /// Brings the gauges up to date.
    pub fn refresh_gauges(&self) {
        let (mut connected, mut stopped) = (0u32, 0u32);
        for (subscription, status) in &self.all {
            let name = subscription.upstream.name.to_string();
            match status.snapshot().state {
                SubscriptionState::Connected { .. } => connected += 1,
                SubscriptionState::Stopped { .. } => stopped += 1,
                SubscriptionState::Connecting | SubscriptionState::Backoff { .. } => {}
            }
            let cursor = self.cursors.get(&subscription.upstream.name);
            let lag = cursor.and_then(|c| c.lag_seconds()).unwrap_or(0.0);
            let time = cursor.and_then(|c| c.event_time).map_or(0, |t| t.timestamp());
            gauge!(LAG, "upstream" => name.clone()).set(lag);
            gauge!(LAST_EVENT, "upstream" => name).set(time as f64);
        }
        gauge!(CONNECTED).set(f64::from(connected));
        gauge!(STOPPED).set(f64::from(stopped));
    }
}

fn state_word(state: &SubscriptionState) -> &'static str {
    match state {
        SubscriptionState::Connecting => "connecting",
        SubscriptionState::Connected { .. } => "live",
        SubscriptionState::Backoff { .. } => "waiting",
        SubscriptionState::Stopped { .. } => "stopped",
    }
}
