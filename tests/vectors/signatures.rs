//! Keys and signatures: `interop/crypto`.

use almanac::decode::{PublicKey, Reason};
use almanac::devnet::keys::{Curve, SigningKey};
use almanac::event::{KeyForm, KeyText};
use data_encoding::{BASE64_NOPAD, HEXLOWER};
use serde_json::Value;

use crate::{Cases, json_vector};

fn text<'a>(case: &'a Value, field: &str) -> &'a str {
    case[field].as_str().unwrap_or_else(|| panic!("{field} of {case}"))
}

#[test]
fn signatures_pass_or_are_refused_for_the_stated_reason() {
    let Some(fixtures) = json_vector("interop/crypto/signature-fixtures.json") else { return };
    let mut cases = Cases::default();
    for case in fixtures.as_array().unwrap() {
        let bytes = |field: &str| BASE64_NOPAD.decode(text(case, field).as_bytes()).unwrap();
        let form = KeyForm::from_word(text(case, "didDocSuite")).unwrap();
        let legacy = KeyText { form, multibase: text(case, "publicKeyMultibase").into() };
        let did_key = text(case, "publicKeyDid");
        let judge = || -> Result<(), String> {
            let key = PublicKey::read(&legacy).map_err(|e| e.to_string())?;
            if key.to_did_key() != did_key || PublicKey::from_did_key(did_key) != Ok(key.clone()) {
                return Err(format!("the key is read as {}", key.to_did_key()));
            }
            let expected = match case["tags"][0].as_str() {
                None => None,
                Some("high-s") => Some(Reason::HighS),
                // DER writes two numbers with their lengths: never 64 bytes here.
                Some("der-encoded") => Some(Reason::SignatureLength),
                Some(other) => return Err(format!("unknown tag {other}")),
            };
            assert_eq!(expected.is_none(), case["validSignature"].as_bool().unwrap());
            let told = key.verify(&bytes("messageBase64"), &bytes("signatureBase64")).err().map(|reject| reject.reason);
            if told == expected { Ok(()) } else { Err(format!("{told:?}, expected {expected:?}")) }
        };
        cases.case(text(case, "comment"), judge());
    }
    cases.finish("signatures", 6);
}

#[test]
fn private_keys_have_their_did_key() {
    let mut cases = Cases::default();
    for (file, curve) in [("K256", Curve::K256), ("P256", Curve::P256)] {
        let Some(fixtures) = json_vector(&format!("interop/crypto/w3c_didkey_{file}.json")) else { return };
        for case in fixtures.as_array().unwrap() {
            let did_key = text(case, "publicDidKey");
            let read = PublicKey::from_did_key(did_key).map_err(|e| e.to_string());
            // The generator's key signs, ours checks, where the private key is written in hex.
            let outcome = read.and_then(|key| {
                if key.to_did_key() != did_key {
                    return Err(format!("written as {}", key.to_did_key()));
                }
                let Some(private) = case["privateKeyBytesHex"].as_str() else { return Ok(()) };
                let private = HEXLOWER.decode(private.as_bytes()).unwrap().try_into().unwrap();
                let sig = SigningKey::from_entropy(curve, private).sign(b"message");
                key.verify(b"message", &sig).map_err(|e| e.to_string())
            });
            cases.case(did_key, outcome);
        }
    }
    cases.finish("did:key", 6);
}
