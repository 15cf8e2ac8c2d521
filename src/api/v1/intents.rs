//! One wish and how far it is.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;

use super::V1State;
use super::ask::IntentPath;
use super::auth::Reader;
use super::record::json;
use super::refusal::{ErrorAnswer, Refusal};
use crate::publisher::IntentView;

/// A wish and how far it is.
#[utoipa::path(get, path = "/v1/intents/{id}", tag = "records", params(IntentPath), responses(
    (status = 200, body = IntentView, description = "The wish"),
    (status = "default", body = ErrorAnswer, description = "Why not"),
))]
pub(super) async fn get_intent(
    State(state): State<V1State>,
    _: Reader,
    IntentPath { id }: IntentPath,
) -> Result<Response, Refusal> {
    match state.desk.intent(id).await? {
        Some(intent) => Ok(json(StatusCode::OK, intent)),
        None => Err(Refusal::new(StatusCode::NOT_FOUND, "IntentNotFound", format!("there is no intent {id}"))),
    }
}
