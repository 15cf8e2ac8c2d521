//! What is answered is what `schemas/` declares, and what may be asked is what it declares: no more, no less.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Value, json};

use crate::world::{World, event, event_uri, rsvp};

const QUERIES: [&str; 4] = ["listEvents", "getEvent", "listRsvps", "getStatus"];

/// Every lexicon of `schemas/`, by id.
struct Lexicons(BTreeMap<String, Value>);

impl Lexicons {
    fn load() -> Self {
        let mut found = BTreeMap::new();
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                    continue;
                }
                let lexicon: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
                let id = lexicon["id"].as_str().unwrap().to_owned();
                assert_eq!(
                    path,
                    root.join(format!("{}.json", id.replace('.', "/"))),
                    "a lexicon lies where its id says"
                );
                assert_eq!(lexicon["lexicon"], 1);
                found.insert(id, lexicon);
            }
        }
        Lexicons(found)
    }

    fn def(&self, reference: &str) -> &Value {
        let (id, name) = reference.split_once('#').unwrap_or((reference, "main"));
        let def = self.0.get(id).map(|lexicon| &lexicon["defs"][name]);
        def.filter(|def| def.is_object()).unwrap_or_else(|| panic!("{reference} is not in schemas/"))
    }

    /// What is wrong with `value`, judged by `def`.
    fn judge(&self, def: &Value, value: &Value, at: &str, wrong: &mut Vec<String>) {
        let mut note = |what: &str| wrong.push(format!("{at}: {what}: {value}"));
        match def["type"].as_str().unwrap() {
            "ref" => self.judge(self.def(def["ref"].as_str().unwrap()), value, at, wrong),
            "object" => {
                let Some(map) = value.as_object() else { return note("not an object") };
                for name in def["required"].as_array().into_iter().flatten() {
                    if !map.contains_key(name.as_str().unwrap()) {
                        wrong.push(format!("{at}: {name} is missing"));
                    }
                }
                for (name, value) in map {
                    match def["properties"].get(name) {
                        Some(def) => self.judge(def, value, &format!("{at}.{name}"), wrong),
                        None => wrong.push(format!("{at}.{name} is not declared")),
                    }
                }
            }
            "array" => {
                let Some(items) = value.as_array() else { return note("not a list") };
                for (n, item) in items.iter().enumerate() {
                    self.judge(&def["items"], item, &format!("{at}[{n}]"), wrong);
                }
            }
            "integer" => match value.as_i64() {
                Some(n) if def["minimum"].as_i64().is_none_or(|least| n >= least) => {}
                _ => note("not such a number"),
            },
            "boolean" if !value.is_boolean() => note("not a boolean"),
            "unknown" if !value.is_object() => note("not an object"),
            "string" => {
                let Some(text) = value.as_str() else { return note("not text") };
                let fits = match def["format"].as_str() {
                    Some("datetime") => chrono::DateTime::parse_from_rfc3339(text).is_ok() && text.contains('T'),
                    Some("did") => almanac::event::Did::is_valid(text),
                    Some("handle") => almanac::event::Handle::is_valid(text),
                    Some("at-uri") => almanac::event::AtUri::parse(text).is_ok(),
                    Some("cid") => text.parse::<ipld_core::cid::Cid>().is_ok(),
                    None => true,
                    Some(other) => panic!("{other} is a format that this test does not know"),
                };
                if !fits {
                    note("not of its format");
                }
            }
            "boolean" | "unknown" => {}
            other => panic!("{other} is a type that this test does not know"),
        }
    }
}

/// Rows with everything that can be shown, and rows with as little as there can be.
async fn full() -> World {
    let world = World::new().await;
    world.account("did:plc:anna", "anna.example.com").await;
    event("full")
        .set("description", "…")
        .set("created_at", "2026-01-01T00:00:00Z")
        .set("starts_at", "2026-01-10T18:00:00.5Z")
        .set("ends_at", "2026-01-10T20:00:00Z")
        .set("mode", "community.lexicon.calendar.event#hybrid")
        .set("status", "postponed")
        .set("rsvp_expected", true)
        .set("uris", json!([{ "uri": "https://a.test" }, { "uri": "https://b.test", "name": "B" }]))
        .set("problems", json!([{ "field": "mode", "problem": "odd" }]))
        .insert(&world)
        .await;
    event("bare").by("did:plc:bert").set("name", Value::Null).insert(&world).await;
    let uri = event_uri("did:plc:anna", "full");
    sqlx::query(
        "insert into calendar.event_locations values ($1, 0, 'address', 'n', 's', 'l', 'r', 'p', 'c', 1.5, 2, 'h', 'f',
            'https://c.test', '{}'), ($1, 1, 'org.example.place', null, null, null, null, null, null, null, null, null,
            null, null, '{}')",
    )
    .bind(&uri)
    .execute(world.pool())
    .await
    .unwrap();
    let answer = json!({ "subject_uri": uri, "subject_cid": "bafy", "subject_stale": false, "status": "going",
        "created_at": "2026-01-01T00:00:00Z", "decided_at": "2026-01-01T00:00:00Z",
        "problems": [{ "field": "x", "problem": "y" }] });
    rsvp(&world, "did:plc:anna", "full", answer).await;
    rsvp(&world, "did:plc:anna", "bare", json!({})).await;
    sqlx::query("insert into log.cursor values ('relay.test', 'relay', 1, now()), ('x.dump', 'dump', 2, null)")
        .execute(world.pool())
        .await
        .unwrap();
    world
}

#[tokio::test]
async fn answers_are_as_declared() {
    let lexicons = Lexicons::load();
    let world = full().await;
    let uri = event_uri("did:plc:anna", "full");
    let asked = [
        ("listEvents", vec![("limit", "1")]),
        ("listEvents", vec![]),
        ("getEvent", vec![("uri", uri.as_str())]),
        ("listRsvps", vec![("author", "did:plc:anna")]),
        ("listRsvps", vec![("author", "did:plc:anna"), ("limit", "1")]),
        ("getStatus", vec![]),
    ];
    for (query, params) in asked {
        let answer = world.ok(query, &params).await;
        let schema = &lexicons.def(&format!("events.almanac.{query}"))["output"]["schema"];
        let mut wrong = Vec::new();
        lexicons.judge(schema, &answer, query, &mut wrong);
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
    // The full rows show every property that is declared, so none is declared in vain.
    let one = world.ok("getEvent", &[("uri", &uri)]).await;
    let answers = world.ok("listRsvps", &[("author", "did:plc:anna")]).await;
    let status = world.ok("getStatus", &[]).await;
    for (def, shown) in [
        ("eventView", &one["event"]),
        ("author", &one["event"]["author"]),
        ("location", &one["event"]["locations"][0]),
        ("link", &one["event"]["uris"][1]),
        ("rsvpCounts", &one["event"]["rsvpCounts"]),
        ("problem", &one["event"]["problems"][0]),
        ("rsvpView", &answers["rsvps"][0]),
        ("subject", &answers["rsvps"][0]["subject"]),
        ("upstream", &status["upstreams"][0]),
        ("cursor", &status["cursors"].as_array().unwrap().iter().find(|c| c["seq"] == 1).unwrap().clone()),
    ] {
        let declared = names(&lexicons.def(&format!("events.almanac.defs#{def}"))["properties"]);
        assert_eq!(names(shown), declared, "{def}");
    }
}

fn names(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn what_is_declared_is_accepted_and_the_other_way_round() {
    let lexicons = Lexicons::load();
    let world = full().await;
    for query in QUERIES {
        let lexicon = lexicons.def(&format!("events.almanac.{query}"));
        let declared = names(&lexicon["parameters"]["properties"]);
        let (_, body) = world.http.xrpc(query, &[("undeclared", "x")]).await;
        let known = body["message"].as_str().unwrap().split_once("known: ").unwrap().1.to_owned();
        let accepted: BTreeSet<String> = known.split(", ").filter(|n| *n != "none").map(str::to_owned).collect();
        assert_eq!(accepted, declared, "{query}");

        let required: Vec<&str> =
            lexicon["parameters"]["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        for name in &declared {
            let def = &lexicon["parameters"]["properties"][name];
            for value in examples(def) {
                let mut params = vec![(name.as_str(), value)];
                params.extend(
                    required.iter().filter(|r| *r != name).map(|r| (*r, "at://did:plc:anna/a.b.c/d".to_owned())),
                );
                if query == "listRsvps" && name != "author" && name != "subject" {
                    params.push(("author", "did:plc:anna".into()));
                }
                let params: Vec<(&str, &str)> = params.iter().map(|(n, v)| (*n, v.as_ref())).collect();
                let (status, body) = world.http.xrpc(query, &params).await;
                let fits = matches!(status, 200 | 404) || (name == "cursor" && status == 400);
                assert!(fits, "{query} {params:?}: {status} {body}");
            }
        }
        for name in required {
            let (status, body) = world.http.xrpc(query, &[]).await;
            assert_eq!(status, 400, "{query} without {name}: {body}");
        }
        for error in lexicon["errors"].as_array().unwrap() {
            assert!(["RecordNotFound", "ServiceUnavailable"].contains(&error["name"].as_str().unwrap()));
        }
    }
}

/// Values that a declaration allows.
fn examples(def: &Value) -> Vec<String> {
    if let Some(words) = def["enum"].as_array() {
        return words.iter().map(|w| w.as_str().unwrap().to_owned()).collect();
    }
    match (def["type"].as_str().unwrap(), def["format"].as_str()) {
        ("integer", _) => vec![def["minimum"].to_string(), def["maximum"].to_string(), def["default"].to_string()],
        ("boolean", _) => vec!["true".into(), "false".into()],
        (_, Some("datetime")) => vec!["1985-04-12T23:20:50.123Z".into(), "2026-01-01T00:00:00-01:45".into()],
        (_, Some("at-uri")) => vec!["at://did:plc:anna/a.b.c/d".into()],
        (_, Some("at-identifier")) => vec!["did:web:a.test".into(), "anna.example.com".into()],
        _ => vec!["word".into()],
    }
}
