//! Pauses between looks at a connection on which little arrives at a time.
//!
//! In: how many frames the last look brought. Out: a short wait in which what arrives is kept by the kernel and wakes nobody.
//! Always true: after silence the first frame is read as it comes, and what comes in crowds is read without a pause.
//!
//! A thread that is woken for one frame spends twenty times what the frame costs. Five hundred frames a second read one by one
//! take 4 % of a core, and read some at a time a good 1 %.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::wire::Wire;

/// A look that brings as many needs no pause: the wake-up is shared by enough of them.
const CROWD: usize = 32;

/// Whether to look now or later.
#[derive(Debug, Default)]
pub(super) struct Rest {
    until: Option<Instant>,
}

impl Rest {
    /// Begins a pause after a look that brought `frames`, if one pays.
    pub fn begin(&mut self, wire: &mut Wire, frames: usize, pause: Duration) {
        if (1..CROWD).contains(&frames) && !pause.is_zero() {
            wire.leave_alone();
            self.until = Some(Instant::now() + pause);
        }
    }

    /// Waits for its end. Cancelling the future ends nothing early.
    pub async fn end(&mut self, wire: &mut Wire) {
        if let Some(until) = self.until {
            sleep_until(until).await;
            wire.look();
            self.until = None;
        }
    }
}
