//! Watching the list files: a change takes effect without a restart.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use super::stop;
use crate::config::Settings;
use crate::filter::Policy;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the list files looked like at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen(Vec<Option<(SystemTime, u64)>>);

impl Seen {
    /// Looks at them now. Looked at before they are read, a change in between is seen later.
    pub fn now(settings: &Settings) -> Self {
        let stamp = |file: &PathBuf| std::fs::metadata(file).ok().and_then(|m| Some((m.modified().ok()?, m.len())));
        Seen(settings.allow_file.iter().chain(&settings.deny_file).map(stamp).collect())
    }
}

/// Exchanges `policy` whenever a list file looks otherwise than `seen`. A file that cannot be read, or has a line that is no DID, leaves the
/// policy as it was: a half-written list must neither open nor close a door.
pub async fn watch(settings: Settings, mut seen: Seen, policy: Arc<ArcSwap<Policy>>, stop: watch::Receiver<bool>) {
    if seen.0.is_empty() {
        return stop::wait(stop).await;
    }
    loop {
        tokio::select! {
            () = stop::wait(stop.clone()) => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let now = Seen::now(&settings);
        if now == seen {
            continue;
        }
        seen = now;
        match settings.policy() {
            Ok(new) => {
                tracing::info!(allowed = new.allowed.len(), denied = new.denied.len(), "lists read again");
                policy.store(Arc::new(new));
            }
            Err(error) => tracing::error!(%error, "a list cannot be used; the lists as they were stay in force"),
        }
    }
}
