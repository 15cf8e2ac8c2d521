//! Who is asking, and whether the token allows it.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};

use super::V1State;
use super::refusal::Refusal;
use crate::api::token::{self, Caller, Scope, Unknown};
use crate::api::xrpc::XrpcError;
use crate::projection::query::ACQUIRE_LIMIT;

/// Whoever shows a token that allows reading.
pub(super) struct Reader;

/// Whoever shows a token that allows publishing.
pub(super) struct Writer;

/// Whoever shows a token that allows granting; the token's name.
pub(super) struct Granter(pub String);

impl FromRequestParts<V1State> for Reader {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &V1State) -> Result<Self, Refusal> {
        allowed(parts, state, Scope::Read).await.map(|_| Reader)
    }
}

impl FromRequestParts<V1State> for Writer {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &V1State) -> Result<Self, Refusal> {
        allowed(parts, state, Scope::Publish).await.map(|_| Writer)
    }
}

impl FromRequestParts<V1State> for Granter {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &V1State) -> Result<Self, Refusal> {
        allowed(parts, state, Scope::Grants).await.map(|caller| Granter(caller.name))
    }
}

async fn allowed(parts: &Parts, state: &V1State, scope: Scope) -> Result<Caller, Refusal> {
    let unauthorized = |why: String| Refusal::new(StatusCode::UNAUTHORIZED, "AuthenticationRequired", why);
    let given = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given =
        given.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    let Some((_, given)) = given else {
        return Err(unauthorized(
            "send a token as `Authorization: Bearer TOKEN`; `almanac tokens create` makes one".into(),
        ));
    };
    // Short, so that a database that is away is told as such and not waited for.
    let asked = tokio::time::timeout(ACQUIRE_LIMIT, token::caller(&state.pool, given.trim())).await;
    let caller = match asked {
        Err(_) => return Err(XrpcError::unavailable("the database is not available at the moment").into()),
        Ok(Err(Unknown::Database(error))) => return Err(error.into()),
        Ok(Err(unknown)) => return Err(unauthorized(unknown.to_string())),
        Ok(Ok(caller)) => caller,
    };
    if !caller.may(scope) {
        let why = format!("the token {:?} has not the scope `{}`", caller.name, scope.as_str());
        return Err(Refusal::forbidden("ScopeRequired", why));
    }
    Ok(caller)
}
