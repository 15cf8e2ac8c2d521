//! Base58btc behind the multibase prefix `z`, as long as a public key and no longer.
//!
//! <https://www.w3.org/TR/cid-1.0/#multibase-0>

const ALPHABET: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// An uncompressed point behind its multicodec has 67 bytes, which is 92 characters.
const CHARS_MAX: usize = 100;

/// The bytes of `z…`. `None` for other bases, foreign characters, and text longer than a key's.
pub(super) fn read_multibase58(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix('z').filter(|digits| digits.len() <= CHARS_MAX)?.as_bytes();
    // Least significant byte first.
    let mut bytes: Vec<u8> = Vec::with_capacity(digits.len());
    for digit in digits {
        let mut carry = ALPHABET.iter().position(|known| known == digit)? as u32;
        for byte in &mut bytes {
            carry += u32::from(*byte) * 58;
            *byte = carry as u8;
            carry >>= 8;
        }
        if carry > 0 {
            bytes.push(carry as u8);
        }
    }
    bytes.extend(digits.iter().take_while(|digit| **digit == b'1').map(|_| 0));
    bytes.reverse();
    Some(bytes)
}

/// The text of a few bytes.
pub(super) fn multibase58(bytes: &[u8]) -> String {
    // Least significant digit first.
    let mut digits: Vec<u8> = Vec::with_capacity(bytes.len() * 3 / 2);
    for byte in bytes {
        let mut carry = u32::from(*byte);
        for digit in &mut digits {
            carry += u32::from(*digit) << 8;
            *digit = (carry % 58) as u8;
            carry /= 58;
        }
        while carry > 0 {
            digits.push((carry % 58) as u8);
            carry /= 58;
        }
    }
    digits.extend(bytes.iter().take_while(|byte| **byte == 0).map(|_| 0));
    let text = digits.iter().rev().map(|digit| char::from(ALPHABET[usize::from(*digit)]));
    std::iter::once('z').chain(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_text_agree() {
        for (bytes, text) in [
            (&b"Hello World!"[..], "z2NEpo7TZRRrLZSi2U"),
            (&[0, 0, 0x28, 0x7f, 0xb4, 0xcd], "z11233QC4"),
            (&[], "z"),
            (&[0], "z1"),
        ] {
            assert_eq!(multibase58(bytes), text);
            assert_eq!(read_multibase58(text).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = format!("z{}", "2".repeat(CHARS_MAX + 1));
        for bad in ["", "m2NEpo", "2NEpo", "z0", "zl", "zI", "zO", "zé", &long] {
            assert_eq!(read_multibase58(bad), None, "{bad}");
        }
        assert!(read_multibase58(&long[..=CHARS_MAX]).is_some());
    }
}
