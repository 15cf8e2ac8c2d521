//! What `postmaster.pid` says about a running server, and how a server left over from an earlier run is got rid of.

use std::{
    fs,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{EmbeddedError, layout::Layout};

/// A server whose owner was killed is told by the kernel to stop and does so by itself.
const PATIENCE: Duration = Duration::from_secs(5);
/// After that it is told by us, and is given this long in all.
const ORPHAN_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) struct PidFile {
    pub pid: i32,
    /// The server accepts connections.
    pub ready: bool,
}

impl PidFile {
    /// `None` when there is none, or it is only half written.
    pub fn read(cluster: &Path) -> Option<Self> {
        let text = fs::read_to_string(cluster.join("postmaster.pid")).ok()?;
        let mut lines = text.lines();
        let pid = lines.next()?.trim().parse().ok()?;
        // Line 8, as pg_ctl reads it.
        let ready = lines.nth(6).is_some_and(|status| status.trim() == "ready");
        Some(Self { pid, ready })
    }
}

/// Whether process `pid` is the server of these files. A number in a stale file may meanwhile belong to anybody,
/// especially in a container, where the same few numbers come again after each start.
pub(super) fn serves(pid: i32, cluster: &Path) -> bool {
    match kill(Pid::from_raw(pid), None) {
        // Somebody else's process cannot be our server, which runs as us or, for root, as anybody.
        Err(Errno::ESRCH | Errno::EPERM) => false,
        _ if Path::new("/proc/self/cwd").exists() => {
            fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|dir| dir == cluster)
        }
        _ => true,
    }
}

/// Waits until no server uses the files. Call it as the owner: whoever still uses them has no owner any more.
pub(super) fn wait_for_orphan(layout: &Layout) -> Result<(), EmbeddedError> {
    let cluster = &layout.cluster;
    let begun = Instant::now();
    let mut told = false;
    loop {
        let Some(PidFile { pid, .. }) = PidFile::read(cluster) else { return Ok(()) };
        if !serves(pid, cluster) {
            return forget(pid, layout);
        }
        if begun.elapsed() > ORPHAN_TIMEOUT {
            return Err(EmbeddedError::OrphanRemains { pid, path: cluster.clone() });
        }
        if begun.elapsed() > PATIENCE && !told {
            told = true;
            tracing::warn!(pid, "a PostgreSQL server from an earlier run is still there: stopping it");
            // An error means that it has just ended.
            let _ = kill(Pid::from_raw(pid), Signal::SIGINT);
        }
        sleep(Duration::from_millis(5));
    }
}

/// Postgres takes a lock file for valid when any process of its user has that number. Where the number was given out
/// again we know better and remove the files; otherwise they stay, since Postgres checks more by them.
fn forget(pid: i32, layout: &Layout) -> Result<(), EmbeddedError> {
    if kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH) {
        return Ok(());
    }
    for path in [layout.cluster.join("postmaster.pid"), layout.socket_dir.join(".s.PGSQL.5432.lock")] {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(EmbeddedError::io("remove the stale", path)(error));
            }
            _ => (),
        }
    }
    Ok(())
}
