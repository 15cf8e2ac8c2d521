//! `serve`: upstreams in, HTTP out, until told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use super::policy::Policies;
use super::upstreams::Upstreams;
use super::{backfill, invites, lead, origin, publish, purge, quarantine, sessions, stop};
use crate::api::admin::AdminState;
use crate::api::public::PublicState;
use crate::api::v1::V1State;
use crate::api::{self, Health};
use crate::config::Settings;
use crate::db::Db;
use crate::decode::Level;
use crate::effects::{self, Effects};
use crate::ingest::quarantine::counts;
use crate::ingest::{
    Cursors, Holding, Identifier, Ingest, IngestError, Inquiries, Judge, KnownRepos, Sink, Trust, inlet, load_cursors,
    load_known, queue_incomplete,
};
use crate::network::Network;
use crate::projection::{ProjectionError, Projector};
use crate::publisher::reconcile::Reconcile;
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
    settings.check_upstreams()?;
    let vault = super::vault::checked(&settings, db.pool()).await?;
    let policies = Policies::load(&settings, Some(db.pool())).await?;
    let trust = super::trust(&settings, true)?;
    let token = settings.admin_token()?;
    let network = Network::new(settings.network.clone())?;
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
    let custodial = sessions::custodial(&settings, &db, &network, vault);
    let publisher = publish::publisher(&settings, &db, &network, sessions::of(&db, custodial.as_ref()));
    let v1 = V1State::new(
        db.pool().clone(),
        Arc::new(publisher.clone()),
        sessions::may_write(&settings),
        settings.publish.wait,
    );
    let state = PublicState::new(db.pool().clone(), settings.environment.clone(), views.clone()).with_v1(v1);
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
        token,
        origin: Some(Arc::new(origin::Desk {
            pool: db.pool().clone(),
            settings: Arc::new(settings.clone()),
            policies: policies.clone(),
            trust: trust.clone(),
        })),
        quarantine: Some({
            let pool = db.pool().clone();
            Arc::new(move || {
                let pool = pool.clone();
                Box::pin(async move { serde_json::to_value(counts(&pool).await.ok()?).ok() })
            })
        }),
    };
    around.spawn(api::serve(admin, api::admin::router(state), stop::wait(ended.clone())));
    around.spawn(policies.clone().watch(ended.clone()));
    if let Some(custodial) = custodial {
        around.spawn(sessions::keep_looking(custodial, ended.clone()));
    }
    around.spawn(sessions::keep_counting(db.clone(), ended.clone()));
    around.spawn(invites::keep_counting(settings.clone(), network.clone(), ended.clone()));
    // A standby writes as well: intents are leased, and the PDS is asked before it is written to.
    around.spawn({
        let ended = ended.clone();
        async move { publisher.run(ended).await }
    });
    around.spawn(report_upstreams(upstreams.clone(), health.clone(), ended.clone()));
    tokio::spawn(crate::telemetry::upkeep(metrics));
    ready(addresses);

    let turn = Turn { db, settings, trust, network, policies, cursors, upstreams, health };
    let outcome = turn.work(stopped).await;
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

/// What appending takes.
struct Turn {
    db: Db,
    settings: Settings,
    trust: Trust,
    network: Network,
    policies: Arc<Policies>,
    cursors: Arc<Cursors>,
    upstreams: Arc<Upstreams>,
    health: Arc<Health>,
}

impl Turn {
    /// Waits for its turn to append, works, and waits again if another process took over.
    async fn work(&self, stopped: watch::Receiver<bool>) -> anyhow::Result<()> {
        if self.upstreams.is_empty() {
            tracing::warn!(
                "no upstream is configured: nothing new will come in (set source.relays, or give --relay URL)"
            );
        }
        if self.trust.level() == Level::None {
            tracing::warn!("frames are not verified (verify.level = none): whoever sends them can write what he likes");
        }
        loop {
            let mut told = false;
            let waiting = |why: String| {
                if !told {
                    tracing::info!("{why}");
                    told = true;
                }
                self.health.set("appender", Err(why));
            };
            let Some((appender, name)) = lead::wait(&self.db, stopped.clone(), waiting).await? else { return Ok(()) };
            self.health.set("appender", Ok(()));
            let pool = self.db.pool();
            let load = async { anyhow::Ok((load_known(pool).await?, load_cursors(pool).await?)) };
            let loaded = tokio::time::timeout(LOAD_LIMIT, load).await.unwrap_or_else(|late| Err(late.into()));
            let (known, cursors) = match loaded {
                Ok(loaded) => loaded,
                Err(error) => {
                    tracing::warn!(%error, "what ingest remembers cannot be read; tried again");
                    continue;
                }
            };
            if let Err(error) = self.policies.reload().await {
                tracing::warn!("{error:#}; tried again");
                continue;
            }
            tracing::info!(accounts = known.0.len(), upstreams = cursors.len(), "appending to the log");
            self.cursors.reset(cursors);
            let unfinished = async {
                let mut connection = pool.acquire().await?;
                effects::prepare(&mut connection, &self.settings.effects.webhooks).await?;
                if self.trust.asks() { queue_incomplete(&mut connection).await } else { Ok(()) }
            };
            if let Err(error) = tokio::time::timeout(LOAD_LIMIT, unfinished)
                .await
                .unwrap_or_else(|late| Err(sqlx::Error::Io(late.into())))
            {
                tracing::warn!(%error, "effects cannot begin, or accounts that are incomplete not be queued; tried again");
                continue;
            }
            let sink = Sink::Log { db: self.db.clone(), appender: Box::new(appender), name };
            match self.append(known, sink, &stopped).await? {
                Ended::Stopped => return Ok(()),
                Ended::Replaced => tracing::warn!("another process has taken over; waiting as its standby"),
            }
        }
    }

    /// Follows the upstreams into the log until told to stop, or until another process appends.
    async fn append(
        &self,
        known: (KnownRepos, Holding),
        sink: Sink,
        stopped: &watch::Receiver<bool>,
    ) -> anyhow::Result<Ended> {
        let (out, deliveries) = delivery_queue(QueueLimits::default());
        // Everything that feeds ingest ends with this turn, or when the process is told to stop.
        let (end, ended) = watch::channel(false);
        let subscriptions = self.upstreams.start(&out, &ended);
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
        let (asks, asked) = mpsc::unbounded_channel();
        let (inlet, findings) = inlet();
        let space = quarantine::space(self.db.pool(), &self.settings).await;
        let mut judge = Judge::new(known, self.trust.clone(), self.upstreams.resumes(), None)
            .with_directory(self.settings.network.plc.as_str())
            .with_space(&space);
        let mut helpers = JoinSet::new();
        if self.trust.asks() {
            for did in judge.unidentified_accounts() {
                asks.send(did).expect("the other end is in this scope");
            }
            let (network, pool) = (self.network.clone(), self.db.pool().clone());
            let (policy, on_move) = (self.policies.current().clone(), self.policies.on_move());
            let identifier = Identifier { network, pool, inlet: inlet.clone(), asks: asked, policy, on_move };
            helpers.spawn(identifier.run(ended.clone()));
            if self.settings.backfill.enabled {
                let runner =
                    backfill::Runner::new(&self.settings, &self.db, &self.network, &inlet, self.policies.current());
                helpers.spawn(backfill::run(runner, true, ended.clone()));
            }
        }
        helpers.spawn(purge::keep_purging(self.db.clone(), self.settings.purge_after, ended.clone()));
        let (pool, keep) = (self.db.pool().clone(), self.settings.quarantine_keep);
        helpers.spawn(quarantine::keep_clean(pool.clone(), space, keep, ended.clone()));
        helpers.spawn(quarantine::tell(pool, self.policies.clone(), inlet.clone(), ended.clone()));
        helpers.spawn(self.policies.clone().tell(inlet, ended.clone()));
        // Kept beside ingest's own until ingest has ended: the projector follows the log for as long as one of them is there.
        let (position, head) = watch::channel(0);
        let following = position.clone();
        let projector = Projector { db: self.db.clone(), rebuild_from: None, health: report(&self.health, "index") };
        let mut projecting = tokio::spawn(projector.run(head));
        let (broke, mut broken) = oneshot::channel();
        helpers.spawn({
            let told = effects::run(self.effects(), position.subscribe(), ended.clone());
            let reconciled = self.reconcile().run(position.subscribe(), ended.clone());
            async move {
                let told = async { told.await.map_err(anyhow::Error::from) };
                let reconciled = async { reconciled.await.map_err(anyhow::Error::from) };
                if let Err(error) = tokio::try_join!(told, reconciled) {
                    // When the other end is gone, this turn is over anyway.
                    let _unheard = broke.send(error);
                }
            }
        });
        let ingest = Ingest {
            judge,
            inquiries: Inquiries { asks, findings },
            policy: self.policies.current().clone(),
            cursors: self.cursors.clone(),
            position,
            health: report(&self.health, "log"),
            on_host_word: Box::new({
                let upstreams = self.upstreams.clone();
                move |word| upstreams.heed(&word)
            }),
        };
        // A task, though it is waited for here: judging then runs on the worker that read the socket, and a frame costs no
        // change of threads.
        let mut ingesting = JoinSet::new();
        ingesting.spawn(ingest.run(deliveries, sink));
        let outcome = tokio::select! {
            Some(outcome) = ingesting.join_next() => {
                outcome.unwrap_or_else(|ended| std::panic::resume_unwind(ended.into_panic()))
            }
            projected = &mut projecting => {
                // It ends before ingest only by an error.
                projected.context("the projector panicked")??;
                anyhow::bail!("the projector ended before the log did");
            }
            Ok(error) = &mut broken => return Err(error),
        };
        drop(following);
        end.send_replace(true);
        ending.abort();
        drop(subscriptions);
        while helpers.join_next().await.is_some() {}
        match (outcome, projecting.await.context("the projector panicked")?) {
            (Ok(_), Ok(())) => Ok(Ended::Stopped),
            (_, Err(error @ ProjectionError::AheadOfLog { .. })) => Err(error.into()),
            (Err(IngestError::Replaced), _) => Ok(Ended::Replaced),
            (Err(error), _) => Err(error.into()),
            (_, Err(error)) => Err(error.into()),
        }
    }
}

impl Turn {
    /// What tells receivers of what this process appends.
    fn effects(&self) -> Effects {
        Effects {
            pool: self.db.pool().clone(),
            network: self.network.clone(),
            environment: self.settings.environment.clone(),
            subscriptions: self.settings.effects.webhooks.clone(),
            retry: self.settings.effects.retry,
        }
    }

    /// What looks for our own records in what this process appends.
    fn reconcile(&self) -> Reconcile {
        Reconcile {
            pool: self.db.pool().clone(),
            environment: self.settings.environment.clone(),
            unseen_after: self.settings.publish.unseen_after,
        }
    }
}

/// Why appending ended.
enum Ended {
    Stopped,
    Replaced,
}

fn report(health: &Arc<Health>, check: &'static str) -> Box<dyn Fn(Result<(), String>) + Send + Sync> {
    let health = health.clone();
    Box::new(move |result| health.set(check, result))
}
