//! Happenings and faults from a seed.
//!
//! In: a seed, a size, the faults that may happen. Out: a network to which it all happened, and a readable trace of it.
//! Always true: the same script on a network of the same options does the same to the same accounts, so a seed that
//! fails is run again by its number.

use std::time::Duration;

use super::Sim;
use super::faults::{At, Fault, FaultId, Kind, Place, When};
use super::state::State;
use crate::devnet::calendar;
use crate::devnet::dice::Dice;

/// What shall happen, as a recipe: a seed and its bounds.
#[derive(Clone, Debug)]
pub struct Script {
    seed: u64,
    steps: usize,
    faults: Vec<Fault>,
    pause: Duration,
}

/// What happened.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// One line for each step.
    pub lines: Vec<String>,
    /// The faults that were armed.
    pub faults: Vec<(FaultId, String)>,
}

impl Script {
    /// So many steps from a seed; now and then one of `faults` is armed among them.
    pub fn random(seed: u64, steps: usize, faults: impl Into<Vec<Fault>>) -> Self {
        Script { seed, steps, faults: faults.into(), pause: Duration::ZERO }
    }

    /// Waits so long after each step, so that readers read meanwhile.
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Every fault that a relay can have and a careful reader can mend: what a relay says wrong, a PDS still says right.
    pub fn relay_faults() -> Vec<Fault> {
        vec![
            Fault::Reordered,
            Fault::Backwards,
            Fault::Duplicated,
            Fault::Repeated,
            Fault::Dropped,
            Fault::TimeOff(-900),
            Fault::SequenceReset,
            Fault::Cut,
            Fault::TooSlow,
            Fault::Garbage,
            Fault::StaleAccount,
            Fault::BadSignature,
            Fault::HighS,
            Fault::WrongKey,
            Fault::LyingPrevData,
            Fault::LyingSince,
            Fault::LyingRev,
            Fault::LyingOpCid,
            Fault::SwappedRecord,
            Fault::MissingRecord,
            Fault::MissingNodes,
            Fault::ForgedDelete,
            Fault::TooManyOps,
        ]
    }

    /// Every fault that a request can meet for a while.
    pub fn request_faults() -> Vec<Fault> {
        vec![
            Fault::Down,
            Fault::Slow(Duration::from_millis(300)),
            Fault::RateLimited(1),
            Fault::ServerError,
            Fault::Html,
            Fault::Truncated,
            Fault::CutOff,
            Fault::Endless,
            Fault::Redirect("http://10.0.0.1/xrpc/_health".into()),
            Fault::OldDocument,
            Fault::NoDocument,
        ]
    }

    /// Both.
    pub fn all_faults() -> Vec<Fault> {
        [Self::relay_faults(), Self::request_faults()].concat()
    }

    /// Makes it all happen. Faults that are still armed at the end stay so: [`Sim::end_faults`] ends them.
    pub async fn play(&self, sim: &Sim) -> Trace {
        let mut trace = Trace::default();
        let mut dice = Dice::new(self.seed ^ 0x5eed);
        for step in 0..self.steps {
            {
                let mut state = sim.shared.lock();
                if !self.faults.is_empty() && dice.permille(200) {
                    let fault = self.faults[dice.below(self.faults.len())].clone();
                    let (id, line) = arm(&mut state, &mut dice, fault);
                    trace.lines.push(format!("{step}: {line}"));
                    trace.faults.push((id, line));
                }
                let lines = happen(&mut state, &mut dice);
                trace.lines.extend(lines.into_iter().map(|line| format!("{step}: {line}")));
            }
            // Lets servers and readers run even without a pause.
            tokio::task::yield_now().await;
            if !self.pause.is_zero() {
                tokio::time::sleep(self.pause).await;
            }
        }
        sim.shared.lock().flush();
        trace
    }
}

impl Sim {
    /// Lets things happen for ever, so many a second, and tells each in a line. Records are of the present then,
    /// whatever [`SimOptions`](super::SimOptions) say.
    pub async fn keep_busy(&self, seed: u64, per_second: f64, mut told: impl FnMut(&str)) {
        let mut dice = Dice::new(seed ^ 0xb054);
        let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / per_second.max(0.001)));
        loop {
            tick.tick().await;
            let lines = {
                let mut state = self.shared.lock();
                // Records of the present: the generator's own clock runs by happenings.
                let now = state.now();
                state.world.set_now(now);
                happen(&mut state, &mut dice)
            };
            lines.iter().for_each(|line| told(line));
        }
    }
}

/// Arms a fault where and when it can happen soon.
fn arm(state: &mut State, dice: &mut Dice, fault: Fault) -> (FaultId, String) {
    let host = Place::Pds(dice.below(state.hosts.len()));
    let at = match &fault {
        Fault::OldDocument | Fault::NoDocument => At::plc(),
        Fault::StaleAccount => At::relay().kind(Kind::Account),
        Fault::Truncated | Fault::CutOff | Fault::Endless => At::place(host),
        f if f.sort() == super::faults::Sort::Request => match dice.below(5) {
            0 => At::plc(),
            _ => At::place(host),
        },
        _ => At::relay(),
    };
    let when = When { after: dice.below(4) as u64, times: 1 + dice.below(3) as u64 };
    let line = format!("arm {} at {:?} after {} times {}", fault.name(), at.place, when.after, when.times);
    (state.faults.arm(fault, at, when), line)
}

/// One step: mostly what calendar people do, now and then a new key, a move, or the end of a DID.
fn happen(state: &mut State, dice: &mut Dice) -> Vec<String> {
    let movable: Vec<usize> = (0..state.actors.len()).filter(|&who| is_movable(state, who)).collect();
    let chosen = movable.get(dice.below(movable.len())).copied();
    match (dice.below(1000), chosen) {
        (0..25, Some(who)) => {
            let outcome = state.rotate_key(who);
            vec![told(state, who, "rotates its key", outcome)]
        }
        (25..50, Some(who)) if state.hosts.len() > 1 => {
            let to = (state.actors[who].host + 1 + dice.below(state.hosts.len() - 1)) % state.hosts.len();
            let outcome = state.migrate(who, to);
            vec![told(state, who, &format!("moves to PDS {to}"), outcome)]
        }
        (50..58, Some(who)) => {
            let other = movable[dice.below(movable.len())];
            let claimed = state.account(other).handle.clone();
            state.set_handle(who, &claimed);
            vec![told(state, who, &format!("claims {claimed}"), Ok(()))]
        }
        (58..70, Some(who)) => {
            let status = *dice.pick(&[&"throttled", &"desynchronized", &"suspended"]);
            state.set_status(who, Some(status));
            vec![told(state, who, status, Ok(()))]
        }
        _ => {
            calendar::step(&mut state.world);
            state.perform_plans()
        }
    }
}

fn is_movable(state: &State, who: usize) -> bool {
    let actor = &state.actors[who];
    actor.status.is_none() && !actor.web && actor.document.is_some()
}

fn told(state: &State, who: usize, what: &str, outcome: Result<(), super::SimError>) -> String {
    let did = &state.account(who).did;
    match outcome {
        Ok(()) => format!("{did} {what}"),
        Err(error) => format!("{did} {what}: {error}"),
    }
}
