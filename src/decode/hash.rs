//! SHA-256 of bytes that lie whole in memory.
//!
//! In: a block or a key. Out: its digest. The general hasher keeps a buffer for what is still to come and copies into it;
//! blocks are a few hundred bytes and keys fit one round, so that this copying is a good part of their cost. Never: a round
//! of its own: those are the library's, with the processor's instructions where it has them.

use sha2::block_api::compress256;

/// Bytes of one round.
const ROUND: usize = 64;

/// The first state, by FIPS 180-4, section 5.3.3.
const START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The SHA-256 of `bytes`.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut state = START;
    let (rounds, rest) = bytes.as_chunks::<ROUND>();
    if !rounds.is_empty() {
        compress256(&mut state, rounds);
    }
    // What is left, a one, zeros, and the length in bits: one round, or two where the length does not fit the first.
    let mut tail = [[0; ROUND]; 2];
    let last = 1 + usize::from(rest.len() + 9 > ROUND);
    let flat = tail.as_flattened_mut();
    flat[..rest.len()].copy_from_slice(rest);
    flat[rest.len()] = 0x80;
    flat[last * ROUND - 8..last * ROUND].copy_from_slice(&(bytes.len() as u64 * 8).to_be_bytes());
    compress256(&mut state, &tail[..last]);
    let mut digest = [0; 32];
    for (out, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
        *out = word.to_be_bytes();
    }
    digest
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    #[test]
    fn every_length_has_the_digest_that_the_library_gives_it() {
        let bytes: Vec<u8> = (0..400u32).map(|n| (n * 7 + n / 5) as u8).collect();
        for len in 0..bytes.len() {
            assert_eq!(super::sha256(&bytes[..len])[..], Sha256::digest(&bytes[..len])[..], "{len} bytes");
        }
    }
}
