//! The part of the admin listener that needs a token, over somebody who only notes what it is asked.

use almanac::api::admin::{DeskError, OriginDesk, OriginWish, Told};
use almanac::event::{AtUri, Did, ListChange};
use reqwest::Method;
use serde_json::{Value, json};

use crate::world::World;

pub const TOKEN: &str = "a-token-of-the-tests+/=";

/// Answers with what it was asked; what some accounts bring is trouble.
pub struct Stub;

fn told(value: Result<Value, DeskError>) -> Told {
    Box::pin(std::future::ready(value))
}

impl OriginDesk for Stub {
    fn view(&self, did: Option<Did>) -> Told {
        told(Ok(json!({ "view": did.map(|did| did.to_string()) })))
    }

    fn explain(&self, did: Did) -> Told {
        told(Ok(json!({ "explain": did.as_str() })))
    }

    fn trace(&self, uri: AtUri) -> Told {
        told(Ok(json!({ "trace": uri.to_string() })))
    }

    fn change(&self, wish: OriginWish) -> Told {
        told(match wish.did.as_str() {
            "did:web:invalid.example" => Err(DeskError::Invalid("`why` is empty".to_owned())),
            "did:web:nobody.example" => Err(DeskError::NotFound("nothing was entered".to_owned())),
            "did:web:down.example" => Err(DeskError::Unavailable("the secret name of a host".to_owned())),
            did => Ok(json!({ "did": did, "change": wish.change.as_str(), "why": wish.why, "who": wish.who })),
        })
    }
}

async fn ask(world: &World, method: Method, path: &str, authorization: &str, body: &str) -> (u16, Value) {
    let request = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = request.request(method, format!("{}{path}", world.http.admin)).body(body.to_owned());
    let response = request.header("authorization", authorization).send().await.unwrap();
    let status = response.status().as_u16();
    let bearer = response.headers().get("www-authenticate").map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(bearer.as_deref(), (status == 401).then_some("Bearer"), "{status}");
    assert_eq!(response.headers()["cache-control"], "no-store");
    (status, response.json().await.unwrap())
}

#[tokio::test]
async fn only_the_token_opens() {
    let world = World::new().await;
    let right = format!("Bearer {TOKEN}");
    for (authorization, want) in [
        (right.as_str(), 200),
        (&format!("bearer {TOKEN}"), 200),
        (&format!("Bearer {TOKEN}="), 401),
        (&format!("Bearer {}", &TOKEN[1..]), 401),
        (&format!("Basic {TOKEN}"), 401),
        (TOKEN, 401),
        ("Bearer", 401),
        ("", 401),
    ] {
        let (status, answer) = ask(&world, Method::GET, "/admin/origin", authorization, "").await;
        assert_eq!(status, want, "{authorization}: {answer}");
        assert!(!answer.to_string().contains(TOKEN), "{answer}");
    }
    // What only reads state stays open to whoever reaches the listener.
    assert_eq!(world.http.get(&format!("{}/admin/status", world.http.admin)).await.0, 200);
    // And the public one knows nothing of it.
    assert_eq!(world.http.get(&format!("{}/admin/origin", world.http.public)).await.0, 404);
}

#[tokio::test]
async fn what_is_asked_is_passed_on_and_what_cannot_be_read_is_named() {
    let world = World::new().await;
    let bearer = format!("Bearer {TOKEN}");
    let get = async |path: &str| ask(&world, Method::GET, path, &bearer, "").await;
    assert_eq!(get("/admin/origin").await, (200, json!({ "view": null })));
    assert_eq!(get("/admin/origin?did=did:web:a.example").await, (200, json!({ "view": "did:web:a.example" })));
    assert_eq!(
        get("/admin/origin/explain?did=did:web:a.example").await,
        (200, json!({ "explain": "did:web:a.example" }))
    );
    let uri = "at://did:web:a.example/community.lexicon.calendar.event/x";
    assert_eq!(get(&format!("/admin/trace?uri={uri}")).await, (200, json!({ "trace": uri })));
    for (path, word) in [
        ("/admin/trace", "`uri` is missing"),
        ("/admin/trace?uri=did:web:a.example", "`uri`"),
        ("/admin/origin?did=a.example", "did"),
        ("/admin/origin?dids=did:web:a.example", "dids"),
        ("/admin/origin/explain", "`did` is missing"),
        ("/admin/origin/explain?did=", "DID"),
    ] {
        let (status, answer) = get(path).await;
        let message = answer["message"].as_str().unwrap();
        assert_eq!((status, &answer["error"]), (400, &json!("InvalidRequest")), "{path}");
        assert!(message.contains(word), "{path}: {message}");
    }

    let post = async |body: &str| ask(&world, Method::POST, "/admin/origin", &bearer, body).await;
    for change in [ListChange::Allow, ListChange::Deny, ListChange::Forget] {
        let wish = json!({"change": change.as_str(), "did": "did:web:a.example", "why": "w", "who": "a"});
        assert_eq!(post(&wish.to_string()).await, (200, wish));
    }
    let did = |did: &str| json!({"change": "deny", "did": did}).to_string();
    for (body, want, error, word) in [
        ("", 400, "InvalidRequest", "wanted is"),
        ("{", 400, "InvalidRequest", "wanted is"),
        ("[]", 400, "InvalidRequest", "wanted is"),
        (r#"{"change":"deny"}"#, 400, "InvalidRequest", "did"),
        (r#"{"change":"link","did":"did:web:a.example"}"#, 400, "InvalidRequest", "link"),
        (r#"{"change":"deny","did":"a.example"}"#, 400, "InvalidRequest", "`did`"),
        (r#"{"change":"deny","did":"did:web:a.example","when":"now"}"#, 400, "InvalidRequest", "when"),
        (&did(&"x".repeat(20_000)), 400, "InvalidRequest", "16000 bytes"),
        (&did("did:web:invalid.example"), 400, "InvalidRequest", "`why` is empty"),
        (&did("did:web:nobody.example"), 404, "EntryNotFound", "nothing"),
        (&did("did:web:down.example"), 503, "ServiceUnavailable", "database"),
    ] {
        let (status, answer) = post(body).await;
        let message = answer["message"].as_str().unwrap();
        assert_eq!((status, answer["error"].as_str()), (want, Some(error)), "{message}");
        assert!(message.contains(word) && !message.contains("secret"), "{message}");
    }
    let (status, answer) = ask(&world, Method::DELETE, "/admin/origin", &bearer, "").await;
    assert_eq!(status, 405, "{answer}");
}
