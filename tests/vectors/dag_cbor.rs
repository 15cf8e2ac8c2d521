//! DAG-CBOR: what must be read and written again as it was, and what must be refused.

use almanac::decode::Reason;
use almanac::decode::cbor::check_canonical;
use almanac::devnet::cbor::Value;
use almanac::event::Cid;
use data_encoding::HEXLOWER;
use ipld_core::ipld::Ipld;

use super::{Cases, folder, json_vector, vector};

/// `roundtrip` cases that are refused on purpose: file, bytes, by which rule.
///
/// The data model of AT Protocol has no floating-point numbers, and integers of 64 signed bits; big numbers under the
/// tags 2 and 3 are no DAG-CBOR.
const REFUSED: &[(&str, &str, Reason)] = &[
    ("floats", "f93e00", Reason::Float),
    ("floats", "fb3ff8000000000000", Reason::Float),
    ("floats", "f97e00", Reason::Float),
    ("floats", "fb0000000000000000", Reason::Float),
    ("floats", "f90000", Reason::Float),
    ("floats", "fb0000000000000001", Reason::Float),
    ("numeric_reduction", "fbc3e0000000000001", Reason::Float),
    ("numeric_reduction", "a20a00f9490000", Reason::KeyNotText),
    ("integer_range", "1bffffffffffffffff", Reason::IntegerRange),
    ("integer_range", "3bffffffffffffffff", Reason::IntegerRange),
    ("integer_range", "c249010000000000000000", Reason::ForeignTag),
    ("integer_range", "c349010000000000000000", Reason::ForeignTag),
    // A BLAKE3 hash is blessed by DASL, not by AT Protocol.
    ("cid", BIG_DASL, Reason::BadLink),
];

/// The link of the case "Big DASL CID".
const BIG_DASL: &str = "d82a58250001551e20";

/// `invalid_in` cases that are read on purpose: text is whatever its author typed, in any normal form.
const READ: &[(&str, &str)] = &[("utf8", "6365cc81")];

fn is(case: (&str, &str), file: &str, hex: &str) -> bool {
    // A prefix is enough for the one case whose hash would only fill lines.
    case.0 == file && (case.1 == hex || (case.1 == BIG_DASL && hex.starts_with(BIG_DASL)))
}

fn accepted(bytes: &[u8]) -> Result<(), String> {
    check_canonical(bytes).map_err(|reject| format!("refused: {reject}"))?;
    let ipld: Ipld = serde_ipld_dagcbor::from_slice(bytes).map_err(|e| format!("another implementation: {e}"))?;
    // What writes frames for our tests must write the same form.
    let again = own_value(&ipld).encode();
    if again == bytes { Ok(()) } else { Err(format!("written again as {}", HEXLOWER.encode(&again))) }
}

fn own_value(value: &Ipld) -> Value {
    match value {
        Ipld::Null => Value::Null,
        Ipld::Bool(b) => Value::Bool(*b),
        Ipld::Integer(n) => Value::Int(i64::try_from(*n).unwrap()),
        Ipld::Float(_) => unreachable!("floats are refused before"),
        Ipld::String(s) => Value::text(s.as_str()),
        Ipld::Bytes(b) => Value::Bytes(b.clone()),
        Ipld::List(items) => Value::List(items.iter().map(own_value).collect()),
        Ipld::Map(fields) => Value::map(fields.iter().map(|(key, value)| (key.as_str(), own_value(value)))),
        Ipld::Link(cid) => Value::Link(Cid::from_bytes(&cid.to_bytes()).unwrap()),
    }
}

fn refused(bytes: &[u8], by: Option<Reason>) -> Result<(), String> {
    match (check_canonical(bytes), by) {
        (Ok(()), _) => Err("accepted".into()),
        (Err(reject), Some(reason)) if reject.reason != reason => Err(format!("refused by another rule: {reject}")),
        (Err(_), _) => Ok(()),
    }
}

#[test]
fn dasl() {
    if vector("dasl/cid.json").is_none() {
        return;
    }
    let mut files: Vec<_> =
        std::fs::read_dir(folder().join("dasl")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let mut cases = Cases::default();
    let mut decided = vec![];
    for path in files {
        let file = path.file_stem().unwrap().to_str().unwrap();
        for case in json_vector(&format!("dasl/{file}.json")).unwrap().as_array().unwrap() {
            let [kind, hex, title] = ["type", "data", "name"].map(|key| case[key].as_str().unwrap());
            let bytes = HEXLOWER.decode(hex.as_bytes()).unwrap();
            let on_purpose = REFUSED.iter().find(|(f, h, _)| is((f, h), file, hex));
            let read_on_purpose = READ.iter().find(|(f, h)| is((f, h), file, hex));
            let outcome = match (kind, on_purpose, read_on_purpose) {
                ("roundtrip", Some((f, h, reason)), _) => {
                    decided.push((*f, *h));
                    refused(&bytes, Some(*reason))
                }
                ("roundtrip", None, _) => accepted(&bytes),
                ("invalid_in", _, Some((f, h))) => {
                    decided.push((*f, *h));
                    accepted(&bytes)
                }
                // What an encoder must not write: no type of ours can hold it, because no bytes can be read into one.
                ("invalid_in" | "invalid_out", ..) => refused(&bytes, None),
                (other, ..) => Err(format!("unknown kind of case {other:?}")),
            };
            cases.case(format!("{file} {kind} {title:?} {hex}"), outcome);
        }
    }
    cases.finish("dasl", 100);
    // A decision about a vector that is gone should go too.
    for case in REFUSED.iter().map(|(f, h, _)| (*f, *h)).chain(READ.iter().copied()) {
        assert!(decided.contains(&case), "no published case for the decision about {case:?}");
    }
}
