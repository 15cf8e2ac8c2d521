//! The word that ends a process in good order: the first SIGINT or SIGTERM asks, the second insists.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Listens for signals. The receiver turns true at the first; a second one ends the process at once, which loses nothing
/// that is in the log.
pub fn on_signals() -> anyhow::Result<watch::Receiver<bool>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        for turn in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if turn > 0 {
                tracing::warn!("told to stop twice: ending at once");
                std::process::exit(130);
            }
            tracing::info!("told to stop; finishing what is under way (once more to end at once)");
            stop.send_replace(true);
        }
    });
    Ok(stopped)
}

/// Comes true when `stop` does, or when nobody can say it any more.
pub async fn wait(mut stop: watch::Receiver<bool>) {
    let _gone = stop.wait_for(|stop| *stop).await;
}
