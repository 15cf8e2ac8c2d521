//! Drafts, held against the lexicons of `schemas/`: what apps hand in comes out conformant or with every fault told, and a
//! merge loses nothing of anybody else's.

use std::path::Path;

use almanac::calendar::{Draft, DraftKind, EVENT, EventView, FieldError, RSVP, RsvpView, merge};
use almanac::event::{AtUri, Cid, Codec, Rkey};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

type Fields = Map<String, Value>;

/// A definition by its reference, from the file that its id says.
fn def(reference: &str) -> Value {
    let (id, name) = reference.split_once('#').unwrap_or((reference, "main"));
    if id == "com.atproto.repo.strongRef" {
        // The protocol's own, which no file of ours repeats.
        return json!({ "type": "object", "required": ["uri", "cid"], "properties": {
            "uri": { "type": "string", "format": "at-uri" }, "cid": { "type": "string", "format": "cid" } } });
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schemas/{}.json", id.replace('.', "/")));
    let lexicon: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    assert_eq!(lexicon["id"], id);
    let def = &lexicon["defs"][name];
    assert!(def.is_object(), "{reference} is not in schemas/");
    def.clone()
}

/// What is wrong with `value`, judged by a definition in the lexicon `home`.
fn judge(home: &str, def: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
    let mut note = |what: &str| wrong.push(format!("{at}: {what}: {value}"));
    match def["type"].as_str().unwrap() {
        "record" => judge(home, &def["record"], value, at, wrong),
        "ref" => refer(home, def["ref"].as_str().unwrap(), value, at, wrong),
        "union" => {
            let refs: Vec<&str> = def["refs"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let declared = value["$type"].as_str().unwrap_or_default();
            if !refs.contains(&declared) {
                return note("none of the union's");
            }
            refer(home, declared, value, at, wrong);
        }
        "object" => {
            let Some(map) = value.as_object() else { return note("not an object") };
            for name in def["required"].as_array().into_iter().flatten() {
                if !map.contains_key(name.as_str().unwrap()) {
                    wrong.push(format!("{at}: {name} is missing"));
                }
            }
            for (name, value) in map {
                match def["properties"].get(name) {
                    Some(def) => judge(home, def, value, &format!("{at}.{name}"), wrong),
                    None if name == "$type" => {}
                    // Every app writes it; the lexicon allows what it does not name.
                    None if home == RSVP && name == "createdAt" => {}
                    None => wrong.push(format!("{at}.{name} is not declared")),
                }
            }
        }
        "array" => {
            let Some(items) = value.as_array() else { return note("not a list") };
            for (n, item) in items.iter().enumerate() {
                judge(home, &def["items"], item, &format!("{at}[{n}]"), wrong);
            }
        }
        "boolean" => {
            if !value.is_boolean() {
                note("not a boolean");
            }
        }
        "string" => {
            let Some(text) = value.as_str() else { return note("not text") };
            let known: Vec<_> = def["knownValues"].as_array().into_iter().flatten().collect();
            if !known.is_empty() && !known.contains(&value) && !text.starts_with("org.example.") {
                note("not a known value");
            }
            for (limit, broken) in [("minLength", i64::lt as fn(&i64, &i64) -> bool), ("maxLength", i64::gt)] {
                if def[limit].as_i64().is_some_and(|limit| broken(&(text.len() as i64), &limit)) {
                    note(limit);
                }
            }
            let fits = match def["format"].as_str() {
                // The one form that we write.
                Some("datetime") => chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.3fZ")
                    .is_ok_and(|_| text.len() == 24),
                Some("uri") => url::Url::parse(text).is_ok(),
                Some("at-uri") => AtUri::parse(text).is_ok(),
                Some("cid") => text.parse::<Cid>().is_ok(),
                None => true,
                Some(other) => panic!("{other} is a format that this test does not know"),
            };
            if !fits {
                note("not of its format");
            }
        }
        other => panic!("{other} is a type that this test does not know"),
    }
}

fn refer(home: &str, reference: &str, value: &Value, at: &str, wrong: &mut Vec<String>) {
    let whole = if reference.starts_with('#') { format!("{home}{reference}") } else { reference.to_owned() };
    let home = whole.split('#').next().unwrap_or(home);
    judge(home, &def(&whole), value, at, wrong);
}

/// Faults of a record by its lexicon.
fn faults(collection: &str, record: &Fields) -> Vec<String> {
    let mut wrong = vec![];
    if record.get("$type").and_then(Value::as_str) != Some(collection) {
        wrong.push("not of its type".to_owned());
    }
    judge(collection, &def(collection), &Value::Object(record.clone()), "", &mut wrong);
    wrong
}

fn cid(n: u8) -> Cid {
    Cid::new(Codec::DagCbor, [n; 32])
}

fn time() -> impl Strategy<Value = String> {
    let zone =
        prop_oneof![Just("Z".to_owned()), (-12..14i8, 0..4u8).prop_map(|(h, q)| format!("{h:+03}:{:02}", q * 15))];
    let fraction = prop_oneof![Just(String::new()), "\\.[0-9]{1,9}"];
    (1971..9998u16, 1..13u8, 1..29u8, 0..24u8, 0..60u8, 0..60u8, fraction, zone)
        .prop_map(|(y, mo, d, h, mi, s, f, z)| format!("{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}{f}{z}"))
}

fn degrees(limit: i32) -> impl Strategy<Value = Value> {
    prop_oneof![
        (-limit..=limit).prop_map(|n| json!(n)),
        (-f64::from(limit)..=f64::from(limit)).prop_map(|n| json!(n)),
        Just(json!(-0.0)),
        Just(json!(1e-7)),
        (-limit + 1..limit, "[0-9]{1,12}").prop_map(|(n, f)| json!(format!("{n}.{f}"))),
    ]
}

fn maybe<T: Clone + std::fmt::Debug>(some: impl Strategy<Value = T>) -> impl Strategy<Value = Option<T>> {
    prop::option::of(some)
}

fn text() -> impl Strategy<Value = String> {
    // Any script, quotes and controls, but for the one character that is refused.
    "\\PC{0,20}|[\\x01-\\x7f]{0,20}".prop_map(|text: String| text.replace('\0', ""))
}

fn uri() -> impl Strategy<Value = String> {
    "https://[a-z]{1,9}\\.example(/[a-zA-Z0-9%20]{0,9}(\\?q=[a-z]{0,4})?)?|mailto:[a-z]{1,5}@example\\.org|geo:1\\.5,2"
        .prop_map(|uri: String| uri.replace('%', "%25"))
}

fn place() -> impl Strategy<Value = Value> {
    let full = |short: &'static str, whole: &'static str| prop_oneof![Just(short), Just(whole)];
    let named = |mut place: Value, name: Option<String>| {
        if let Some(name) = name {
            place["name"] = name.into();
        }
        place
    };
    prop_oneof![
        (full("address", "community.lexicon.location.address"), "[A-Z]{2}", maybe(text()), maybe(text()))
            .prop_map(|(kind, country, street, city)| json!({
                "$type": kind, "country": country, "street": street, "locality": city })),
        (full("geo", "community.lexicon.location.geo"), degrees(90), degrees(180), maybe(-500.0..9000.0f64)).prop_map(
            |(kind, lat, lon, alt)| json!({ "$type": kind, "latitude": lat, "longitude": lon, "altitude": alt })
        ),
        (full("fsq", "community.lexicon.location.fsq"), "[0-9a-f]{24}", maybe((degrees(90), degrees(180))))
            .prop_map(|(kind, id, point)| json!({ "$type": kind, "fsq_place_id": id,
                "latitude": point.as_ref().map(|p| &p.0), "longitude": point.as_ref().map(|p| &p.1) })),
        (full("hthree", "community.lexicon.location.hthree"), "8[0-9a-f]{14}")
            .prop_map(|(kind, cell)| json!({ "$type": kind, "value": cell })),
        (full("uri", "community.lexicon.calendar.event#uri"), uri())
            .prop_map(|(kind, uri)| json!({ "$type": kind, "uri": uri })),
    ]
    .prop_flat_map(move |place| maybe(text()).prop_map(move |name| named(place.clone(), name)))
}

fn event() -> impl Strategy<Value = Value> {
    let word = |words: &'static [&'static str]| {
        (prop::sample::select(words), any::<bool>())
            .prop_map(|(word, full)| if full { format!("{EVENT}#{word}") } else { word.to_owned() })
            .boxed()
    };
    let mode =
        prop_oneof![3 => word(&["inperson", "virtual", "hybrid"]), 1 => Just("org.example.defs#moon".to_owned())];
    let status = word(&["scheduled", "planned", "rescheduled", "postponed", "cancelled"]);
    let link = (uri(), maybe(text()), any::<bool>()).prop_map(|(uri, name, typed)| {
        let mut link = json!({ "uri": uri, "name": name });
        if typed {
            link["$type"] = json!("community.lexicon.calendar.event#uri");
        }
        link
    });
    (
        (text(), maybe(text()), maybe(time()), maybe(time()), maybe(time())),
        (maybe(mode), maybe(status), maybe(any::<bool>())),
        (maybe(prop::collection::vec(place(), 0..4)), maybe(prop::collection::vec(link, 0..3))),
        maybe(Just("public")),
    )
        .prop_map(|((name, description, created, starts, ends), (mode, status, expected), (places, links), public)| {
            let moment = |text: &String| chrono::DateTime::parse_from_rfc3339(text).unwrap();
            let (starts, ends) = match (starts, ends) {
                (Some(a), Some(b)) if moment(&b) < moment(&a) => (Some(b), Some(a)),
                both => both,
            };
            json!({ "name": format!("n{name}"), "description": description, "createdAt": created, "startsAt": starts,
                "endsAt": ends, "mode": mode, "status": status, "rsvpExpected": expected, "locations": places,
                "uris": links, "visibility": public })
        })
}

fn rsvp() -> impl Strategy<Value = Value> {
    (prop::sample::select(&["a", "b"][..]), maybe(0..4u8), prop::sample::select(&["going", "interested", "notgoing"][..]), maybe(time()))
        .prop_map(|(rkey, n, status, created)| {
            json!({ "subject": { "uri": format!("at://did:plc:anna/{EVENT}/{rkey}"), "cid": n.map(|n| cid(n).to_string()) },
                "status": status, "createdAt": created })
        })
}

fn read(kind: DraftKind, input: &Value) -> Draft {
    Draft::read(kind, input).unwrap_or_else(|faults| panic!("{faults:?} of {input}"))
}

proptest! {
    #[test]
    fn an_event_comes_out_as_its_lexicon_wants_it(input in event()) {
        let draft = read(DraftKind::Event, &input);
        let record = draft.record(chrono::DateTime::UNIX_EPOCH);
        prop_assert_eq!(faults(EVENT, &record), Vec::<String>::new());
        prop_assert_eq!(EventView::read(&Value::Object(record.clone())).problems, vec![]);
        prop_assert!(!record.contains_key("visibility"));
        // What was asked for is there, and nothing else is.
        for (field, value) in input.as_object().unwrap() {
            prop_assert_eq!(draft.fields().contains_key(field), !value.is_null() && field != "visibility", "{}", field);
        }
        // Its own output is input.
        prop_assert_eq!(&read(DraftKind::Event, &Value::Object(draft.fields().clone())), &draft);
        prop_assert_eq!(&read(DraftKind::Event, &Value::Object(record.clone())).record(chrono::DateTime::UNIX_EPOCH), &record);
    }

    #[test]
    fn an_answer_comes_out_as_its_lexicon_wants_it(input in rsvp()) {
        let mut draft = read(DraftKind::Rsvp, &input);
        prop_assert_eq!(draft.needs_pin(), input["subject"]["cid"].is_null());
        draft.pin(&cid(9));
        prop_assert!(!draft.needs_pin());
        if let Some(given) = input["subject"]["cid"].as_str() {
            prop_assert_eq!(&draft.fields()["subject"]["cid"], given);
        }
        prop_assert_eq!(draft.subject().unwrap().to_string(), input["subject"]["uri"].as_str().unwrap());
        let record = draft.record(chrono::DateTime::UNIX_EPOCH);
        prop_assert_eq!(faults(RSVP, &record), Vec::<String>::new());
        let view = RsvpView::read(&Value::Object(record), &Rkey::parse("self").unwrap());
        prop_assert_eq!(view.problems, vec![]);
    }

    #[test]
    fn a_point_in_time_is_the_one_that_was_given(given in time()) {
        let draft = read(DraftKind::Event, &json!({ "name": "n", "startsAt": given }));
        let written = chrono::DateTime::parse_from_rfc3339(draft.fields()["startsAt"].as_str().unwrap()).unwrap();
        let given = chrono::DateTime::parse_from_rfc3339(&given).unwrap();
        prop_assert_eq!(written.timestamp_millis(), given.timestamp_millis());
    }

    #[test]
    fn a_place_is_the_one_that_was_given(lat in degrees(90), lon in degrees(180)) {
        let input = json!({ "name": "n", "locations": [{ "$type": "geo", "latitude": lat, "longitude": lon }] });
        let draft = read(DraftKind::Event, &input);
        for (field, given) in [("latitude", &lat), ("longitude", &lon)] {
            let given = given.as_f64().or_else(|| given.as_str()?.parse().ok()).unwrap();
            let written = &draft.fields()["locations"][0][field];
            prop_assert_eq!(written.as_str().unwrap().parse::<f64>().unwrap(), given);
            prop_assert!(written != "-0");
        }
    }
}

#[track_caller]
fn refused(kind: DraftKind, input: Value, expected: &[(&str, &str)]) {
    let faults = Draft::read(kind, &input).expect_err("nothing was refused");
    let said: Vec<(&str, &str)> = faults.iter().map(|f: &FieldError| (f.field.as_str(), f.problem.as_str())).collect();
    let fits = said.len() == expected.len()
        && said.iter().zip(expected).all(|(said, wanted)| said.0 == wanted.0 && said.1.contains(wanted.1));
    assert!(fits, "{said:#?}");
}

#[test]
fn every_fault_is_told_at_once_with_its_field() {
    refused(
        DraftKind::Event,
        json!({
            "$type": RSVP, "name": " ", "description": 7, "createdAt": "yesterday", "startsAt": "2026-12-01T18:00:00",
            "endsAt": "2026-12-01T18:00:00-00:00", "mode": "moon", "status": "community.lexicon.calendar.event#begun",
            "rsvpExpected": "yes",
            "locations": [
                { "$type": "geo", "latitude": 91, "longitude": "1e1" },
                { "$type": "geo", "latitude": "0" },
                { "$type": "moon", "crater": 7 },
                "Hall",
                { "$type": "address", "country": "D", "town": "Berlin" },
                { "$type": "hthree", "value": "x" },
                { "$type": "fsq", "fsq_place_id": "a b", "longitude": 2 },
                {},
            ],
            "uris": [{ "uri": "javascript:alert(1)" }, { "uri": "https://" }, { "uri": "a b:c" }, { "name": "n" }, { "uri": "example.org" }],
            "visibility": "friends", "nmae": "slip",
        }),
        &[
            ("$type", EVENT),
            ("visibility", "can only be public"),
            ("name", "empty"),
            ("description", "a number instead of text"),
            ("createdAt", "RFC 3339"),
            ("startsAt", "with its zone"),
            ("endsAt", "zone is -00:00"),
            ("mode", "inperson, virtual, hybrid"),
            ("status", "scheduled, planned"),
            ("rsvpExpected", "text instead of true or false"),
            ("locations[0].latitude", "between -90 and 90"),
            ("locations[0].longitude", "between -180 and 180"),
            ("locations[1].longitude", "missing"),
            ("locations[2].$type", "address, geo, fsq, hthree, uri"),
            ("locations[3]", "text instead of an object"),
            ("locations[4].country", "2 to 10 characters"),
            ("locations[4].town", "known: country, locality, name"),
            ("locations[5].value", "H3 cell"),
            ("locations[6].fsq_place_id", "Foursquare"),
            ("locations[6].latitude", "missing"),
            ("locations[7].$type", "missing"),
            ("uris[0].uri", "would run"),
            ("uris[1].uri", "no host"),
            ("uris[2].uri", "percent-encoded"),
            ("uris[3].uri", "missing"),
            ("uris[4].uri", "with its scheme"),
            ("nmae", "no such field; known: createdAt, description"),
        ],
    );
    let cid = cid(1).to_string();
    let refused_rsvp = |input, expected: &[(&str, &str)]| refused(DraftKind::Rsvp, input, expected);
    refused_rsvp(json!({}), &[("subject", "missing"), ("status", "missing")]);
    refused_rsvp(
        json!({ "subject": { "uri": "at://anna.test/x.y.z/1", "cid": "bafy", "rev": 1 }, "status": "maybe" }),
        &[("subject.uri", "by DID"), ("subject.cid", "CID"), ("subject.rev", "no such field"), ("status", "going")],
    );
    let elsewhere = format!("at://did:plc:anna/{RSVP}/1");
    refused_rsvp(
        json!({ "subject": { "uri": elsewhere, "cid": cid }, "status": "going" }),
        &[("subject.uri", "not an event")],
    );
    refused(DraftKind::Event, json!([]), &[("", "a list instead of an object")]);
    refused(DraftKind::Event, json!({ "name": "a\0b" }), &[("name", "U+0000")]);
    refused(
        DraftKind::Event,
        json!({ "name": "n", "startsAt": "2026-12-01T18:00:01Z", "endsAt": "2026-12-01T19:00:00+01:00" }),
        &[("endsAt", "before startsAt")],
    );
    refused(DraftKind::Event, json!({ "name": "n", "startsAt": "9999-12-31T23:00:00-02:00" }), &[("startsAt", "year")]);
    refused(
        DraftKind::Event,
        json!({ "name": "n", "startsAt": "2016-12-31T23:59:60Z" }),
        &[("startsAt", "leap second")],
    );
}

#[test]
fn nothing_private_is_taken_in() {
    for word in ["private", "unlisted"] {
        refused(DraftKind::Event, json!({ "name": "n", "visibility": word }), &[("visibility", "anybody can read")]);
    }
}

#[test]
fn everything_has_a_bound() {
    let mut input =
        json!({ "name": "n".repeat(1001), "description": "ä".repeat(20_001), "uris": vec![json!({}); 101] });
    refused(
        DraftKind::Event,
        input.clone(),
        &[("name", "1000"), ("description", "20000"), ("uris", "101 items; at most 100")],
    );
    input["name"] = "ä".repeat(1000).into();
    input["description"] = "ä".repeat(20_000).into();
    input["uris"] = vec![json!({ "uri": format!("https://a.test/{}", "x".repeat(1_000)) }); 100].into();
    refused(DraftKind::Event, input.clone(), &[("", "at most 100000")]);
    input["uris"] = json!([]);
    read(DraftKind::Event, &input);
    let slips: Fields = (0..500).map(|n| ("x".repeat(500) + &n.to_string(), json!(1))).collect();
    let faults = Draft::read(DraftKind::Event, &Value::Object(slips)).unwrap_err();
    assert_eq!((faults.len(), faults[1].field.len()), (100, 200));
}

/// A record of other apps around fields of ours.
fn with_foreign(kind: DraftKind, ours: &Fields) -> Fields {
    let mut record = ours.clone();
    record.insert("$type".into(), kind.collection().into());
    record.insert("org.example.colour".into(), json!({ "deep": [1, { "x": null }] }));
    record.insert("facets".into(), json!([]));
    record
}

fn foreign(kind: DraftKind, record: &Fields) -> Fields {
    record
        .iter()
        .filter(|(name, _)| !kind.fields().contains(&name.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

fn ours(kind: DraftKind, record: &Fields) -> Fields {
    record
        .iter()
        .filter(|(name, _)| kind.fields().contains(&name.as_str()))
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect()
}

/// Two kinds of input, as drafts.
fn drafts(n: usize) -> impl Strategy<Value = (DraftKind, Vec<Fields>)> {
    let of = |kind: DraftKind, input: BoxedStrategy<Value>| {
        prop::collection::vec(input, n)
            .prop_map(move |inputs| (kind, inputs.iter().map(|i| read(kind, i).fields().clone()).collect()))
            .boxed()
    };
    prop_oneof![of(DraftKind::Event, event().boxed()), of(DraftKind::Rsvp, rsvp().boxed())]
}

proptest! {
    #[test]
    fn where_nobody_else_changed_anything_the_draft_is_what_is_written((kind, versions) in drafts(2)) {
        let [base, draft] = [&versions[0], &versions[1]];
        let merged = merge(kind, Some(base), draft, Some(&with_foreign(kind, base)));
        let mut wanted = draft.clone();
        if let (None, Some(before)) = (wanted.get("createdAt"), base.get("createdAt")) {
            wanted.insert("createdAt".into(), before.clone());
        }
        // A pin that was not named anew stays.
        if kind == DraftKind::Rsvp && wanted["subject"]["uri"] == base["subject"]["uri"]
            && (wanted["subject"].get("cid").is_none() || base["subject"].get("cid").is_none()) {
            wanted["subject"] = base["subject"].clone();
        }
        prop_assert_eq!(ours(kind, &merged.record), wanted);
        prop_assert_eq!(merged.conflicts, vec![]);
    }

    #[test]
    fn what_is_not_ours_survives_everything((kind, versions) in drafts(3), found in any::<bool>()) {
        let current = with_foreign(kind, &versions[2]);
        let base = (!found).then_some(&versions[0]);
        let merged = merge(kind, base, &versions[1], Some(&current));
        prop_assert_eq!(foreign(kind, &merged.record), foreign(kind, &current));
        // Each field is ours or theirs, and what changed is what is told.
        for &field in kind.fields() {
            let now = merged.record.get(field);
            let before = current.get(field);
            prop_assert!(now == versions[1].get(field) || now == before, "{}", field);
            prop_assert_eq!(now != before, merged.changed.iter().any(|name| name == field), "{}", field);
        }
        for conflict in &merged.conflicts {
            prop_assert_eq!(merged.record.get(&conflict.field).cloned().unwrap_or_default(), conflict.theirs.clone());
            prop_assert_eq!(versions[1].get(&conflict.field).cloned().unwrap_or_default(), conflict.ours.clone());
            prop_assert!(!merged.changed.contains(&conflict.field));
        }
        prop_assert!(!found || merged.conflicts.is_empty());
    }

    #[test]
    fn merging_again_changes_nothing((kind, versions) in drafts(3), found in any::<bool>()) {
        let [base, draft, current] = [&versions[0], &versions[1], &with_foreign(kind, &versions[2])];
        let once = merge(kind, (!found).then_some(base), draft, Some(current));
        let again = merge(kind, Some(draft), draft, Some(&once.record));
        prop_assert_eq!(&again.record, &once.record);
        prop_assert_eq!((again.changed.len(), again.conflicts.len()), (0, 0));
    }

    #[test]
    fn where_nobody_changed_anything_nothing_changes((kind, versions) in drafts(2)) {
        let (draft, theirs) = (&versions[0], with_foreign(kind, &versions[1]));
        let same = merge(kind, Some(draft), draft, Some(&with_foreign(kind, draft)));
        prop_assert_eq!((same.changed.len(), same.conflicts.len()), (0, 0));
        prop_assert_eq!(&same.record, &with_foreign(kind, draft));
        let only_they = merge(kind, Some(draft), draft, Some(&theirs));
        prop_assert_eq!(&only_they.record, &theirs);
        prop_assert_eq!((only_they.changed.len(), only_they.conflicts.len()), (0, 0));
    }

    #[test]
    fn where_there_is_no_record_it_is_the_draft((kind, versions) in drafts(2), known in any::<bool>()) {
        let merged = merge(kind, known.then_some(&versions[1]), &versions[0], None);
        prop_assert_eq!(&ours(kind, &merged.record), &versions[0]);
        prop_assert_eq!(merged.record.len(), versions[0].len() + 1);
        prop_assert_eq!(merged.changed.len(), versions[0].len());
    }
}

/// Merges `{name: …}`-like objects of text and gives record, changed and conflicts.
fn merged(base: Option<Value>, draft: Value, current: Value) -> (Value, Vec<String>, Vec<(String, Value, Value)>) {
    let map = |value: &Value| value.as_object().unwrap().clone();
    let merged = merge(DraftKind::Event, base.as_ref().map(map).as_ref(), &map(&draft), Some(&map(&current)));
    let mut record = merged.record;
    assert_eq!(record.remove("$type"), Some(json!(EVENT)));
    (Value::Object(record), merged.changed, merged.conflicts.into_iter().map(|c| (c.field, c.ours, c.theirs)).collect())
}

#[test]
fn each_field_goes_the_way_of_whoever_changed_it() {
    let base = json!({ "name": "A", "mode": "x", "description": "d", "status": "s" });
    let (record, changed, conflicts) = merged(
        Some(base.clone()),
        json!({ "name": "B", "mode": "x", "status": "s2" }),
        json!({ "name": "A", "mode": "y", "description": "d", "status": "s2", "foreign": 1 }),
    );
    assert_eq!(record, json!({ "name": "B", "mode": "y", "status": "s2", "foreign": 1 }));
    assert_eq!((changed, conflicts), (vec!["description".to_owned(), "name".to_owned()], vec![]));

    let (record, changed, conflicts) = merged(
        Some(base.clone()),
        json!({ "name": "B", "mode": "x", "status": "s" }),
        json!({ "name": "C", "description": "e" }),
    );
    assert_eq!(
        record,
        json!({ "name": "C", "description": "e" }),
        "the other side wins, and what it removed stays away"
    );
    assert_eq!(changed, [""; 0]);
    assert_eq!(
        conflicts,
        [("description".into(), Value::Null, json!("e")), ("name".into(), json!("B"), json!("C"))],
        "and what lost is told"
    );

    let (record, changed, _) = merged(None, json!({ "name": "B" }), json!({ "name": "C", "description": "e" }));
    assert_eq!(
        (record, changed),
        (json!({ "name": "B", "description": "e" }), vec!["name".to_owned()]),
        "found, not made by us"
    );
}

#[test]
fn a_moment_written_otherwise_is_no_change() {
    let at = |text: &str| json!({ "name": "n", "startsAt": text });
    let (record, changed, conflicts) =
        merged(Some(at("2026-12-01T18:00:00.000Z")), at("2026-12-01T20:00:00.000Z"), at("2026-12-01T19:00:00+01:00"));
    assert_eq!((record, changed, conflicts), (at("2026-12-01T20:00:00.000Z"), vec!["startsAt".to_owned()], vec![]));
    let (record, changed, _) = merged(None, at("2026-12-01T18:00:00.000Z"), at("2026-12-01T19:00:00+01:00"));
    assert_eq!((record, changed), (at("2026-12-01T19:00:00+01:00"), vec![]));
}
