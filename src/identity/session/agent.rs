//! What a process remembers of one account that it acts for.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::ActError;
use super::token::{MARGIN, Tokens};

/// How often at most it is kept that an account is unreachable still.
const TROUBLE_EVERY: Duration = Duration::from_secs(60);
/// How often at most it is kept that an account is acted for.
const USE_EVERY: Duration = Duration::from_secs(600);

/// What sessions of one account share.
#[derive(Default)]
pub(super) struct Agent {
    memory: Mutex<Memory>,
    /// Held by whoever sees to tokens: one at a time.
    pub turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Memory {
    tokens: Option<Arc<Tokens>>,
    /// It was found dead, here or by another process.
    dead: bool,
    /// How many turns were taken, and how the last one went wrong.
    turns: u64,
    failed: Option<ActError>,
    trouble_noted: Option<Instant>,
    use_noted: Option<Instant>,
}

impl Agent {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Tokens that last so long still and are not those that were refused. None while the account is dead.
    pub fn usable(&self, refused: Option<&Tokens>, left: Duration) -> Option<Arc<Tokens>> {
        let memory = self.memory();
        if memory.dead { None } else { memory.tokens.clone().filter(|tokens| may_serve(tokens, refused, left)) }
    }

    /// The latest tokens, whether they serve or not.
    pub fn latest(&self) -> Option<Arc<Tokens>> {
        self.memory().tokens.clone()
    }

    /// From now on these are used.
    pub fn take(&self, tokens: Tokens) -> Arc<Tokens> {
        let tokens = Arc::new(tokens);
        self.memory().tokens = Some(tokens.clone());
        tokens
    }

    /// Whether it lets us in, as was found.
    pub fn set_dead(&self, dead: bool) {
        let mut memory = self.memory();
        memory.dead = dead;
        if dead {
            // The next success is news.
            (memory.use_noted, memory.trouble_noted) = (None, None);
        }
    }

    /// How many turns were taken so far.
    pub fn turns(&self) -> u64 {
        self.memory().turns
    }

    /// What the turn came to that was taken while this caller waited for his own: he would find the same.
    pub fn failed_since(&self, turns: u64) -> Option<ActError> {
        let memory = self.memory();
        if memory.turns > turns { memory.failed.clone() } else { None }
    }

    /// A turn is over.
    pub fn end_turn(&self, failed: Option<ActError>) {
        let mut memory = self.memory();
        memory.turns += 1;
        memory.failed = failed;
    }

    /// Whether it is to be kept now that the host is in trouble.
    pub fn shall_note_trouble(&self) -> bool {
        let mut memory = self.memory();
        let due = memory.trouble_noted.is_none_or(|at| at.elapsed() >= TROUBLE_EVERY);
        if due {
            memory.trouble_noted = Some(Instant::now());
            // The next success ends the trouble, and that is kept as well.
            memory.use_noted = None;
        }
        due
    }

    /// Whether it is to be kept now that the account was acted for.
    pub fn shall_note_use(&self) -> bool {
        let mut memory = self.memory();
        let due = memory.use_noted.is_none_or(|at| at.elapsed() >= USE_EVERY);
        if due {
            memory.use_noted = Some(Instant::now());
            memory.trouble_noted = None;
        }
        due
    }
}

/// Whether these tokens may be used next.
pub(super) fn may_serve(tokens: &Tokens, refused: Option<&Tokens>, left: Duration) -> bool {
    tokens.lasts(left.max(MARGIN)) && !refused.is_some_and(|refused| refused.is(tokens))
}
