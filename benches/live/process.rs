//! What a running process takes: memory, CPU time, wake-ups. Only Linux tells all of it.

use std::time::Duration;

/// What a process took so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time of all its threads.
    pub cpu: Duration,
    /// How often its threads waited for something.
    pub waits: u64,
}

/// What the process took so far.
pub fn usage(pid: u32) -> Usage {
    Usage { cpu: cpu(pid), waits: waits(pid).unwrap_or_default() }
}

#[cfg(target_os = "linux")]
fn cpu(pid: u32) -> Duration {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("process ids are small"));
    let time = nix::time::clock_getcpuclockid(pid).and_then(nix::time::clock_gettime);
    time.map(Duration::from).unwrap_or_default()
}

#[cfg(not(target_os = "linux"))]
fn cpu(_: u32) -> Duration {
    Duration::ZERO
}

fn waits(pid: u32) -> Option<u64> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let count = |task: std::fs::DirEntry| status_of(&task.path().join("status"), "voluntary_ctxt_switches:");
    Some(tasks.filter_map(|task| count(task.ok()?)).sum())
}

/// Bytes that the process holds now.
pub fn memory_now(pid: u32) -> Option<u64> {
    status_of(format!("/proc/{pid}/status").as_ref(), "VmRSS:").map(|kib| kib * 1024)
}

/// Bytes that it held at most.
pub fn memory_peak(pid: u32) -> Option<u64> {
    status_of(format!("/proc/{pid}/status").as_ref(), "VmHWM:").map(|kib| kib * 1024)
}

fn status_of(path: &std::path::Path, field: &str) -> Option<u64> {
    let status = std::fs::read_to_string(path).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
