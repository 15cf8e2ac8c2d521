//! Frames that lie in memory are fetched into the cache before they are outlined.
//!
//! An outline takes less time than one look at memory that no cache holds, and each frame needs five such looks. Asked for
//! some frames ahead they overlap, and the outline finds its bytes where it wants them.

use super::frame::{Outline, outline};
use super::reject::Reject;

/// How many frames ahead a frame is asked for. Measured: fewer and memory is waited for, more and the cache is left again.
pub const AHEAD: usize = 6;

/// An outline ends within the first five lines of nearly every commit.
const LINES: usize = 5;
const LINE_BYTES: usize = 64;

/// Asks for a frame's first bytes. Changes nothing but time; where the machine has no such instruction, not even that.
#[inline]
pub fn prefetch(frame: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..LINES.min(frame.len().div_ceil(LINE_BYTES)) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: the instruction reads nothing that a program could see and faults at no address; this one is inside.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(frame.as_ptr().add(line * LINE_BYTES).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (frame, LINES, LINE_BYTES);
}

/// The outlines of frames, in order, as [`outline`] gives them one by one.
pub fn outlines<F: AsRef<[u8]>>(frames: &[F]) -> impl Iterator<Item = Result<Outline<'_>, Reject>> {
    frames.iter().enumerate().map(|(at, frame)| {
        if let Some(later) = frames.get(at + AHEAD) {
            prefetch(later.as_ref());
        }
        outline(frame.as_ref())
    })
}
