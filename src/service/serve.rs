//! `serve`: upstreams in, HTTP out, until told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use arc_swap::ArcSwap;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::upstreams::Upstreams;
use super::{lead, lists, stop};
use crate::api::admin::AdminState;
use crate::api::public::PublicState;
use crate::api::{self, Health};
use crate::config::Settings;
use crate::db::Db;
use crate::filter::Policy;
use crate::ingest::{Cursors, Ingest, IngestError, Judge, Sink, load_cursors, load_scope};
use crate::projection::{ProjectionError, Projector};
use crate::source::{QueueLimits, delivery_queue};

/// What `/health/ready` looks at beside the database itself.
const CHECKS: [&str; 4] = ["appender", "log", "index", "upstreams"];
/// How often the state of the upstreams is put on the health board.
const HEALTH_EVERY: Duration = Duration::from_millis(500);
/// How long reading what ingest remembers may take: some seconds for millions of accounts.
const LOAD_LIMIT: Duration = Duration::from_secs(120);

/// Where a running `serve` listens.
#[derive(Clone, Copy, Debug)]
pub struct Addresses {
    /// XRPC queries.
    pub public: SocketAddr,
    /// Health and metrics.
    pub admin: SocketAddr,
}

/// Serves until `stopped` turns true. `ready` is told the addresses once both listeners answer.
pub async fn serve(
    settings: Settings,
    db: Db,
    metrics: PrometheusHandle,
    stopped: watch::Receiver<bool>,
    ready: impl FnOnce(Addresses),
) -> anyhow::Result<()> {
    let seen = lists::Seen::now(&settings);
    let policy = Arc::new(ArcSwap::from_pointee(settings.policy()?));
    let cursors = Arc::new(Cursors::default());
    let upstreams = Arc::new(Upstreams::new(&settings, cursors.clone()));
    let health = Arc::new(Health::new(CHECKS));
    let public = bind(settings.listen_public, "listen.public").await?;
    let admin = bind(settings.listen_admin, "listen.admin").await?;
    let addresses = Addresses { public: public.local_addr()?, admin: admin.local_addr()? };

    let mut around = JoinSet::new();
    // Ends with `stopped`, or when the main work ends by itself.
    let (end, ended) = watch::channel(false);
    let views: api::Upstreams = {
        let upstreams = upstreams.clone();
        Arc::new(move || upstreams.views())
    };
    let state = PublicState::new(db.pool().clone(), settings.environment.clone(), views.clone());
    around.spawn(api::serve(public, api::public::router(state), stop::wait(ended.clone())));
    let state = AdminState {
        pool: db.pool().clone(),
        environment: settings.environment.clone(),
        health: health.clone(),
        upstreams: views,
        metrics: metrics.clone(),
        refresh: Some({
            let upstreams = upstreams.clone();
            Arc::new(move || {
                upstreams.refresh_gauges();
                Box::pin(std::future::ready(()))
            })
        }),
    };
    around.spawn(api::serve(admin, api::admin::router(state), stop::wait(ended.clone())));
    around.spawn(lists::watch(settings.clone(), seen, policy.clone(), ended.clone()));
    around.spawn(report_upstreams(upstreams.clone(), health.clone(), ended.clone()));
    tokio::spawn(crate::telemetry::upkeep(metrics));
    ready(addresses);

    let outcome = work(&db, &policy, &cursors, &upstreams, &health, stopped).await;
    end.send_replace(true);
    while around.join_next().await.is_some() {}
    outcome
}

async fn bind(address: SocketAddr, name: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("cannot listen on {address}; change `{name}`, or stop what listens there"))
}

async fn report_upstreams(upstreams: Arc<Upstreams>, health: Arc<Health>, stopped: watch::Receiver<bool>) {
    loop {
        health.set("upstreams", upstreams.health());
        tokio::select! {
            () = stop::wait(stopped.clone()) => return,
            () = tokio::time::sleep(HEALTH_EVERY) => {}
        }
    }
}

/// Waits for its turn to append, works, and waits again if another process took over.
async fn work(
    db: &Db,
    policy: &Arc<ArcSwap<Policy>>,
    cursors: &Arc<Cursors>,
    upstreams: &Arc<Upstreams>,
    health: &Arc<Health>,
    stopped: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    if upstreams.is_empty() {
        tracing::warn!("no upstream is configured: nothing new will come in (set source.relays, or give --relay URL)");
    }
    loop {
        let mut told = false;
        let waiting = |why: String| {
            if !told {
                tracing::info!("{why}");
                told = true;
            }
            health.set("appender", Err(why));
        };
        let Some((appender, name)) = lead::wait(db, stopped.clone(), waiting).await? else { return Ok(()) };
        health.set("appender", Ok(()));
        let load = async { anyhow::Ok((load_scope(db.pool()).await?, load_cursors(db.pool()).await?)) };
        let loaded = tokio::time::timeout(LOAD_LIMIT, load).await.unwrap_or_else(|late| Err(late.into()));
        let (scope, known) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                tracing::warn!(%error, "what ingest remembers cannot be read; tried again");
                continue;
            }
        };
        tracing::info!(accounts = scope.len(), upstreams = known.len(), "appending to the log");
        cursors.reset(known);
        let (out, deliveries) = delivery_queue(QueueLimits::default());
        // The subscriptions end with this turn, or when the process is told to stop.
        let (end, ended) = watch::channel(false);
        let subscriptions = upstreams.start(&out, &ended);
        let ending = tokio::spawn({
            let (end, stopped) = (end.clone(), stopped.clone());
            async move {
                stop::wait(stopped).await;
                end.send_replace(true);
                // Until here the queue has an owner even when no upstream is left: a host that ends its stream for good
                // does not end the process.
                drop(out);
            }
        });
        // Kept beside ingest's own until ingest has ended: the projector follows the log for as long as one of them is there.
        let (position, head) = watch::channel(0);
        let following = position.clone();
        let projector = Projector { db: db.clone(), health: report(health, "index") };
        let mut projecting = tokio::spawn(projector.run(head));
        let ingest = Ingest {
            judge: Judge::new(scope, None),
            policy: policy.clone(),
            cursors: cursors.clone(),
            position,
            health: report(health, "log"),
            on_host_word: Box::new({
                let upstreams = upstreams.clone();
                move |word| upstreams.heed(&word)
            }),
        };
        let sink = Sink::Log { db: db.clone(), appender: Box::new(appender), name };
        let outcome = tokio::select! {
            outcome = ingest.run(deliveries, sink) => outcome,
            projected = &mut projecting => {
                // It ends before ingest only by an error.
                projected.context("the projector panicked")??;
                anyhow::bail!("the projector ended before the log did");
            }
        };
        drop(following);
        end.send_replace(true);
        ending.abort();
        drop(subscriptions);
        match (outcome, projecting.await.context("the projector panicked")?) {
            (Ok(_), Ok(())) => return Ok(()),
            (_, Err(error @ ProjectionError::AheadOfLog { .. })) => return Err(error.into()),
            (Err(IngestError::Replaced), _) => {
                tracing::warn!("another process has taken over; waiting as its standby");
            }
            (Err(error), _) => return Err(error.into()),
            (_, Err(error)) => return Err(error.into()),
        }
    }
}

fn report(health: &Arc<Health>, check: &'static str) -> Box<dyn Fn(Result<(), String>) + Send + Sync> {
    let health = health.clone();
    Box::new(move |result| health.set(check, result))
}
