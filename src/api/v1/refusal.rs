//! Refusals: in the shape that XRPC gives them, with what an app needs to mend it.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::record::RecordAnswer;
use crate::api::xrpc::XrpcError;
use crate::calendar::FieldError;
use crate::projection::query::QueryError;
use crate::publisher::Conflict;
use crate::publisher::grants::{GrantError, Refused};

/// A fault of the input.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FieldFault {
    /// Path of the field, such as `locations[0].latitude`; empty: the input as a whole.
    pub field: String,
    /// What is the matter and what would be right.
    pub problem: String,
}

/// Why it was not done.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ErrorAnswer {
    /// A word for programs.
    error: String,
    /// The same for people.
    message: String,
    /// Every fault of the input.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    fields: Vec<FieldFault>,
    /// The fields that both sides changed, with both values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    conflict: Vec<Conflict>,
    /// The record as it stands; its `cid` is the version to edit next.
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<RecordAnswer>,
}

/// A refusal on its way out.
#[derive(Debug)]
pub(super) struct Refusal(Box<(StatusCode, ErrorAnswer)>);

impl Refusal {
    pub fn new(status: StatusCode, error: &str, message: impl Into<String>) -> Self {
        let answer = ErrorAnswer {
            error: error.to_owned(),
            message: message.into(),
            fields: Vec::new(),
            conflict: Vec::new(),
            record: None,
        };
        Refusal(Box::new((status, answer)))
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Refusal::new(StatusCode::BAD_REQUEST, "InvalidRequest", message)
    }

    pub fn forbidden(error: &str, message: impl Into<String>) -> Self {
        Refusal::new(StatusCode::FORBIDDEN, error, message)
    }

    pub fn no_user(user: &str) -> Self {
        let message = format!(
            "user {user:?} has no network account here; `almanac identity create` makes one, `identity link` names one"
        );
        Refusal::new(StatusCode::NOT_FOUND, "UserNotFound", message)
    }

    /// The draft has faults.
    pub fn faults(faults: Vec<FieldError>) -> Self {
        let count = faults.len();
        let first = faults.first().map_or(String::new(), |fault| match fault.field.is_empty() {
            true => format!(": {}", fault.problem),
            false => format!(": {}: {}", fault.field, fault.problem),
        });
        let more = if count > 1 { format!(" (and {} more, see `fields`)", count - 1) } else { String::new() };
        let message = format!("what was sent cannot be published{first}{more}");
        let mut refusal = Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "InvalidDraft", message);
        refusal.0.1.fields =
            faults.into_iter().map(|FieldError { field, problem }| FieldFault { field, problem }).collect();
        refusal
    }

    pub fn with_conflict(mut self, conflict: Vec<Conflict>) -> Self {
        self.0.1.conflict = conflict;
        self
    }

    pub fn with_record(mut self, record: RecordAnswer) -> Self {
        self.0.1.record = Some(record);
        self
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, answer) = *self.0;
        let mut response = (status, [(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response();
        let headers = response.headers_mut();
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"almanac\""));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            _ => {}
        }
        response
    }
}

impl From<XrpcError> for Refusal {
    fn from(error: XrpcError) -> Self {
        let (status, error, message) = error.parts();
        Refusal::new(status, error, message)
    }
}

impl From<sqlx::Error> for Refusal {
    fn from(error: sqlx::Error) -> Self {
        XrpcError::from(QueryError::from(error)).into()
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Database(error) => error.into(),
            Refused::Rsvp | Refused::NoGrant { .. } => Refusal::forbidden("GrantRequired", refused.to_string()),
        }
    }
}

impl From<GrantError> for Refusal {
    fn from(error: GrantError) -> Self {
        match error {
            GrantError::Invalid(why) => Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "InvalidGrant", why),
            GrantError::Database(error) => error.into(),
        }
    }
}
