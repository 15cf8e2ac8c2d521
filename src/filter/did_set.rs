//! Millions of DIDs in little memory, asked in constant time.
//!
//! A did:plc is 24 characters of base32: 15 bytes. Those are kept as numbers, everything else as text in one arena. Below 40
//! bytes a DID for did:plc, and its length and four more for others.

use std::collections::HashSet;

use crate::event::Did;

/// A set of DIDs, made once and asked often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DidSet {
    plc: HashSet<u128>,
    /// The other DIDs, sorted, one after the other.
    text: String,
    /// Where each of them ends in `text`.
    ends: Vec<u32>,
}

impl DidSet {
    /// Whether it holds this DID.
    pub fn contains(&self, did: &str) -> bool {
        match plc_number(did) {
            Some(number) => self.plc.contains(&number),
            None => self.find(did).is_ok(),
        }
    }

    /// How many it holds.
    pub fn len(&self) -> usize {
        self.plc.len() + self.ends.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every DID, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = Did> {
        let plc = self.plc.iter().map(|number| plc_text(*number));
        let other = (0..self.ends.len()).map(|i| self.text_at(i).to_owned());
        plc.chain(other).map(|did| Did::parse(&did).expect("only DIDs are put in"))
    }

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        // A table of 16-byte entries with a byte of control each, at most 7 of 8 taken, in powers of two.
        let buckets = (self.plc.capacity() * 8 / 7).next_power_of_two() * usize::from(!self.plc.is_empty());
        buckets * 17 + self.text.capacity() + self.ends.capacity() * 4
    }

    fn text_at(&self, i: usize) -> &str {
        let start = if i == 0 { 0 } else { self.ends[i - 1] as usize };
        &self.text[start..self.ends[i] as usize]
    }

    fn find(&self, did: &str) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.text_at(middle).cmp(did) {
                std::cmp::Ordering::Equal => return Ok(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        Err(low)
    }
}

impl<D: AsRef<str>> FromIterator<D> for DidSet {
    /// At most 4 GB of DIDs that are no did:plc.
    fn from_iter<I: IntoIterator<Item = D>>(dids: I) -> Self {
        let dids = dids.into_iter();
        // Growing would leave a table twice the size that is needed, and for a moment a third one.
        let mut plc = HashSet::with_capacity(dids.size_hint().0);
        let mut others: Vec<Box<str>> = Vec::new();
        for did in dids {
            match plc_number(did.as_ref()) {
                Some(number) => drop(plc.insert(number)),
                None => others.push(did.as_ref().into()),
            }
        }
        plc.shrink_to_fit();
        others.sort_unstable();
        others.dedup();
        let mut set = DidSet { plc, ..DidSet::default() };
        set.text.reserve_exact(others.iter().map(|did| did.len()).sum());
        set.ends.reserve_exact(others.len());
        for did in others {
            set.text.push_str(&did);
            set.ends.push(u32::try_from(set.text.len()).expect("a list of DIDs is far below 4 GB"));
        }
        set
    }
}

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const PLC: &str = "did:plc:";

/// The number that a did:plc is: 24 characters of 5 bits.
fn plc_number(did: &str) -> Option<u128> {
    let text = did.strip_prefix(PLC).filter(|text| text.len() == 24)?;
    text.bytes().try_fold(0u128, |number, byte| {
        let digit = match byte {
            b'a'..=b'z' => byte - b'a',
            b'2'..=b'7' => byte - b'2' + 26,
            _ => return None,
        };
        Some(number << 5 | u128::from(digit))
    })
}

fn plc_text(number: u128) -> String {
    let digit = |i: u32| char::from(ALPHABET[(number >> (5 * (23 - i)) & 31) as usize]);
    PLC.chars().chain((0..24).map(digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_holds_what_was_put_in_and_nothing_else() {
        let dids = [
            "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa",
            "did:plc:z234567bcdefghijklmnopqr",
            "did:web:b.example",
            "did:web:a.example",
            "did:web:a.example",
            // Not what the directory gives out, but a DID all the same.
            "did:plc:1",
            "did:plc:AAAAAAAAAAAAAAAAAAAAAAAA",
        ];
        let set: DidSet = dids.iter().copied().collect();
        assert_eq!(set.len(), 6);
        dids.iter().for_each(|did| assert!(set.contains(did), "{did}"));
        for other in ["did:plc:aaaaaaaaaaaaaaaaaaaaaaab", "did:web:a.exampl", "did:web:c.example", "", "did:plc:"] {
            assert!(!set.contains(other), "{other}");
        }
        let mut listed: Vec<String> = set.iter().map(|did| did.to_string()).collect();
        listed.sort();
        let mut want: Vec<&str> = dids.to_vec();
        want.sort();
        want.dedup();
        assert_eq!(listed, want);
    }

    #[test]
    fn an_empty_one_holds_nothing() {
        let set = DidSet::default();
        assert!(set.is_empty() && !set.contains("did:web:a.example") && set.bytes() == 0);
    }

    #[test]
    fn a_did_takes_less_than_forty_bytes() {
        // Just above a power of two of what fits: the worst case for the table.
        let count = (1usize << 17) * 7 / 8 + 1;
        let set: DidSet = (0..count as u128).map(|n| plc_text(n * 7_919)).collect();
        assert_eq!(set.len(), count);
        assert!(set.bytes() / count < 40, "{} bytes a DID", set.bytes() / count);
    }
}
