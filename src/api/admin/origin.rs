//! Who may enter, for the operator's machinery: looked at, explained, changed; and a record's life, which tells whose it is.
//!
//! Requests are read here; what they mean is the business of whoever implements [`OriginDesk`].

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::Value;

use super::AdminState;
use crate::api::params::Params;
use crate::api::xrpc::XrpcError;
use crate::event::{AtUri, Did, ListChange};
use crate::telemetry::LogBudget;

/// The largest body of a change, in bytes.
pub(super) const BODY_MAX_BYTES: usize = 16_000;

static LINES: LazyLock<LogBudget> = LazyLock::new(|| LogBudget::new(6));

/// What an answer is made of.
pub type Told = Pin<Box<dyn Future<Output = Result<Value, DeskError>> + Send>>;

/// Whoever knows and changes who may enter.
pub trait OriginDesk: Send + Sync {
    /// The entries, files and links; with an account, those about it.
    fn view(&self, did: Option<Did>) -> Told;
    /// The standing of an account, and what it was decided from.
    fn explain(&self, did: Did) -> Told;
    /// Makes a change.
    fn change(&self, wish: OriginWish) -> Told;
    /// The whole life of one record.
    fn trace(&self, uri: AtUri) -> Told;
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeskError {
    /// What was asked for makes no sense: why.
    Invalid(String),
    /// There is nothing to take back.
    NotFound(String),
    /// The database does not answer, or not as it should: for the log.
    Unavailable(String),
}

impl From<DeskError> for XrpcError {
    fn from(error: DeskError) -> Self {
        match error {
            DeskError::Invalid(why) => XrpcError::invalid(why),
            DeskError::NotFound(what) => XrpcError::not_found("EntryNotFound", what),
            DeskError::Unavailable(detail) => {
                if let Some(permit) = LINES.take("origin") {
                    tracing::warn!(detail, suppressed = permit.suppressed, "who may enter cannot be read or changed");
                }
                XrpcError::unavailable("the database is not available at the moment")
            }
        }
    }
}

/// A change that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginWish {
    /// [`ListChange::Allow`], [`ListChange::Deny`] or [`ListChange::Forget`].
    pub change: ListChange,
    /// Whose entry.
    pub did: Did,
    /// Why, as it was sent.
    pub why: Option<String>,
    /// By whom, as it was sent.
    pub who: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    change: String,
    did: String,
    why: Option<String>,
    who: Option<String>,
}

impl OriginWish {
    fn parse(body: &[u8]) -> Result<Self, String> {
        let wanted = r#"wanted is {"change":"allow|deny|forget","did":"did:…","why":"…","who":"…"}"#;
        let body: Body = serde_json::from_slice(body).map_err(|e| format!("the body cannot be read: {e}; {wanted}"))?;
        let changes = [ListChange::Allow, ListChange::Deny, ListChange::Forget];
        let change = changes.into_iter().find(|change| change.as_str() == body.change);
        let change = change.ok_or_else(|| format!("`change` is {:?}, and not allow, deny or forget", body.change))?;
        let did = Did::parse(&body.did).map_err(|e| format!("`did`: {e}"))?;
        Ok(OriginWish { change, did, why: body.why, who: body.who })
    }
}

fn desk(state: &AdminState) -> Result<&Arc<dyn OriginDesk>, XrpcError> {
    state.origin.as_ref().ok_or_else(|| XrpcError::no_such_address("this process does not decide who may enter"))
}

fn did(params: &Params) -> Result<Option<Did>, XrpcError> {
    params.read("did", |text| Did::parse(text).map_err(|e| XrpcError::invalid(format!("`did`: {e}"))))
}

fn answer(value: Value) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(value)).into_response()
}

/// `GET /admin/origin`
pub(super) async fn view(State(state): State<AdminState>, RawQuery(query): RawQuery) -> Result<Response, XrpcError> {
    let params = Params::parse(query.as_deref(), &["did"])?;
    Ok(answer(desk(&state)?.view(did(&params)?).await?))
}

/// `GET /admin/origin/explain`
pub(super) async fn explain(State(state): State<AdminState>, RawQuery(query): RawQuery) -> Result<Response, XrpcError> {
    let params = Params::parse(query.as_deref(), &["did"])?;
    let did = did(&params)?.ok_or_else(|| XrpcError::invalid("`did` is missing: the account to explain"))?;
    Ok(answer(desk(&state)?.explain(did).await?))
}

/// `GET /admin/trace`
pub(super) async fn trace(State(state): State<AdminState>, RawQuery(query): RawQuery) -> Result<Response, XrpcError> {
    let params = Params::parse(query.as_deref(), &["uri"])?;
    let uri =
        params.read("uri", |text| text.parse::<AtUri>().map_err(|e| XrpcError::invalid(format!("`uri`: {e}"))))?;
    let uri = uri.ok_or_else(|| XrpcError::invalid("`uri` is missing: at://DID/COLLECTION/RKEY"))?;
    Ok(answer(desk(&state)?.trace(uri).await?))
}

/// `POST /admin/origin`
pub(super) async fn change(
    State(state): State<AdminState>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, XrpcError> {
    let body =
        body.map_err(|_| XrpcError::invalid(format!("the body is broken off or above {BODY_MAX_BYTES} bytes")))?;
    let wish = OriginWish::parse(&body).map_err(XrpcError::invalid)?;
    Ok(answer(desk(&state)?.change(wish).await?))
}
