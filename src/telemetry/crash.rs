//! Named places where a test may kill the process, to see what the next start makes of what is left.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// `ALMANAC_CRASH_AT=NAME` or `NAME:N`: which place, and at which visit of it (1 is the first).
static TARGET: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
    let text = std::env::var("ALMANAC_CRASH_AT").ok()?;
    Some(match text.rsplit_once(':').and_then(|(name, n)| Some((name.to_owned(), n.parse().ok()?))) {
        Some(target) => target,
        None => (text, 1),
    })
});
static VISITS: AtomicU64 = AtomicU64::new(0);

/// Ends this process as SIGKILL does, if a test asked for it at this place. Without the feature `devnet` nothing is here.
pub fn crash_point(name: &str) {
    if !cfg!(feature = "devnet") {
        return;
    }
    if let Some((target, visit)) = &*TARGET
        && target == name
        && VISITS.fetch_add(1, Ordering::SeqCst) + 1 == *visit
    {
        eprintln!("crash point {name:?}, visit {visit}");
        let _ = nix::sys::signal::kill(nix::unistd::Pid::this(), nix::sys::signal::Signal::SIGKILL);
        std::thread::park();
    }
}
