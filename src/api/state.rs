//! What the public listener answers from.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgPool;
use tokio::sync::Mutex;

use super::upstream::Upstreams;
use super::v1::V1State;
use super::xrpc::XrpcError;
use crate::event::Environment;
use crate::projection::query::{IndexStatus, status};

/// How long one answer about the state serves everybody: it counts rows.
const STATUS_KEPT: Duration = Duration::from_secs(1);

/// What the public listener answers from.
#[derive(Clone)]
pub struct PublicState {
    pub(super) pool: PgPool,
    pub(super) environment: Environment,
    pub(super) upstreams: Upstreams,
    pub(super) recent: Arc<RecentStatus>,
    pub(super) v1: Option<V1State>,
}

impl PublicState {
    /// `pool` serves reads only: its size bounds how many questions Postgres works on at once.
    pub fn new(pool: PgPool, environment: Environment, upstreams: Upstreams) -> Self {
        PublicState { pool, environment, upstreams, recent: Arc::default(), v1: None }
    }

    /// Also with what apps do in their users' names.
    pub fn with_v1(self, v1: V1State) -> Self {
        PublicState { v1: Some(v1), ..self }
    }
}

/// One answer about the state, shared by everybody who asks within [`STATUS_KEPT`], failures included.
#[derive(Default)]
pub(super) struct RecentStatus(Mutex<Option<(Instant, Result<IndexStatus, XrpcError>)>>);

impl RecentStatus {
    pub(super) async fn get(&self, pool: &sqlx::PgPool) -> Result<IndexStatus, XrpcError> {
        // Held while asking: those who come meanwhile wait for this one answer instead of asking too.
        let mut recent = self.0.lock().await;
        if let Some((at, answer)) = &*recent
            && at.elapsed() < STATUS_KEPT
        {
            return answer.clone();
        }
        let answer = status(pool).await.map_err(XrpcError::from);
        *recent = Some((Instant::now(), answer.clone()));
        answer
    }
}
