//! The admin listener: health, metrics and state, for the operator and the operator's machinery.
//!
//! It listens on loopback unless it is told otherwise. What only reads is open to whoever reaches it; who may enter is shown
//! and changed for a token alone ([`AdminToken`]), and for nobody while none is set.

mod origin;
mod token;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use sqlx::PgPool;

use self::origin::BODY_MAX_BYTES;
use super::health::{Check, Health};
use super::measure;
use super::queries::StatusView;
use super::upstream::Upstreams;
use super::xrpc::XrpcError;
use crate::event::Environment;
use crate::projection::query::{ping, status};

pub use origin::{DeskError, OriginDesk, OriginWish, Told};
pub use token::AdminToken;

const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// How long gauges may take to be brought up to date before a scrape shows them as they are.
const REFRESH_LIMIT: Duration = Duration::from_secs(2);

/// Brings gauges up to date right before a scrape.
pub type Refresh = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// What is in quarantine, for `/admin/status`; `None` when that cannot be said now.
pub type Quarantine = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Option<serde_json::Value>> + Send>> + Send + Sync>;

/// What the admin listener answers from.
#[derive(Clone)]
pub struct AdminState {
    /// Reads the index.
    pub pool: PgPool,
    /// What this process runs as.
    pub environment: Environment,
    /// Where the parts of the process report.
    pub health: Arc<Health>,
    /// The state of the upstreams.
    pub upstreams: Upstreams,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// Called before each scrape.
    pub refresh: Option<Refresh>,
    /// What opens the addresses that need a token.
    pub token: Option<AdminToken>,
    /// Knows and changes who may enter.
    pub origin: Option<Arc<dyn OriginDesk>>,
    /// Counts what is in quarantine.
    pub quarantine: Option<Quarantine>,
}

/// The addresses of the admin listener.
pub fn router(state: AdminState) -> Router {
    let guard = from_fn_with_state(state.token.clone().map(Arc::new), token::guard);
    let guarded = Router::new()
        .route("/admin/origin", get(origin::view).post(origin::change))
        .route("/admin/origin/explain", get(origin::explain))
        .route("/admin/trace", get(origin::trace))
        .route_layer(guard)
        .layer(DefaultBodyLimit::max(BODY_MAX_BYTES));
    Router::new()
        .merge(guarded)
        .route("/", get(home))
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/metrics", get(scrape))
        .route("/admin/status", get(admin_status))
        .fallback(async || {
            XrpcError::no_such_address(
                "there is nothing at this address; see /health/live, /health/ready, /metrics, /admin/status and /admin/origin",
            )
        })
        .method_not_allowed_fallback(async || XrpcError::method_not_allowed("use GET; only /admin/origin takes POST"))
        .layer(from_fn_with_state(REQUEST_LIMIT, measure::within))
        .with_state(state)
}

async fn home() -> &'static str {
    "Almanac, for its operator\n\n/health/live\n/health/ready\n/metrics\n/admin/status\n/admin/origin\n/admin/origin/explain?did=\n/admin/trace?uri=\n"
}

/// Alive: the process answers. Says nothing about anything else, so that no database outage makes a supervisor kill
/// a process that only waits for it.
async fn live() -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "no-store")], "live\n")
}

#[derive(Serialize)]
struct Readiness {
    ready: bool,
    environment: String,
    checks: Vec<Check>,
}

impl Readiness {
    /// Asks the database now, and the parts of the process for what they reported last.
    async fn find(state: &AdminState) -> Self {
        let database = ping(&state.pool).await;
        let mut checks = vec![Check {
            name: "database".to_owned(),
            ok: database.is_ok(),
            reason: database.err().map(|e| e.to_string()),
        }];
        checks.extend(state.health.checks());
        let ready = checks.iter().all(|check| check.ok);
        Readiness { ready, environment: state.environment.as_str().to_owned(), checks }
    }
}

async fn ready(State(state): State<AdminState>) -> impl IntoResponse {
    let readiness = Readiness::find(&state).await;
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CACHE_CONTROL, "no-store")], Json(readiness))
}

async fn scrape(State(state): State<AdminState>) -> impl IntoResponse {
    if let Some(refresh) = &state.refresh {
        // A scrape must not fail because the database does: that is when its numbers are wanted most.
        let _late = tokio::time::timeout(REFRESH_LIMIT, refresh()).await;
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], state.metrics.render())
}

#[derive(Serialize)]
struct AdminStatus {
    #[serde(flatten)]
    status: StatusView,
    health: Readiness,
    #[serde(skip_serializing_if = "Option::is_none")]
    quarantine: Option<serde_json::Value>,
}

async fn admin_status(State(state): State<AdminState>) -> Result<Response, XrpcError> {
    let set_aside = async {
        match &state.quarantine {
            Some(count) => count().await,
            None => None,
        }
    };
    let (index, health, quarantine) = tokio::join!(status(&state.pool), Readiness::find(&state), set_aside);
    let status = StatusView::new(state.environment.as_str(), (state.upstreams)(), index?);
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(AdminStatus { status, health, quarantine })).into_response())
}
