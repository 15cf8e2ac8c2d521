//! Who is let in.

use std::time::Duration;

use almanac::api::token::{self, Scope, TokenError};
use chrono::TimeDelta;
use reqwest::Method;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn nobody_enters_without_a_token_that_is_one() {
    let world = World::new().await;
    let cut = &world.token[..world.token.len() - 1];
    let other = format!("alm_{}", "A".repeat(43));
    for header in [
        None,
        Some("".to_owned()),
        Some(format!("Basic {}", world.token)),
        Some(world.token.clone()),
        Some("Bearer".to_owned()),
        Some(format!("Bearer {cut}")),
        Some(format!("Bearer {}x", world.token)),
        Some(format!("Bearer {}", world.token.to_uppercase())),
        Some(format!("Bearer {other}")),
    ] {
        for (method, path) in [
            (Method::GET, "/v1/users/anna"),
            (Method::GET, "/v1/intents/7"),
            (Method::PUT, "/v1/users/anna/events/k"),
            (Method::DELETE, "/v1/users/anna/rsvps/k"),
            (Method::POST, "/v1/users/anna/grants"),
            (Method::GET, "/v1/users/anna/audit"),
        ] {
            let mut request = world.request(method, path).json(&json!({ "name": "x" }));
            if let Some(header) = &header {
                request = request.header("authorization", header);
            }
            let answer = world.send(request).await;
            answer.is(401, "AuthenticationRequired");
            assert!(answer.header("www-authenticate").starts_with("Bearer"));
            assert!(!answer.body.to_string().contains(&world.token), "the token is not told");
        }
    }
    assert_eq!(world.wishes(), 0);
    assert_eq!(world.get("/v1/users/anna").await.status, 200);
}

#[tokio::test]
async fn a_scope_opens_what_it_names_and_nothing_else() {
    let world = World::new().await;
    let event = json!({ "name": "x" });
    let grant = json!({ "grantee_user": "bert" });
    for scope in Scope::ALL {
        let token = world.token(scope.as_str(), &[scope]).await;
        for (needed, method, path, body) in [
            (Scope::Read, Method::GET, "/v1/users/anna", None),
            (Scope::Read, Method::GET, "/v1/users/anna/events", None),
            (Scope::Publish, Method::PUT, "/v1/users/anna/events/k", Some(&event)),
            (Scope::Publish, Method::DELETE, "/v1/users/anna/events/k", None),
            (Scope::Grants, Method::POST, "/v1/users/anna/grants", Some(&grant)),
            (Scope::Grants, Method::GET, "/v1/users/anna/grants", None),
            (Scope::Grants, Method::GET, "/v1/users/anna/audit", None),
        ] {
            let request = world.request(method.clone(), path).bearer_auth(&token);
            let request = if let Some(body) = body { request.json(body) } else { request };
            let answer = world.send(request).await;
            if needed == scope {
                assert!(answer.status < 300, "{method} {path}: {}", answer.body);
            } else {
                answer.is(403, "ScopeRequired");
            }
        }
    }
}

#[tokio::test]
async fn a_revoked_token_and_one_that_expired_let_nobody_in_at_once() {
    let world = World::new().await;
    let token = world.token("app", &[Scope::Read]).await;
    let ask = async || world.send(world.request(Method::GET, "/v1/users/anna").bearer_auth(&token)).await;
    assert_eq!(ask().await.status, 200);
    let row = token::revoke(world.pool(), "app").await.unwrap().unwrap();
    assert!(!row.in_force);
    let answer = ask().await;
    answer.is(401, "AuthenticationRequired");
    assert!(answer.body["message"].as_str().unwrap().contains("revoked"));
    let again = token::revoke(world.pool(), &row.id.to_string()).await.unwrap().unwrap();
    assert_eq!(again.revoked_at, row.revoked_at, "the first moment stays");
    assert!(token::revoke(world.pool(), "nobody").await.unwrap().is_none());

    let lasts = Some(TimeDelta::days(90));
    let (row, text) = token::create(world.pool(), "short", &[Scope::Read], lasts, "test").await.unwrap();
    let days = (row.expires_at.unwrap() - row.created_at).num_days();
    assert_eq!((days, row.in_force), (90, true));
    let ask = async || world.send(world.request(Method::GET, "/v1/users/anna").bearer_auth(text.reveal())).await;
    assert_eq!(ask().await.status, 200);
    sqlx::query("update api.token set expires_at = now() where name = 'short'").execute(world.pool()).await.unwrap();
    let answer = ask().await;
    answer.is(401, "AuthenticationRequired");
    assert!(answer.body["message"].as_str().unwrap().contains("expired"));
}

#[tokio::test]
async fn only_a_hash_is_stored_and_use_is_noted_once_a_minute() {
    let world = World::new().await;
    let dump: String =
        sqlx::query_scalar("select string_agg(t::text, ' ') from api.token t").fetch_one(world.pool()).await.unwrap();
    assert!(!dump.contains(&world.token) && !dump.contains(&world.token[4..]), "{dump}");
    let used = async || -> Option<chrono::DateTime<chrono::Utc>> {
        token::list(world.pool()).await.unwrap().remove(0).last_used_at
    };
    assert_eq!(used().await, None);
    world.get("/v1/users/anna").await;
    let first = used().await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    world.get("/v1/users/anna").await;
    assert_eq!(used().await, Some(first));
    let ago = "update api.token set last_used_at = last_used_at - interval '61 seconds'";
    sqlx::query(ago).execute(world.pool()).await.unwrap();
    world.get("/v1/users/anna").await;
    assert!(used().await.unwrap() > first);
}

#[tokio::test]
async fn a_token_that_makes_no_sense_is_not_made() {
    let world = World::new().await;
    let make =
        async |name: &str, scopes: &[Scope], lasts| token::create(world.pool(), name, scopes, lasts, "test").await;
    assert!(matches!(make("all", &[Scope::Read], None).await, Err(TokenError::Taken(_))), "names are not used twice");
    token::revoke(world.pool(), "all").await.unwrap();
    assert!(matches!(make("all", &[Scope::Read], None).await, Err(TokenError::Taken(_))), "nor after a revocation");
    for (name, scopes, lasts) in [
        ("", &[Scope::Read][..], None),
        (" a", &[Scope::Read], None),
        ("a\nb", &[Scope::Read], None),
        // `revoke` takes a name or a number.
        ("12", &[Scope::Read], None),
        (&"x".repeat(101), &[Scope::Read], None),
        ("a", &[], None),
        ("a", &[Scope::Read], Some(TimeDelta::zero())),
    ] {
        assert!(matches!(make(name, scopes, lasts).await, Err(TokenError::Invalid(_))), "{name:?}");
    }
    let (row, _) = make("a b", &[Scope::Publish, Scope::Read, Scope::Read], None).await.unwrap();
    assert_eq!(row.scopes, ["read", "publish"]);
}

#[tokio::test]
async fn no_page_of_another_origin_is_let_read() {
    let world = World::new().await;
    let request = world.request(Method::GET, "/v1/users/anna").bearer_auth(&world.token);
    let answer = world.send(request.header("origin", "https://app.test")).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), "");
    assert_eq!(answer.header("cache-control"), "no-store");
}
