//! Acting for custodial accounts: those whose password we keep.
//!
//! In: accounts of our users. Out: sessions whose calls carry a token that lasts. Always true: a token is used until its own
//! end and renewed by one at a time for an account, over all processes; a call that was refused for its token was not carried
//! out, and is asked once more with a renewed one; calls go where the account lives by its link; an account that does not
//! let us in is left alone for a pause that grows. Never: a password or token sent to a host that this environment may not
//! write to; a connection of the pool held by more than a few at a time while a host takes its time.

use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;
use serde_json::Value;
use sqlx::PgPool;
use tokio::sync::Semaphore;

use super::agent::Agent;
use super::refusal::{About, about, advice};
use super::renew::Renewal;
use super::token::{MARGIN, Tokens};
use super::{Account, ActError, Acting, Keeper, Session, health, refusal};
use crate::identity::vault::Vault;
use crate::identity::{CreateError, reseal_pending};
use crate::network::{Call, HostError, Network, Rights};

/// Whether something may be written to this PDS: why not, otherwise.
pub type MayWrite = Arc<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// Accounts remembered: a few kilobytes each.
const AGENTS_MAX: u64 = 20_000;
/// An account that nobody acts for is forgotten; its tokens are kept in the database.
const AGENT_IDLE: Duration = Duration::from_secs(6 * 3_600);
/// Renewals at once. Each holds a connection of a pool that has ten, for as long as the host takes.
const RENEWALS_MAX: usize = 3;

/// The keeper of custodial accounts. Clones share tokens: make one per process.
#[derive(Clone)]
pub struct Custodial(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub pool: PgPool,
    pub network: Network,
    pub vault: Arc<Vault>,
    pub may_write: Option<MayWrite>,
    pub renewals: Semaphore,
    agents: Cache<(String, String), Arc<Agent>>,
}

impl Custodial {
    /// With the vault that seals passwords and tokens.
    pub fn new(pool: PgPool, network: Network, vault: Arc<Vault>) -> Self {
        Self::with(pool, network, vault, None)
    }

    /// The same; passwords and tokens go only to hosts that `may_write` allows.
    pub fn guarded(pool: PgPool, network: Network, vault: Arc<Vault>, may_write: MayWrite) -> Self {
        Self::with(pool, network, vault, Some(may_write))
    }

    fn with(pool: PgPool, network: Network, vault: Arc<Vault>, may_write: Option<MayWrite>) -> Self {
        let agents = Cache::builder().max_capacity(AGENTS_MAX).time_to_idle(AGENT_IDLE).build();
        let renewals = Semaphore::new(RENEWALS_MAX);
        Custodial(Arc::new(Inner { pool, network, vault, may_write, renewals, agents }))
    }

    /// Accounts worth a look before somebody needs them, the most urgent first, at most so many: see [`Custodial::look_at`].
    ///
    /// # Errors
    /// The database did not do it.
    pub async fn due(&self, ahead: Duration, limit: i64) -> Result<Vec<Account>, sqlx::Error> {
        health::due(&self.0.pool, ahead.as_secs_f64(), limit).await
    }

    /// Seals anew the passwords of accounts that are being made, where another key sealed them.
    ///
    /// # Errors
    /// One does not open, or the database did not do it.
    pub async fn reseal_pending(&self) -> Result<u64, CreateError> {
        reseal_pending(&self.0.pool, &self.0.vault).await
    }

    /// Sees to it that there is a token that lasts for so long, and keeps what it finds.
    ///
    /// # Errors
    /// [`ActError`].
    pub async fn look_at(&self, account: &Account, ahead: Duration) -> Result<(), ActError> {
        let agent = self.0.agent(account).await;
        self.0.tokens(&agent, account, None, ahead).await?;
        // Tokens that were stored before prove nothing about the PDS, but nothing is known against it either.
        Ok(health::note_ok(&self.0.pool, &account.did, false).await?)
    }
}

impl Keeper for Custodial {
    fn keeps(&self, account: &Account) -> bool {
        account.custodial
    }

    fn session(&self, account: Account) -> Acting<'_, Arc<dyn Session>> {
        Box::pin(async move {
            let agent = self.0.agent(&account).await;
            self.0.tokens(&agent, &account, None, MARGIN).await?;
            let session: Arc<dyn Session> = Arc::new(CustodialSession { account, agent, inner: self.0.clone() });
            Ok(session)
        })
    }
}

impl Inner {
    /// What is shared for an account of a user: another user's is another.
    async fn agent(&self, account: &Account) -> Arc<Agent> {
        let key = (account.did.clone(), account.user_id.clone());
        self.agents.get_with(key, async { Arc::default() }).await
    }

    /// Tokens that are not those that were refused and last so long still.
    async fn tokens(
        self: &Arc<Self>,
        agent: &Arc<Agent>,
        account: &Account,
        refused: Option<&Arc<Tokens>>,
        left: Duration,
    ) -> Result<Arc<Tokens>, ActError> {
        if let Some(tokens) = agent.usable(refused.map(Arc::as_ref), left) {
            return Ok(tokens);
        }
        let renewal = Renewal {
            inner: self.clone(),
            agent: agent.clone(),
            account: account.clone(),
            refused: refused.cloned(),
            left,
        };
        // In a task of its own: a caller who goes away must not lose a pair of tokens that the host has given out.
        let task = tokio::spawn(renewal.run());
        task.await.unwrap_or_else(|error| Err(ActError::Ours(format!("seeing to tokens failed: {error}"))))
    }

    /// Keeps how a call went, as far as that is news.
    async fn note(&self, agent: &Agent, account: &Account, result: &Result<Value, HostError>) {
        let noted = match result {
            Ok(_) if agent.shall_note_use() => health::note_ok(&self.pool, &account.did, true).await,
            Err(error) if error.passes() && agent.shall_note_trouble() => {
                health::note_unreachable(&self.pool, &account.did, &told(error)).await
            }
            _ => Ok(()),
        };
        if let Err(error) = noted {
            tracing::debug!(%error, did = account.did, "how acting for an account goes cannot be kept");
        }
    }

    /// The account lets us in no more.
    pub async fn found_dead(&self, agent: &Agent, account: &Account, why: String) -> ActError {
        agent.set_dead(true);
        if let Err(error) = health::note_dead(&self.pool, &account.did, &why).await {
            tracing::debug!(%error, did = account.did, "that an account is dead cannot be kept");
        }
        match refusal::did(account) {
            Ok(did) => {
                tracing::warn!(%did, user = account.user_id, "an account of ours does not let us in: {why}");
                ActError::Dead { did, why }
            }
            Err(error) => error,
        }
    }
}

/// A host's trouble in a line.
pub(super) fn told(error: &HostError) -> String {
    format!("{}: {} ({})", error.host, error.detail, error.advice())
}

struct CustodialSession {
    account: Account,
    agent: Arc<Agent>,
    inner: Arc<Inner>,
}

impl CustodialSession {
    async fn ask(
        &self,
        call: Call,
        tokens: &Tokens,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, HostError> {
        self.inner.network.act(call, &self.account.pds, Rights::Token(&tokens.access), query, body).await
    }

    async fn asked(&self, call: Call, query: &[(&str, &str)], body: Option<&Value>) -> Result<Value, ActError> {
        let CustodialSession { account, agent, inner } = self;
        let tokens = inner.tokens(agent, account, None, MARGIN).await?;
        let mut result = self.ask(call, &tokens, query, body).await;
        if result.as_ref().is_err_and(|error| about(error) == About::Token) {
            let renewed = inner.tokens(agent, account, Some(&tokens), MARGIN).await?;
            result = self.ask(call, &renewed, query, body).await;
        }
        inner.note(agent, account, &result).await;
        match result {
            Err(error) if about(&error) == About::Account => {
                Err(inner.found_dead(agent, account, advice(account, &error)).await)
            }
            result => Ok(result?),
        }
    }
}

impl Session for CustodialSession {
    fn account(&self) -> &Account {
        &self.account
    }

    fn call<'a>(&'a self, call: Call, query: &'a [(&'a str, &'a str)], body: Option<&'a Value>) -> Acting<'a, Value> {
        Box::pin(self.asked(call, query, body))
    }
}
