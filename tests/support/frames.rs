//! Frames of a made-up calendar network, and the files that hold them.

use std::io::Write;
use std::path::Path;

use almanac::devnet::{Frame, Mix, Traffic};

/// The first frames of the calendar network of this seed.
pub fn calendar(seed: u64, count: usize) -> Vec<Frame> {
    Traffic::new(seed, Mix::Calendar).next_frames(count)
}

/// Writes frames as a dump: `[length as 4 bytes little-endian][frame]…`.
pub fn write(path: &Path, frames: &[Frame]) {
    let mut out = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    for frame in frames {
        out.write_all(&(frame.bytes.len() as u32).to_le_bytes()).unwrap();
        out.write_all(&frame.bytes).unwrap();
    }
    out.flush().unwrap();
}
