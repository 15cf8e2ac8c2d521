//! The PLC directory: `GET /{did}`, `/{did}/data`, `/{did}/log/audit`. Spec: <https://web.plc.directory/spec/v0.1/did-plc>.

use serde_json::{Value as Json, json};

use super::faults::{Fault, Occasion, Place, Sort};
use super::http::{Reply, decode_percent};
use super::state::State;

const DID_LD_JSON: &str = "application/did+ld+json; charset=utf-8";

pub(super) fn answer(state: &mut State, path: &str) -> Reply {
    let path = decode_percent(path.trim_start_matches('/'));
    let (did, what) = path.split_once('/').unwrap_or((&path, ""));
    if did.is_empty() || did == "_health" {
        return Reply::json(&json!({"version": "devnet"}));
    }
    let now = Occasion { did: Some(did), ..Occasion::default() };
    let who = state.who(did).filter(|who| !state.actors[*who].web);
    let has_older = who.is_some_and(|who| state.actors[who].document_before.is_some());
    let fits = |fault: &Fault, _: &[Fault]| *fault != Fault::OldDocument || has_older;
    let due = state.faults.due(Sort::Document, Place::Plc, &now, fits);
    let copied = state.copied.get(did).filter(|_| who.is_none() && what.is_empty());
    if let Some(document) = copied.filter(|_| !due.contains(&Fault::NoDocument)) {
        return Reply { content_type: DID_LD_JSON, ..Reply::json(document) };
    }
    let Some(who) = who.filter(|_| !due.contains(&Fault::NoDocument)) else {
        let body = json!({"message": format!("DID not registered: {did}")});
        return Reply { status: 404, ..Reply::json(&body) };
    };
    let actor = &state.actors[who];
    let document = if due.contains(&Fault::OldDocument) { &actor.document_before } else { &actor.document };
    let reply = match (what, document) {
        ("log/audit", _) => Reply::json(&audit(did, &actor.log)),
        ("log", _) => Reply::json(&Json::Array(actor.log.iter().map(operation).collect())),
        (_, None) => {
            let body = json!({"message": format!("DID not available: {did}")});
            return Reply { status: 410, ..Reply::json(&body) };
        }
        ("data", Some(document)) => Reply::json(&data(did, document)),
        ("", Some(document)) => Reply::json(document),
        _ => return Reply { status: 404, ..Reply::json(&json!({"message": "Not Found"})) },
    };
    match what {
        "" => Reply { content_type: DID_LD_JSON, ..reply },
        _ => reply,
    }
}

/// What a document says, in the words of an operation. Operations here are not signed.
fn operation(document: &Json) -> Json {
    json!({
        "type": "plc_operation",
        "alsoKnownAs": document["alsoKnownAs"],
        "verificationMethods": {"atproto": did_key(document)},
        "services": services(document),
    })
}

fn data(did: &str, document: &Json) -> Json {
    let mut data = operation(document);
    data["did"] = did.into();
    data
}

fn services(document: &Json) -> Json {
    let endpoint = &document["service"][0]["serviceEndpoint"];
    json!({"atproto_pds": {"type": "AtprotoPersonalDataServer", "endpoint": endpoint}})
}

fn did_key(document: &Json) -> String {
    format!("did:key:{}", document["verificationMethod"][0]["publicKeyMultibase"].as_str().unwrap_or_default())
}

fn audit(did: &str, log: &[Json]) -> Json {
    let entries = log.iter().map(|document| json!({"did": did, "operation": operation(document), "nullified": false}));
    Json::Array(entries.collect())
}
