//! On what the figures were found: the machine and the code.

use std::process::Command;

use serde_json::{Value, json};

/// The processor's name, as the kernel has it.
pub fn cpu_model() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    model.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, model)| model.to_owned())
}

/// Processes that wanted to run in the last minute.
pub fn load() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    load.split(' ').next().filter(|word| !word.is_empty()).unwrap_or("unknown").to_owned()
}

/// The commit that was built, and whether there were changes after it.
pub fn commit() -> String {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let changed = git(&["status", "--porcelain", "--untracked-files=no", "--", ":/src", ":/benches", ":/Cargo.lock"]);
    if changed.is_some_and(|changed| changed.is_empty()) { commit } else { format!("{commit} and changes after it") }
}

/// Cores that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, |n| n.get())
}

/// For machines that read the results.
pub fn to_json() -> Value {
    let file = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let memory = file("/proc/meminfo").lines().find_map(|line| {
        let kib: u64 = line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok()?;
        Some(kib * 1024)
    });
    json!({
        "cpu": cpu_model(), "cores": cores(), "memory_bytes": memory,
        "kernel": format!("{} {}", std::env::consts::OS, file("/proc/sys/kernel/osrelease").trim()),
    })
}
