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

/// Exchanges `policy` whenever a list file changes. A file that cannot be read, or has a line that is no DID, leaves the
/// policy as it was: a half-written list must neither open nor close a door.
pub async fn watch(settings: Settings, policy: Arc<ArcSwap<Policy>>, stop: watch::Receiver<bool>) {
    let files: Vec<PathBuf> = settings.allow_file.iter().chain(&settings.deny_file).cloned().collect();
    if files.is_empty() {
        return stop::wait(stop).await;
    }
    let mut seen = stamps(&files);
    loop {
        tokio::select! {
            () = stop::wait(stop.clone()) => return,
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
        let now = stamps(&files);
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

fn stamps(files: &[PathBuf]) -> Vec<Option<(SystemTime, u64)>> {
    let stamp = |file: &PathBuf| std::fs::metadata(file).ok().and_then(|m| Some((m.modified().ok()?, m.len())));
    files.iter().map(stamp).collect()
}
