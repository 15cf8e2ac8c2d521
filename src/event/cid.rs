//! Content identifiers, in the one form that AT Protocol repositories use.

use std::fmt;
use std::str::FromStr;

use super::IdentError;

/// What the bytes under a [`Cid`] are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Codec {
    /// `0x71`: a DAG-CBOR block (records, MST nodes, commits).
    DagCbor,
    /// `0x55`: raw bytes (blobs).
    Raw,
}

/// A CIDv1 with a 32-byte SHA-256 digest and the codec `dag-cbor` or `raw`: the "blessed" formats of the
/// [data model](https://atproto.com/specs/data-model#link-and-cid-formats), always [`Cid::LEN`] bytes in binary.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cid {
    codec: Codec,
    digest: [u8; 32],
}

impl Cid {
    /// Length of the binary form in bytes.
    pub const LEN: usize = 36;

    /// A CID over an already computed SHA-256 digest.
    pub const fn new(codec: Codec, digest: [u8; 32]) -> Self {
        Cid { codec, digest }
    }

    /// Reads the binary form from the start of `bytes`. `None` when it is another kind of CID, or too short.
    #[inline]
    pub fn from_prefix(bytes: &[u8]) -> Option<Self> {
        let head = bytes.get(..4)?;
        let codec = match head {
            [0x01, 0x71, 0x12, 0x20] => Codec::DagCbor,
            [0x01, 0x55, 0x12, 0x20] => Codec::Raw,
            _ => return None,
        };
        let digest = bytes.get(4..Self::LEN)?.try_into().ok()?;
        Some(Cid { codec, digest })
    }

    /// Reads exactly one binary CID.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() == Self::LEN { Self::from_prefix(bytes) } else { None }
    }

    /// The binary form.
    #[inline]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..4].copy_from_slice(&[0x01, if self.codec == Codec::DagCbor { 0x71 } else { 0x55 }, 0x12, 0x20]);
        out[4..].copy_from_slice(&self.digest);
        out
    }

    /// What the bytes under this CID are.
    #[inline]
    pub fn codec(&self) -> Codec {
        self.codec
    }

    /// The SHA-256 digest of the block.
    #[inline]
    pub fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

impl fmt::Display for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("b")?;
        f.write_str(&data_encoding::BASE32_NOPAD.encode(&self.to_bytes()).to_ascii_lowercase())
    }
}

impl fmt::Debug for Cid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cid({self})")
    }
}

impl FromStr for Cid {
    type Err = IdentError;

    /// Reads the base32 string form (`bafyrei…`, `bafkrei…`).
    fn from_str(s: &str) -> Result<Self, IdentError> {
        let wrong = || IdentError::new("cid", s);
        let digits = s.strip_prefix('b').filter(|d| !d.bytes().any(|b| b.is_ascii_uppercase())).ok_or_else(wrong)?;
        let bytes = data_encoding::BASE32_NOPAD.decode(digits.to_ascii_uppercase().as_bytes()).map_err(|_| wrong())?;
        Cid::from_bytes(&bytes).ok_or_else(wrong)
    }
}

impl serde::Serialize for Cid {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn string_and_binary_forms_agree() {
        let text = "bafyreie6hvhgcy5tlpq25aexg24vbqml336rqpned3t5bhwd2zyhjuet3i";
        let cid: Cid = text.parse().unwrap();
        assert_eq!(cid.to_string(), text);
        assert_eq!(Cid::from_bytes(&cid.to_bytes()), Some(cid));
        assert_eq!(cid.codec(), Codec::DagCbor);
    }

    #[test]
    fn other_kinds_are_refused() {
        assert!("QmbWqxBEKC3P8tqsKc98xmWNzrzDtRLMiMPL8wBuTGsMnR".parse::<Cid>().is_err());
        assert!("Bafyreie6hvhgcy5tlpq25aexg24vbqml336rqpned3t5bhwd2zyhjuet3i".parse::<Cid>().is_err());
        assert_eq!(Cid::from_bytes(&[1, 0x71, 0x12, 0x20]), None);
        assert_eq!(Cid::from_bytes(&[0; 36]), None);
    }
}
