//! The two curves, each by the fastest sound library: `secp256k1` (the C library) for K-256, `ring` for P-256.

use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use sha2::{Digest, Sha256};

use super::Curve;

/// A point that has been checked to lie on its curve.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Point {
    K256(secp256k1::PublicKey),
    /// Uncompressed, as `ring` wants it.
    P256([u8; 65]),
}

impl Point {
    pub fn read(curve: Curve, bytes: &[u8]) -> Option<Self> {
        match curve {
            Curve::K256 => secp256k1::PublicKey::from_slice(bytes).ok().map(Point::K256),
            Curve::P256 => {
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(bytes).ok()?;
                key.to_sec1_point(false).as_bytes().try_into().ok().map(Point::P256)
            }
        }
    }

    pub fn compressed(&self) -> [u8; 33] {
        match self {
            Point::K256(key) => key.serialize(),
            Point::P256(point) => {
                let mut out = [0; 33];
                out[0] = 2 + (point[64] & 1);
                out[1..].copy_from_slice(&point[1..33]);
                out
            }
        }
    }

    /// Whether the signature is right. That its `s` is low has been seen to.
    pub fn verify(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        match self {
            Point::K256(key) => {
                let digest = secp256k1::Message::from_digest(Sha256::digest(message).into());
                secp256k1::ecdsa::Signature::from_compact(signature).is_ok_and(|sig| sig.verify(digest, key).is_ok())
            }
            Point::P256(point) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
        }
    }
}
