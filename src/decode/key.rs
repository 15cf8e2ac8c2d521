//! Public keys as DID documents write them, and the check of a commit's signature.
//!
//! In: the text of a verification method, then messages with signatures. Out: yes, or the rule that was broken. Always
//! true: a key is parsed once, so that a check costs no more than the curve; of the two signatures that fit one message
//! only the one with the low `s` passes, on both curves. Never: a private key.
//!
//! <https://atproto.com/specs/cryptography>

use super::multibase::{multibase58, read_multibase58};
use super::{Reason, Reject};
use crate::event::{KeyForm, KeyText};

#[cfg(not(target_family = "wasm"))]
#[path = "curve.rs"]
mod curve;
#[cfg(target_family = "wasm")]
#[path = "curve_none.rs"]
mod curve;

/// `secp256k1-pub` as a multicodec varint.
const K256_CODEC: [u8; 2] = [0xe7, 0x01];
/// `p256-pub` as a multicodec varint.
const P256_CODEC: [u8; 2] = [0x80, 0x24];

/// A signature: `r` and `s`, 32 bytes each.
const SIGNATURE_BYTES: usize = 64;

/// Half of the order of secp256k1, rounded down: the largest `s` that is low.
const K256_LOW_S_MAX: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x5d, 0x57, 0x6e,
    0x73, 0x57, 0xa4, 0x50, 0x1d, 0xdf, 0xe9, 0x2f, 0x46, 0x68, 0x1b, 0x20, 0xa0,
];
/// The same of NIST P-256.
const P256_LOW_S_MAX: [u8; 32] = [
    0x7f, 0xff, 0xff, 0xff, 0x80, 0x00, 0x00, 0x00, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xde, 0x73, 0x7d,
    0x56, 0xd3, 0x8b, 0xcf, 0x42, 0x79, 0xdc, 0xe5, 0x61, 0x7e, 0x31, 0x92, 0xa8,
];

/// Which of the protocol's two curves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Curve {
    K256,
    P256,
}

/// A key that commits are signed with, ready for use.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    curve: Curve,
    point: curve::Point,
}

impl PublicKey {
    /// Reads a key out of a DID document. Points may be compressed or not, with or without their multicodec.
    ///
    /// # Errors
    /// [`Reason::BadKey`]: text that is not base58btc multibase, another curve than its form names, bytes that are no
    /// point of the curve.
    pub fn read(text: &KeyText) -> Result<Self, Reject> {
        let bytes = read_multibase58(&text.multibase)
            .ok_or_else(|| bad_key(format!("{:?} is no base58btc multibase text of a key", text.multibase)))?;
        match (text.form, codec(&bytes)) {
            (KeyForm::Multikey, Some((curve, point)))
            | (KeyForm::K256, Some((curve @ Curve::K256, point)))
            | (KeyForm::P256, Some((curve @ Curve::P256, point))) => Self::from_point(curve, point),
            (KeyForm::Multikey, None) => Err(bad_key("a Multikey of neither K-256 nor P-256".into())),
            (form, Some(_)) => Err(bad_key(format!("{} with a key of the other curve", form.as_str()))),
            (KeyForm::K256, None) => Self::from_point(Curve::K256, &bytes),
            (KeyForm::P256, None) => Self::from_point(Curve::P256, &bytes),
        }
    }

    /// Reads a `did:key:z…`.
    ///
    /// # Errors
    /// [`Reason::BadKey`], as [`PublicKey::read`].
    pub fn from_did_key(text: &str) -> Result<Self, Reject> {
        let multibase = text.strip_prefix("did:key:").ok_or_else(|| bad_key(format!("{text:?} is no did:key")))?;
        Self::read(&KeyText { form: KeyForm::Multikey, multibase: multibase.into() })
    }

    /// The key as `did:key:z…`, the one form that every key has: two keys are the same where their texts are.
    pub fn to_did_key(&self) -> String {
        let codec = match self.curve {
            Curve::K256 => K256_CODEC,
            Curve::P256 => P256_CODEC,
        };
        format!("did:key:{}", multibase58(&[&codec[..], &self.point.compressed()].concat()))
    }

    fn from_point(curve: Curve, bytes: &[u8]) -> Result<Self, Reject> {
        let is_point = matches!((bytes.len(), bytes.first()), (33, Some(2 | 3)) | (65, Some(4)));
        let point = if is_point { curve::Point::read(curve, bytes) } else { None };
        let point = point.ok_or_else(|| bad_key(format!("{} bytes that are no point of {curve:?}", bytes.len())))?;
        Ok(PublicKey { curve, point })
    }

    /// Whether this key signed the SHA-256 of `message`.
    ///
    /// # Errors
    /// [`Reason::SignatureLength`], [`Reason::HighS`], [`Reason::BadSignature`].
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), Reject> {
        let Ok(signature) = <&[u8; SIGNATURE_BYTES]>::try_from(signature) else {
            return Err(Reject::new(Reason::SignatureLength, format!("a signature of {} bytes", signature.len())));
        };
        let low_s_max = match self.curve {
            Curve::K256 => &K256_LOW_S_MAX,
            Curve::P256 => &P256_LOW_S_MAX,
        };
        if signature[32..] > low_s_max[..] {
            return Err(Reject::new(Reason::HighS, format!("a {:?} signature with a high s", self.curve)));
        }
        match self.point.verify(message, signature) {
            true => Ok(()),
            false => Err(Reject::new(Reason::BadSignature, format!("not signed by {}", self.to_did_key()))),
        }
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({})", self.to_did_key())
    }
}

/// What stands behind a multicodec of one of the two curves. A bare point begins with 2, 3 or 4.
fn codec(bytes: &[u8]) -> Option<(Curve, &[u8])> {
    match bytes.split_first_chunk()? {
        (&K256_CODEC, point) => Some((Curve::K256, point)),
        (&P256_CODEC, point) => Some((Curve::P256, point)),
        _ => None,
    }
}

#[cold]
fn bad_key(detail: String) -> Reject {
    Reject::new(Reason::BadKey, detail)
}
