//! Whether bytes are text: UTF-8, and nearly always ASCII, which is asked first because the answer is eight times cheaper.

/// Text, if the bytes are UTF-8.
#[inline(always)]
pub(super) fn utf8(bytes: &[u8]) -> Option<&str> {
    if is_ascii(bytes) {
        // SAFETY: every ASCII byte is a whole character of UTF-8.
        return Some(unsafe { std::str::from_utf8_unchecked(bytes) });
    }
    std::str::from_utf8(bytes).ok()
}

/// The standard library's own test steps byte by byte to an aligned word, which is most of the work when there are 24 to 60
/// bytes. Here words may lie anywhere, and the last one overlaps the one before.
#[inline(always)]
fn is_ascii(bytes: &[u8]) -> bool {
    let Some((last, _)) = bytes.split_last_chunk::<8>().map(|(rest, last)| (last, rest)) else {
        return bytes.iter().fold(0, |sum, byte| sum | byte) < 0x80;
    };
    let word = |chunk: &[u8; 8]| u64::from_ne_bytes(*chunk);
    let (words, _) = bytes.as_chunks::<8>();
    let bits = words.iter().fold(word(last), |bits, chunk| bits | word(chunk));
    bits & 0x8080_8080_8080_8080 == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_the_standard_library_calls_text() {
        for len in 0..70 {
            for at in 0..len {
                for byte in [0, b'a', 0x7f, 0x80, 0xc3, 0xff] {
                    let mut bytes = vec![b'x'; len];
                    bytes[at] = byte;
                    assert_eq!(utf8(&bytes), std::str::from_utf8(&bytes).ok(), "{byte} at {at} of {len}");
                }
            }
            let cafes = "é".repeat(len);
            assert_eq!(utf8(cafes.as_bytes()), Some(&*cafes));
        }
    }
}
