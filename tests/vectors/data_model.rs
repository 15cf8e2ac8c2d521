//! The data model: records between their bytes, their CID and their JSON form.

use almanac::decode::{Reason, record_json};
use almanac::devnet::cbor::{Value, cid_of};
use data_encoding::BASE64_NOPAD;
use serde_json::Value as Json;

use super::{Cases, json_vector};

/// JSON to the generator's value: `$link` and `$bytes` as the data model has them, everything else as it stands.
fn value(json: &Json) -> Option<Value> {
    Some(match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => {
            Value::Int(n.as_i64().or_else(|| n.as_f64().filter(|f| f.fract() == 0.0).map(|f| f as i64))?)
        }
        Json::String(s) => Value::text(s.as_str()),
        Json::Array(items) => Value::List(items.iter().map(value).collect::<Option<_>>()?),
        Json::Object(fields) => match fields.iter().next().filter(|_| fields.len() == 1) {
            Some((key, Json::String(text))) if key == "$link" && text.parse::<almanac::event::Cid>().is_ok() => {
                Value::Link(text.parse().unwrap())
            }
            Some((key, Json::String(text))) if key == "$bytes" => {
                Value::Bytes(BASE64_NOPAD.decode(text.as_bytes()).ok()?)
            }
            _ => Value::Map(fields.iter().map(|(k, v)| Some((k.clone(), value(v)?))).collect::<Option<_>>()?),
        },
    })
}

/// JSON in which `123.0` is `123`.
fn with_whole_numbers(json: &Json) -> Json {
    match json {
        Json::Number(n) if n.as_i64().is_none() => (n.as_f64().unwrap() as i64).into(),
        Json::Array(items) => items.iter().map(with_whole_numbers).collect(),
        Json::Object(fields) => Json::Object(fields.iter().map(|(k, v)| (k.clone(), with_whole_numbers(v))).collect()),
        other => other.clone(),
    }
}

#[test]
fn fixtures() {
    let Some(fixtures) = json_vector("interop/data-model/data-model-fixtures.json") else { return };
    let mut cases = Cases::default();
    for (i, fixture) in fixtures.as_array().unwrap().iter().enumerate() {
        let bytes = BASE64_NOPAD.decode(fixture["cbor_base64"].as_str().unwrap().as_bytes()).unwrap();
        let json = match record_json(&bytes) {
            Ok(json) if json == fixture["json"] => Ok(()),
            other => Err(format!("{other:?}")),
        };
        cases.case(format!("{i}: bytes to JSON"), json);
        let again = value(&fixture["json"]).unwrap().encode();
        cases.case(format!("{i}: JSON to bytes"), if again == bytes { Ok(()) } else { Err(format!("{again:?}")) });
        let cid = cid_of(&bytes).to_string();
        cases.case(format!("{i}: CID"), if fixture["cid"] == cid { Ok(()) } else { Err(cid) });
    }
    cases.finish("data-model-fixtures", 9);
}

#[test]
fn valid_records_come_back_as_they_were() {
    let Some(vectors) = json_vector("interop/data-model/data-model-valid.json") else { return };
    let mut cases = Cases::default();
    for vector in vectors.as_array().unwrap() {
        let outcome = match record_json(&value(&vector["json"]).unwrap().encode()) {
            Ok(json) if json == with_whole_numbers(&vector["json"]) => Ok(()),
            other => Err(format!("{other:?}")),
        };
        cases.case(vector["note"].to_string(), outcome);
    }
    cases.finish("data-model-valid", 5);
}

/// What of the invalid JSON can be said in bytes at all.
enum Decided {
    /// The bytes are refused.
    Refused(Reason),
    /// The bytes are sound DAG-CBOR. The vector forbids the JSON on its way to bytes or judges by lexicon; a record that
    /// a repository holds is kept as it is, and read leniently.
    Kept,
}

#[test]
fn invalid_records_are_refused_or_kept_on_purpose() {
    let Some(vectors) = json_vector("interop/data-model/data-model-invalid.json") else { return };
    let mut cases = Cases::default();
    for vector in vectors.as_array().unwrap() {
        let note = vector["note"].as_str().unwrap();
        let decided = match note {
            "top-level not an object" => Decided::Refused(Reason::BlockShape),
            "float" => Decided::Refused(Reason::Float),
            "record with $type null"
            | "record with $type wrong type"
            | "record with empty $type string"
            | "blob with string size"
            | "blob with missing key"
            | "bytes with wrong field type"
            | "bytes with extra fields"
            | "link with wrong field type"
            | "link with bogus CID"
            | "link with extra fields" => Decided::Kept,
            other => panic!("nothing is decided about {other:?}"),
        };
        // Our generator cannot write a float; another implementation can.
        let bytes = match value(&vector["json"]) {
            Some(value) => value.encode(),
            None => serde_ipld_dagcbor::to_vec(&vector["json"]).unwrap(),
        };
        let outcome = match (decided, record_json(&bytes)) {
            (Decided::Refused(reason), Err(reject)) if reject.reason == reason => Ok(()),
            (Decided::Kept, Ok(json)) if json == vector["json"] => Ok(()),
            (_, other) => Err(format!("{other:?}")),
        };
        cases.case(note, outcome);
    }
    cases.finish("data-model-invalid", 12);
}
