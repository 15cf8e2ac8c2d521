//! What work costs: CPU time of this process and of a Postgres server, and wall time.

use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};

/// What a stretch of work took.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// CPU time of all threads of this process, and of the server if there is one.
    pub cpu: Duration,
    /// Wall time.
    pub wall: Duration,
}

/// A stretch of work that has begun.
pub struct Stopwatch {
    server: Option<i32>,
    cpu: Duration,
    began: Instant,
}

impl Stopwatch {
    /// Starts; with a server's process id, counts that server too.
    pub fn start(server: Option<i32>) -> Self {
        Stopwatch { server, cpu: cpu_used(server), began: Instant::now() }
    }

    /// What it took so far.
    pub fn cost(&self) -> Cost {
        Cost { cpu: cpu_used(self.server).saturating_sub(self.cpu), wall: self.began.elapsed() }
    }
}

fn cpu_used(server: Option<i32>) -> Duration {
    let own = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("every system has a clock of the process");
    Duration::from(own) + server.map_or(Duration::ZERO, server_cpu_used)
}

/// CPU time of a postmaster, its running children, and those it has waited for. Only Linux tells, in hundredths of a
/// second; elsewhere the server's part is missing and the report says so.
pub fn server_cpu_used(postmaster: i32) -> Duration {
    const TICK: Duration = Duration::from_millis(10);
    let Ok(processes) = std::fs::read_dir("/proc") else { return Duration::ZERO };
    let ticks = processes.filter_map(|entry| {
        let name = entry.ok()?.file_name();
        let pid: i32 = name.to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The command's name may hold anything but ends with the last bracket; what follows starts with the state.
        let fields: Vec<&str> = stat[stat.rfind(')')? + 1..].split_ascii_whitespace().collect();
        let field = |n: usize| fields.get(n)?.parse::<i64>().ok();
        let (parent, own, waited) = (field(1)?, field(11)? + field(12)?, field(13)? + field(14)?);
        match (pid == postmaster, parent == i64::from(postmaster)) {
            (true, _) => Some(own + waited),
            (false, true) => Some(own),
            (false, false) => None,
        }
    });
    TICK * u32::try_from(ticks.sum::<i64>()).expect("a benchmark takes less than a year")
}
