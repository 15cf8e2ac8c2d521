//! How the PDSes fare, as this process sees it: of one that is away one attempt at a time finds out whether it is back, and
//! then what waits is let go little by little.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::PublishOptions;

/// The longest pause between two attempts to find out whether a PDS is back: what waits for it waits this long too long.
const PROBE_MAX: Duration = Duration::from_secs(30);

/// The hosts that were asked so far. There are as many as our users' accounts have PDSes.
pub(super) struct Hosts {
    hosts: Mutex<HashMap<String, Host>>,
    first: Duration,
    max: Duration,
    workers: usize,
}

struct Host {
    /// Attempts under way.
    under_way: usize,
    /// How many may be.
    window: usize,
    down: Option<Down>,
}

struct Down {
    failures: u32,
    until: Instant,
}

/// What an attempt found out about its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// It answers.
    Up,
    /// It does not.
    Down,
    /// It asks to be left alone for so long.
    Pause(Duration),
    /// It was not asked.
    Nothing,
}

impl Hosts {
    pub fn new(options: &PublishOptions) -> Self {
        let max = options.retry_max.min(PROBE_MAX);
        Hosts { hosts: Mutex::default(), first: options.retry_first.min(max), max, workers: options.workers.max(1) }
    }

    fn locked(&self) -> MutexGuard<'_, HashMap<String, Host>> {
        self.hosts.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Begins an attempt that somebody waits for, but not at a host that is away and being asked about it, or not due to be.
    pub fn try_begin(&self, pds: &str) -> bool {
        let mut hosts = self.locked();
        let host = hosts.entry(pds.to_owned()).or_insert_with(|| Host::new(self.workers));
        let may = host.down.is_none() || host.room() > 0;
        host.under_way += usize::from(may);
        may
    }

    /// How many attempts may begin, for the hosts of which fewer may than workers are there.
    pub fn room(&self) -> Vec<(String, i32)> {
        let hosts = self.locked();
        let room = hosts.iter().map(|(pds, host)| (pds, host.room())).filter(|(_, room)| *room < self.workers);
        room.map(|(pds, room)| (pds.clone(), i32::try_from(room).unwrap_or(i32::MAX))).collect()
    }

    /// An attempt begins.
    pub fn begin(&self, pds: &str) {
        let mut hosts = self.locked();
        let host = hosts.entry(pds.to_owned()).or_insert_with(|| Host::new(self.workers));
        host.under_way += 1;
    }

    /// An attempt ended. Whether the host is back after it was away.
    pub fn end(&self, pds: &str, seen: Seen) -> bool {
        let mut hosts = self.locked();
        let Some(host) = hosts.get_mut(pds) else { return false };
        host.under_way = host.under_way.saturating_sub(1);
        match seen {
            Seen::Nothing => false,
            Seen::Up => {
                host.window = (host.window + 1).min(self.workers);
                host.down.take().is_some()
            }
            Seen::Down => {
                // Those that began before it was known to be away tell nothing new.
                let now = Instant::now();
                let failures = host.down.as_ref().map_or(0, |down| down.failures);
                if host.down.as_ref().is_none_or(|down| down.until <= now) {
                    let doubled = self.first.saturating_mul(1 << failures.min(20)).min(self.max);
                    let pause = doubled.mul_f64(0.8 + 0.4 * rand::random::<f64>());
                    host.down = Some(Down { failures: failures + 1, until: now + pause });
                }
                host.window = 1;
                false
            }
            Seen::Pause(pause) => {
                host.down = Some(Down { failures: 0, until: Instant::now() + pause });
                host.window = 1;
                false
            }
        }
    }

    /// How many are away.
    pub fn down(&self) -> usize {
        self.locked().values().filter(|host| host.down.is_some()).count()
    }

    /// How long until one that is away may be asked again.
    pub fn next_probe(&self) -> Option<Duration> {
        let now = Instant::now();
        let hosts = self.locked();
        hosts.values().filter_map(|host| Some(host.down.as_ref()?.until.saturating_duration_since(now))).min()
    }
}

impl Host {
    fn new(workers: usize) -> Self {
        Host { under_way: 0, window: workers, down: None }
    }

    fn room(&self) -> usize {
        match &self.down {
            Some(down) if down.until > Instant::now() => 0,
            Some(_) => 1usize.saturating_sub(self.under_way),
            None => self.window.saturating_sub(self.under_way),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts() -> Hosts {
        let (retry_first, retry_max) = (Duration::from_secs(1), Duration::from_secs(300));
        Hosts::new(&PublishOptions { retry_first, retry_max, workers: 4, ..PublishOptions::default() })
    }

    fn room(hosts: &Hosts) -> i32 {
        hosts.room().iter().find(|(pds, _)| pds == "a").map_or(4, |(_, room)| *room)
    }

    #[tokio::test(start_paused = true)]
    async fn of_a_host_that_is_away_one_attempt_at_a_time_finds_out() {
        let hosts = hosts();
        (0..4).for_each(|_| hosts.begin("a"));
        assert_eq!(room(&hosts), 0, "all workers are at it");
        (0..4).for_each(|_| assert!(!hosts.end("a", Seen::Down)));
        assert_eq!((room(&hosts), hosts.down()), (0, 1));
        assert!(!hosts.try_begin("a") && hosts.try_begin("b"));
        let mut pauses = vec![];
        for _ in 0..8 {
            let pause = hosts.next_probe().unwrap();
            tokio::time::sleep(pause).await;
            assert_eq!(room(&hosts), 1);
            assert!(hosts.try_begin("a") && !hosts.try_begin("a"), "one at a time");
            assert_eq!(room(&hosts), 0);
            hosts.end("a", Seen::Down);
            pauses.push(pause.as_secs_f64());
        }
        assert!((0.8..=1.2).contains(&pauses[0]) && (3.2..=4.8).contains(&pauses[2]), "{pauses:?}");
        assert!(
            pauses.iter().all(|pause| *pause <= 36.0),
            "four failures at once are one, and there is an end: {pauses:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_waited_is_let_go_little_by_little() {
        let hosts = hosts();
        hosts.begin("a");
        hosts.end("a", Seen::Down);
        tokio::time::sleep(Duration::from_secs(2)).await;
        hosts.begin("a");
        assert!(hosts.end("a", Seen::Up), "it is back");
        let mut rooms = vec![];
        for _ in 0..4 {
            rooms.push(room(&hosts));
            hosts.begin("a");
            assert!(!hosts.end("a", Seen::Up));
        }
        assert_eq!(rooms, [2, 3, 4, 4]);
        hosts.begin("a");
        hosts.end("a", Seen::Pause(Duration::from_secs(60)));
        tokio::time::sleep(Duration::from_secs(59)).await;
        assert_eq!(room(&hosts), 0, "a pause that is asked for is kept");
    }
}
