//! The document and the router say the same.

use std::collections::BTreeSet;

use almanac::api::v1::{openapi, paths};
use reqwest::Method;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn every_address_is_described_and_every_description_is_an_address() {
    let world = World::new().await;
    let document = openapi();
    let described: BTreeSet<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(described, paths().into_iter().collect());
    for path in &described {
        let asked = path.replace("{user}", "anna").replace("{client_key}", "k").replace("{id}", "1");
        for method in [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::PATCH] {
            let is_described = document["paths"][path].get(method.as_str().to_lowercase()).is_some();
            let answer = world.send(world.request(method.clone(), &asked).json(&json!({}))).await;
            assert_eq!(answer.status != 405, is_described, "{method} {path}: {}", answer.body);
            let is_open = *path == "/v1/openapi.json" && method == Method::GET;
            assert!(!is_described || answer.status == if is_open { 200 } else { 401 }, "{method} {path}");
        }
    }
}

#[tokio::test]
async fn the_document_is_served_without_a_token_and_whole() {
    let world = World::new().await;
    let answer = world.send(world.request(Method::GET, "/v1/openapi.json")).await;
    assert_eq!(answer.body, openapi());
    assert_eq!(answer.body["openapi"], "3.1.0");
    assert_eq!(answer.body["info"]["version"], env!("CARGO_PKG_VERSION"));
    // Every reference leads somewhere.
    let text = answer.body.to_string();
    for part in text.split("\"#/components/schemas/").skip(1) {
        let name = part.split('"').next().unwrap();
        assert!(answer.body["components"]["schemas"][name].is_object(), "{name}");
    }
    // Everything but the document wants a token; every operation says what it does, and has parameters for what is in braces.
    assert_eq!(answer.body["security"], json!([{ "token": [] }]));
    assert_eq!(answer.body["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    let mut names = BTreeSet::new();
    for (path, operations) in answer.body["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let at = format!("{method} {path}");
            assert!(operation["summary"].is_string(), "{at} does not say what it does");
            assert!(names.insert(operation["operationId"].as_str().unwrap().to_owned()), "{at} has another's name");
            assert_eq!(operation.get("security").is_some(), path.ends_with("openapi.json"), "{at}");
            let given: BTreeSet<&str> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap())
                .collect();
            let braces = path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
            assert_eq!(given, braces, "{at}");
        }
    }
}
