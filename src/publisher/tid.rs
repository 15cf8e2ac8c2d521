//! Record keys: TIDs of the database's clock.
//!
//! <https://atproto.com/specs/tid>

use chrono::{DateTime, Utc};

use crate::event::Rkey;

const DIGITS: &[u8; 32] = b"234567abcdefghijklmnopqrstuvwxyz";

/// The key of a record made at that moment: microseconds since 1970 in 53 bits, then 10 bits of `chance`, so that two
/// processes that choose in one microsecond hardly choose the same.
pub(super) fn rkey(at: DateTime<Utc>, chance: u16) -> Rkey {
    let micros = u64::try_from(at.timestamp_micros()).unwrap_or_default() & ((1 << 53) - 1);
    let value = micros << 10 | u64::from(chance & 0x3ff);
    let text: String = (0..13).map(|i| char::from(DIGITS[(value >> (60 - 5 * i) & 31) as usize])).collect();
    Rkey::parse(&text).expect("digits of a TID may stand in a record key")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Rev;

    #[test]
    fn keys_are_tids_of_their_moment() {
        let at = DateTime::from_timestamp_micros(1_700_000_000_123_456).unwrap();
        let key = rkey(at, 0x3ff);
        assert_eq!(Rev::parse(key.as_str()).unwrap().micros(), 1_700_000_000_123_456);
        assert_ne!(key, rkey(at, 0));
        assert_eq!(key, rkey(at, 0xffff), "ten bits of chance");
        assert!(key.as_str() < rkey(DateTime::from_timestamp_micros(1_700_000_000_123_457).unwrap(), 0).as_str());
    }
}
