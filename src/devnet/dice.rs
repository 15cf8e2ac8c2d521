//! Chance from a seed: the same on every machine and with every version of the libraries above the cipher.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A stream of choices.
pub(super) struct Dice(ChaCha8Rng);

impl Dice {
    pub fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Dice(ChaCha8Rng::from_seed(key))
    }

    /// A number below `n`, or 0 when `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((u128::from(self.0.next_u64()) * n as u128) >> 64) as usize
    }

    /// A number below `n` that leans towards 0: the lower half comes up seven times in ten.
    pub fn below_leaning(&mut self, n: usize) -> usize {
        let at = self.below(1 << 32) as u128;
        ((at * at * n as u128) >> 64) as usize
    }

    /// True in so many of 1,000 cases.
    pub fn permille(&mut self, chance: usize) -> bool {
        self.below(1000) < chance
    }

    /// One of these.
    pub fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len())]
    }

    /// 32 random bytes.
    pub fn bytes(&mut self) -> [u8; 32] {
        let mut out = [0; 32];
        self.0.fill_bytes(&mut out);
        out
    }

    /// Lower-case base32 text of `len` (at most 51) characters.
    pub fn base32(&mut self, len: usize) -> String {
        let mut text = data_encoding::BASE32_NOPAD.encode(&self.bytes()).to_ascii_lowercase();
        text.truncate(len);
        text
    }

    /// So many words of these, joined by spaces.
    pub fn words(&mut self, from: &[&str], count: usize) -> String {
        (0..count).map(|_| self.pick(from)).collect::<Vec<_>>().join(" ")
    }
}
