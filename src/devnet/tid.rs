//! Timestamp identifiers, the writing half. Spec: <https://atproto.com/specs/tid>.

use std::fmt;

const DIGITS: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";

/// A TID: microseconds since 1970 and the number of the clock that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tid(u64);

impl Tid {
    /// The TID of an instant. Of `clock` the lower 10 bits count, of `micros` the lower 53.
    pub const fn new(micros: u64, clock: u16) -> Self {
        Tid((micros & ((1 << 53) - 1)) << 10 | (clock & 0x3ff) as u64)
    }

    /// Microseconds since 1970.
    pub const fn micros(self) -> u64 {
        self.0 >> 10
    }
}

impl fmt::Display for Tid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: [u8; 13] = std::array::from_fn(|i| DIGITS[(self.0 >> (60 - 5 * i) & 31) as usize]);
        f.write_str(std::str::from_utf8(&text).expect("TID digits are ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_instants_have_known_texts() {
        assert_eq!(Tid::new(0, 0).to_string(), "2222222222222");
        let tid = Tid::new(1_763_793_000_000_000, 17);
        assert_eq!(crate::event::Rev::parse(&tid.to_string()).unwrap().micros(), tid.micros());
    }
}
