//! What apps do in their users' names: publish events and RSVPs, see what became of them, and let others write.
//!
//! In: requests with a token ([`token`](super::token)). Out: records with their state, as JSON, and refusals in the shape of
//! XRPC's with the fields they are about. Always true: the same request again is the same wish and no second record; every
//! address is in the document that [`openapi`] gives; a write in another's name is under a grant, and audited. Never: an answer
//! without a token that allows it, but for that document; the text of a token in a log line.
//!
//! The path names the owner of a record. The app has authenticated whoever acts, and names him in `Acting-User` when he is
//! not the owner.

mod ask;
mod auth;
mod desk;
mod document;
mod grants;
mod input;
mod intents;
mod record;
mod refusal;
mod users;
mod write;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{MethodRouter, delete, get, put};
use sqlx::PgPool;

use super::measure;
use super::xrpc::XrpcError;
use crate::publisher::MayWrite;

pub use desk::{DeskFuture, PublishDesk};
pub use document::openapi;
pub use input::{Decimal, EventInput, LinkInput, LocationInput, RsvpInput, SubjectInput};

/// The largest body, in bytes.
pub const BODY_MAX_BYTES: usize = 256_000;

/// How long a request may take beyond what it waits for a PDS.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// What these addresses answer from.
#[derive(Clone)]
pub struct V1State {
    pool: PgPool,
    desk: Arc<dyn PublishDesk>,
    may_write: MayWrite,
    wait: Duration,
}

impl V1State {
    /// `may_write`: whether this environment writes to a PDS. `wait`: how long the desk waits for one before it answers.
    pub fn new(pool: PgPool, desk: Arc<dyn PublishDesk>, may_write: MayWrite, wait: Duration) -> Self {
        V1State { pool, desk, may_write, wait }
    }
}

/// Every address with what answers there. The one list of them: the router is made of it, and a test holds the document to it.
fn routes() -> Vec<(&'static str, MethodRouter<V1State>)> {
    let events = put(write::put_event).delete(write::delete_event).get(record::get_event);
    let rsvps = put(write::put_rsvp).delete(write::delete_rsvp).get(record::get_rsvp);
    vec![
        ("/v1/openapi.json", get(document::serve)),
        ("/v1/users/{user}", get(users::get_user)),
        ("/v1/users/{user}/events", get(record::list_events)),
        ("/v1/users/{user}/events/{client_key}", events),
        ("/v1/users/{user}/rsvps", get(record::list_rsvps)),
        ("/v1/users/{user}/rsvps/{client_key}", rsvps),
        ("/v1/users/{user}/grants", get(grants::list_grants).post(grants::create_grant)),
        ("/v1/users/{user}/grants/{id}", delete(grants::revoke_grant)),
        ("/v1/users/{user}/audit", get(grants::list_audit)),
        ("/v1/intents/{id}", get(intents::get_intent)),
    ]
}

/// The addresses under `/v1`.
pub fn paths() -> Vec<&'static str> {
    routes().into_iter().map(|(path, _)| path).collect()
}

/// They, with their limits. No page of another origin may use them: a token is for servers.
pub(super) fn router(state: V1State) -> Router {
    let limit = state.wait + REQUEST_LIMIT;
    let mut router = Router::new();
    for (path, method) in routes() {
        router = router.route(path, method);
    }
    router
        .route("/v1/{*other}", axum::routing::any(nothing_here))
        .method_not_allowed_fallback(async || {
            XrpcError::method_not_allowed("not a method of this address; /v1/openapi.json lists what there is")
        })
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES))
        .layer(from_fn_with_state(limit, measure::within))
        .layer(from_fn(measure::counted))
        .with_state(state)
}

async fn nothing_here() -> XrpcError {
    XrpcError::no_such_address("there is nothing at this address; /v1/openapi.json lists what there is")
}
