//! Envelopes open where they were sealed, and nowhere else.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

const PLACE: Place<'static> =
    Place { user_id: "01HX0000000000000000000000", did: "did:plc:aaaaaaaaaaaaaaaaaaaaaaaa", column: "password" };
const SECRET: &str = "correct horse battery staple";

/// A key that is not one byte repeated.
fn key(first: u8) -> [u8; 32] {
    std::array::from_fn(|n| first.wrapping_add(n as u8))
}

fn vault_of(environment: &str, keys: &[(&str, u8)]) -> Vault {
    let keys = keys.iter().map(|(id, first)| ((*id).to_owned(), key(*first))).collect();
    Vault::new(Environment::parse(environment).unwrap(), KeyRing::new(keys).unwrap())
}

fn opened(vault: &Vault, place: &Place<'_>, envelope: &str) -> Result<String, VaultError> {
    vault.open(place, envelope).map(|opened| opened.secret.expose_secret().to_owned())
}

/// Envelopes that Node's crypto made: `tests/identity/envelopes.js`.
fn made_by_node() -> Value {
    serde_json::from_str(include_str!("../../../tests/identity/envelopes.json")).unwrap()
}

fn ring_of_node(made: &Value) -> KeyRing {
    let keys = made["keys"].as_object().unwrap();
    KeyRing::read(keys.iter().map(|(id, text)| (id.as_str(), text.as_str().unwrap().into()))).unwrap()
}

#[test]
fn what_foreign_code_sealed_in_the_older_form_opens_with_whatever_key_fits() {
    let made = made_by_node();
    let vault = Vault::new(Environment::parse("test").unwrap(), ring_of_node(&made));
    let older = made["older"].as_array().unwrap();
    assert_eq!(older.len(), 5);
    for each in older {
        let opened = vault.open(&PLACE, each["envelope"].as_str().unwrap()).unwrap_or_else(|e| panic!("{each}: {e}"));
        assert_eq!(opened.secret.expose_secret(), each["secret"].as_str().unwrap(), "{each}");
        assert_eq!(opened.key_id, None, "{each}");
    }
}

#[test]
fn what_foreign_code_sealed_as_the_form_is_described_opens() {
    let made = made_by_node();
    let ours = made["ours"].as_array().unwrap();
    assert_eq!(ours.len(), 2);
    for each in ours {
        let text = |key: &str| each[key].as_str().unwrap();
        let vault = Vault::new(Environment::parse(text("environment")).unwrap(), ring_of_node(&made));
        let place = Place { user_id: text("user_id"), did: text("did"), column: text("column") };
        assert_eq!(opened(&vault, &place, text("envelope")).as_deref(), Ok(text("secret")));
    }
}

#[test]
fn an_envelope_opens_in_its_own_place_alone() {
    let vault = vault_of("test", &[("a", 1)]);
    let sealed = vault.seal(&PLACE, &SECRET.into()).unwrap();
    assert_eq!(opened(&vault, &PLACE, &sealed.envelope).as_deref(), Ok(SECRET));
    assert!(sealed.envelope.starts_with(&vault.sealing_head()), "{}", sealed.envelope);
    let refused = Err(VaultError::Refused("a".to_owned()));
    let elsewhere = [
        Place { user_id: "01HX0000000000000000000001", ..PLACE },
        Place { did: "did:plc:bbbbbbbbbbbbbbbbbbbbbbbb", ..PLACE },
        Place { column: "refresh_token", ..PLACE },
        // The same bytes in a row, cut elsewhere.
        Place { user_id: "01HX0000000000000000000000d", did: "id:plc:aaaaaaaaaaaaaaaaaaaaaaaa", column: "password" },
    ];
    for place in elsewhere {
        assert_eq!(opened(&vault, &place, &sealed.envelope), refused, "{place:?}");
    }
    let other = vault_of("prod", &[("a", 1)]);
    assert_eq!(opened(&other, &PLACE, &sealed.envelope), refused);
}

#[test]
fn another_key_of_the_same_id_and_a_changed_id_are_refused() {
    let vault = vault_of("test", &[("a", 1), ("b", 2)]);
    let envelope = vault.seal(&PLACE, &SECRET.into()).unwrap().envelope;
    let other = vault_of("test", &[("a", 3)]);
    assert_eq!(opened(&other, &PLACE, &envelope), Err(VaultError::Refused("a".to_owned())));
    let relabelled = envelope.replacen("v2.a.", "v2.b.", 1);
    assert_eq!(opened(&vault, &PLACE, &relabelled), Err(VaultError::Refused("b".to_owned())));
    let missing = vault_of("test", &[("b", 2)]);
    assert_eq!(opened(&missing, &PLACE, &envelope), Err(VaultError::MissingKey("a".to_owned())));
}

#[test]
fn the_first_key_seals_and_all_open() {
    let before = vault_of("test", &[("2026.04", 1)]);
    let envelope = before.seal(&PLACE, &SECRET.into()).unwrap().envelope;
    let after = vault_of("test", &[("2026.05", 2), ("2026.04", 1)]);
    let old = after.open(&PLACE, &envelope).unwrap();
    assert_eq!((old.secret.expose_secret(), old.key_id.as_deref()), (SECRET, Some("2026.04")));
    let anew = after.seal(&PLACE, &old.secret).unwrap();
    assert_eq!(anew.key_id, "2026.05");
    assert_eq!(opened(&after, &PLACE, &anew.envelope).as_deref(), Ok(SECRET));
    // A second sealing is another text: nobody sees from two rows that they hold the same.
    assert_ne!(after.seal(&PLACE, &old.secret).unwrap().envelope, anew.envelope);
}

#[test]
fn no_bit_of_an_envelope_can_be_changed() {
    let vault = vault_of("test", &[("a", 1)]);
    let envelope = vault.seal(&PLACE, &"0123456789".into()).unwrap().envelope;
    let Envelope { key_id, nonce, sealed } = Envelope::parse(&envelope).unwrap();
    let mut tried = 0;
    for bit in 0..8 * (nonce.len() + sealed.len()) {
        let (mut nonce, mut sealed) = (nonce, sealed.clone());
        match bit / 8 {
            byte if byte < nonce.len() => nonce[byte] ^= 1 << (bit % 8),
            byte => sealed[byte - nonce.len()] ^= 1 << (bit % 8),
        }
        let changed = Envelope { key_id: key_id.clone(), nonce, sealed }.to_text();
        assert_eq!(opened(&vault, &PLACE, &changed), Err(VaultError::Refused("a".to_owned())), "bit {bit}");
        tried += 1;
    }
    assert_eq!(tried, 8 * (12 + 10 + 16));
    // A longer or shorter one neither.
    let sealed_of = |sealed: Vec<u8>| Envelope { key_id: key_id.clone(), nonce, sealed }.to_text();
    assert!(opened(&vault, &PLACE, &sealed_of(sealed[1..].to_vec())).is_err());
    assert!(opened(&vault, &PLACE, &sealed_of([&sealed[..], &[0]].concat())).is_err());
}

#[test]
fn changed_envelopes_of_the_older_form_are_refused() {
    let made = made_by_node();
    let vault = Vault::new(Environment::parse("test").unwrap(), ring_of_node(&made));
    let envelope = made["older"][0]["envelope"].as_str().unwrap();
    let form: Value = serde_json::from_str(envelope).unwrap();
    for field in ["iv", "ciphertext", "authTag"] {
        let mut bytes = data_encoding::BASE64.decode(form[field].as_str().unwrap().as_bytes()).unwrap();
        bytes[0] ^= 1;
        let mut changed = form.clone();
        changed[field] = data_encoding::BASE64.encode(&bytes).into();
        assert_eq!(opened(&vault, &PLACE, &changed.to_string()), Err(VaultError::OlderRefused), "{field}");
    }
    let stranger = vault_of("test", &[("a", 1)]);
    assert_eq!(opened(&stranger, &PLACE, envelope), Err(VaultError::OlderRefused));
}

#[test]
fn what_is_no_envelope_is_told_without_its_content() {
    let vault = vault_of("test", &[("a", 1)]);
    let long = "x".repeat(ENVELOPE_BYTES_MAX + 1);
    let odd = [
        "",
        "hunter2hunter2",
        "v2.",
        "v2.hunter2hunter2",
        "v2.a.b.c",
        "v2.a.AAAAAAAAAAAAAAAA.",
        "v2.a.AAAAAAAAAAAAAAAA.AAAA",
        "v2..AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAA",
        "v2.hunter2 hunter2.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAA",
        "v3.a.AAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAA",
        "{\"v\":1,\"iv\":\"hunter2hunter2\"}",
        "{\"v\":0,\"iv\":\"AAAAAAAAAAAAAAAA\",\"ciphertext\":\"\",\"authTag\":\"AAAAAAAAAAAAAAAAAAAAAA==\"}",
        "{\"v\":1,\"iv\":\"AAAA\",\"ciphertext\":\"\",\"authTag\":\"AAAAAAAAAAAAAAAAAAAAAA==\"}",
        "{\"v\":1,\"iv\":\"AAAAAAAAAAAAAAAA\",\"ciphertext\":\"\",\"authTag\":\"AAAA\"}",
        "aHVudGVyMmh1bnRlcjI=",
        long.as_str(),
    ];
    for text in odd {
        let error = opened(&vault, &PLACE, text).unwrap_err();
        assert!(matches!(error, VaultError::Malformed(_)), "{text}: {error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn a_secret_has_a_length() {
    let vault = vault_of("test", &[("a", 1)]);
    for wrong in [0, SECRET_BYTES_MAX + 1] {
        assert_eq!(vault.seal(&PLACE, &"x".repeat(wrong).into()), Err(VaultError::NoSecret), "{wrong}");
    }
    let longest = "x".repeat(SECRET_BYTES_MAX);
    let sealed = vault.seal(&PLACE, &longest.as_str().into()).unwrap();
    assert_eq!(opened(&vault, &PLACE, &sealed.envelope), Ok(longest));
}

#[test]
fn a_ring_is_refused_with_what_is_wrong_and_no_key() {
    let keys =
        |keys: &[(&str, [u8; 32])]| KeyRing::new(keys.iter().map(|(id, key)| ((*id).to_owned(), *key)).collect());
    assert_eq!(keys(&[]).unwrap_err(), KeyRingError::Empty);
    assert_eq!(keys(&[("a", key(1)), ("a", key(2))]).unwrap_err(), KeyRingError::SameId("a".into()));
    assert_eq!(keys(&[("a", key(1)), ("b", key(1))]).unwrap_err(), KeyRingError::SameKey("a".into(), "b".into()));
    assert_eq!(keys(&[("a", [0; 32])]).unwrap_err(), KeyRingError::Guessable("a".into()));
    assert_eq!(keys(&[("a", [7; 32])]).unwrap_err(), KeyRingError::Guessable("a".into()));
    for id in ["", "a b", "a/b", "ä", &"a".repeat(65)] {
        assert_eq!(keys(&[(id, key(1))]).unwrap_err(), KeyRingError::Id(id.into()));
    }
    for text in ["", "hunter2", "aHVudGVyMg==", &"ab".repeat(31), &"A".repeat(44), "not base64 at all!"] {
        let error = KeyRing::read([("a", text.into())]).unwrap_err();
        assert!(matches!(&error, KeyRingError::Text { id, .. } if id == "a"), "{text}: {error:?}");
        let told = format!("{error} {error:?}");
        assert!(text.is_empty() || !told.contains(text), "{told}");
    }
}

#[test]
fn a_key_is_read_in_every_form_that_people_write_it_in() {
    let bytes: [u8; 32] = std::array::from_fn(|n| 255 - 3 * n as u8);
    let envelope = {
        let ring = KeyRing::new(vec![("a".to_owned(), bytes)]).unwrap();
        Vault::new(Environment::parse("test").unwrap(), ring).seal(&PLACE, &SECRET.into()).unwrap().envelope
    };
    let hex = data_encoding::HEXLOWER.encode(&bytes);
    let texts = [
        data_encoding::BASE64.encode(&bytes),
        data_encoding::BASE64_NOPAD.encode(&bytes),
        data_encoding::BASE64URL.encode(&bytes),
        data_encoding::BASE64URL_NOPAD.encode(&bytes),
        hex.to_uppercase(),
        format!(" {hex}\n"),
    ];
    for text in texts {
        let ring = KeyRing::read([("a", text.as_str().into())]).unwrap_or_else(|e| panic!("{text}: {e}"));
        let vault = Vault::new(Environment::parse("test").unwrap(), ring);
        assert_eq!(opened(&vault, &PLACE, &envelope).as_deref(), Ok(SECRET), "{text}");
    }
}

#[test]
fn a_fresh_key_is_one_and_no_other() {
    let [one, two] = [fresh_key().unwrap(), fresh_key().unwrap()];
    assert_ne!(one.expose_secret(), two.expose_secret());
    KeyRing::read([("one", one), ("two", two)]).unwrap();
}

#[test]
fn nothing_of_a_key_or_a_secret_is_printed() {
    let (text, vault) = (data_encoding::BASE64.encode(&key(65)), vault_of("test", &[("a", 65), ("b", 66)]));
    let sealed = vault.seal(&PLACE, &SECRET.into()).unwrap();
    let opened = vault.open(&PLACE, &sealed.envelope).unwrap();
    let told = format!("{vault:?} {:?} {opened:?} {sealed:?}", vault.ring());
    assert!(told.contains("[\"a\", \"b\"]"), "{told}");
    for secret in [SECRET, &text, "ABCDEFGH", "65, 66, 67", "41424344", "horse"] {
        assert!(!told.contains(secret), "{told}");
    }
}

proptest! {
    #[test]
    fn whatever_is_sealed_opens_and_only_there(
        secret in "\\PC{1,200}", user in "\\PC{0,40}", did in "\\PC{0,40}", column in "\\PC{0,20}",
        other in ("\\PC{0,40}", "\\PC{0,40}", "\\PC{0,20}"),
    ) {
        let vault = vault_of("test", &[("a", 1)]);
        let place = Place { user_id: &user, did: &did, column: &column };
        let sealed = vault.seal(&place, &secret.as_str().into()).unwrap();
        prop_assert_eq!(opened(&vault, &place, &sealed.envelope), Ok(secret));
        let elsewhere = Place { user_id: &other.0, did: &other.1, column: &other.2 };
        if elsewhere != place {
            prop_assert_eq!(opened(&vault, &elsewhere, &sealed.envelope), Err(VaultError::Refused("a".to_owned())));
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC*", tail in "(v2|[a.A-]){0,5}[.][A-Za-z0-9_-]{0,40}[.][A-Za-z0-9_-]{0,60}") {
        let vault = vault_of("test", &[("a", 1)]);
        prop_assert!(vault.open(&PLACE, &text).is_err());
        prop_assert!(vault.open(&PLACE, &tail).is_err());
        let claiming = format!("v2.{tail}");
        prop_assert!(vault.open(&PLACE, &claiming).is_err());
    }
}
