//! Seeing to the tokens of one account: those in memory, those that another process stored, new ones for the refresh token,
//! new ones for the password.
//!
//! One at a time for an account: in this process by the agent's turn, over all processes by a lock that ends with its
//! transaction. Who comes second finds what the first stored.

use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::agent::{Agent, may_serve};
use super::custodial::{Inner, told};
use super::refusal::{About, about, advice, deactivated, did, refuses_password};
use super::token::Tokens;
use super::{Account, ActError, health, stored};
use crate::identity::credential::{self, CredentialName};
use crate::network::{Call, HostError, HostErrorKind, Rights};

/// The host's answers to both questions must be there within this: a connection of the pool waits for them.
const ANSWERS_LIMIT: Duration = Duration::from_secs(40);
/// How long somebody else's turn is waited for.
const TURN_LIMIT: Duration = Duration::from_secs(60);
/// How often it is looked whether that turn is over.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// One look at the tokens of an account.
pub(super) struct Renewal {
    pub inner: Arc<Inner>,
    pub agent: Arc<Agent>,
    pub account: Account,
    /// The host did not take these.
    pub refused: Option<Arc<Tokens>>,
    /// How long what is got must last.
    pub left: Duration,
}

/// What a host gave.
struct Given {
    tokens: Tokens,
    by: &'static str,
    /// Whether the account may be used, by the host's word.
    active: bool,
}

impl Renewal {
    /// Tokens that serve.
    pub async fn run(self) -> Result<Arc<Tokens>, ActError> {
        let turns = self.agent.turns();
        let agent = self.agent.clone();
        let _turn = agent.turn.lock().await;
        if let Some(tokens) = agent.usable(self.refused.as_deref(), self.left) {
            return Ok(tokens);
        }
        if let Some(error) = agent.failed_since(turns) {
            return Err(error);
        }
        let result = self.see_to_it().await;
        agent.end_turn(result.as_ref().err().cloned());
        result
    }

    fn serves(&self, tokens: &Tokens) -> bool {
        may_serve(tokens, self.refused.as_deref(), self.left)
    }

    async fn see_to_it(&self) -> Result<Arc<Tokens>, ActError> {
        let Renewal { inner, agent, account, .. } = self;
        if let Some(why) = health::dead_detail(&inner.pool, &account.did).await?
            && !health::claim_try(&inner.pool, &account.did).await?
        {
            agent.set_dead(true);
            return Err(ActError::Dead { did: did(account)?, why });
        }
        agent.set_dead(false);
        if let Some(tokens) = agent.usable(self.refused.as_deref(), self.left) {
            return Ok(tokens);
        }
        if let Some(tokens) = stored::load(&inner.pool, &inner.vault, account).await?.filter(|t| self.serves(t)) {
            return Ok(agent.take(tokens));
        }
        if let Some(may_write) = &inner.may_write {
            let did = did(account)?;
            may_write(&account.pds).map_err(|why| ActError::NoRights { did, why })?;
        }
        let deadline = Instant::now() + TURN_LIMIT;
        loop {
            if let Some(tokens) = self.renew().await? {
                return Ok(tokens);
            }
            if Instant::now() >= deadline {
                let why = format!("the tokens of {} are being renewed elsewhere, and that does not end", account.did);
                return Err(ActError::Ours(why));
            }
            // A little chance, so that those who wait do not look in one moment.
            sleep(LOOK_EVERY.mul_f64(0.5 + rand::random::<f64>())).await;
        }
    }

    /// Renews, if nobody else does so now.
    async fn renew(&self) -> Result<Option<Arc<Tokens>>, ActError> {
        let Renewal { inner, agent, account, .. } = self;
        let _place = inner.renewals.acquire().await.expect("nobody closes the semaphore");
        let mut tx = inner.pool.begin().await?;
        if !stored::take_turn(&mut tx, &account.did).await? {
            return Ok(None);
        }
        let kept = stored::read(&mut tx, &inner.vault, account).await?;
        let generation = stored::generation(&mut *tx, &account.did).await?;
        let kept = match kept {
            Some(tokens) if self.serves(&tokens) => return Ok(Some(agent.take(tokens))),
            kept => kept.map(Arc::new),
        };
        // In memory are later ones than in the database when those could not be stored.
        let latest = agent.latest().filter(|tokens| tokens.generation > generation).or(kept);
        let password =
            credential::load(&mut *tx, &inner.vault, &account.user_id, &account.did, CredentialName::Password).await?;
        let next = generation.max(latest.as_ref().map_or(0, |tokens| tokens.generation)) + 1;
        let asked = self.ask(latest.as_deref(), password.as_ref(), next);
        let asked = timeout(ANSWERS_LIMIT, asked).await.unwrap_or_else(|_| Err(self.no_answer()));
        let given = match asked {
            Ok(given) => given,
            Err(error) => {
                drop(tx);
                return Err(self.failed(error).await);
            }
        };
        health::count_renewal(given.by, "ok");
        let stored = async {
            stored::store(&mut tx, &inner.vault, (&account.user_id, &account.did), &given.tokens).await?;
            if given.active {
                health::note_ok(&mut *tx, &account.did, false).await?;
            }
            tx.commit().await?;
            Result::<(), ActError>::Ok(())
        };
        // They serve all the same; whoever needs some in another process makes others.
        if let Err(error) = stored.await {
            tracing::warn!(%error, did = account.did, "renewed tokens cannot be kept");
        }
        let tokens = agent.take(given.tokens);
        if !given.active {
            return Err(inner.found_dead(agent, account, deactivated(account)).await);
        }
        Ok(Some(tokens))
    }

    /// Asks for new ones: with the refresh token, or else with the password.
    async fn ask(
        &self,
        latest: Option<&Tokens>,
        password: Option<&SecretString>,
        generation: i64,
    ) -> Result<Given, Refused> {
        let Renewal { inner, account, .. } = self;
        if let Some(latest) = latest.filter(|tokens| tokens.can_be_refreshed()) {
            let rights = Rights::Token(&latest.refresh);
            match inner.network.act(Call::RefreshSession, &account.pds, rights, &[], None).await {
                Ok(answer) => return self.given(answer, "refresh", generation),
                Err(error) if about(&error) == About::Account => return Err(Refused::by("refresh", error)),
                // Whatever else it says no to, the password has the last word.
                Err(error) if refuses_password(&error) => health::count_renewal("refresh", "refused"),
                Err(error) => return Err(Refused::by("refresh", error)),
            }
        }
        let Some(password) = password else { return Err(Refused::NoPassword) };
        let body = json!({ "identifier": account.did, "password": password.expose_secret() });
        match inner.network.act(Call::CreateSession, &account.pds, Rights::None, &[], Some(&body)).await {
            Ok(answer) => self.given(answer, "login", generation),
            Err(error) => Err(Refused::by("login", error)),
        }
    }

    fn given(&self, mut answer: Value, by: &'static str, generation: i64) -> Result<Given, Refused> {
        let malformed = |detail: &str| {
            let host = crate::network::authority(&self.account.pds).unwrap_or_default();
            let kind = HostErrorKind::Malformed;
            let error = HostError { kind, host, detail: detail.into(), not_before: None, never_sent: false };
            Refused::by(by, error)
        };
        if answer["did"].as_str() != Some(&self.account.did) {
            return Err(malformed("answers with the session of another account"));
        }
        let active = answer["active"].as_bool().unwrap_or(true);
        let tokens = Tokens::answered(&mut answer, generation).ok_or_else(|| malformed("answers without tokens"))?;
        Ok(Given { tokens, by, active })
    }

    fn no_answer(&self) -> Refused {
        let host = crate::network::authority(&self.account.pds).unwrap_or_default();
        let detail = format!("no tokens within {} s", ANSWERS_LIMIT.as_secs()).into();
        Refused::by(
            "login",
            HostError { kind: HostErrorKind::Timeout, host, detail, not_before: None, never_sent: true },
        )
    }

    /// Keeps why there are no tokens.
    async fn failed(&self, refused: Refused) -> ActError {
        let Renewal { inner, agent, account, .. } = self;
        let (by, error) = match refused {
            Refused::NoPassword => {
                let why =
                    format!("no password is kept for user {}; store it: `almanac identity import`", account.user_id);
                return inner.found_dead(agent, account, why).await;
            }
            Refused::By(by, error) => (by, error),
        };
        let dead = about(&error) == About::Account || by == "login" && refuses_password(&error);
        health::count_renewal(by, if dead { "refused" } else { "failed" });
        if dead {
            return inner.found_dead(agent, account, advice(account, &error)).await;
        }
        if agent.shall_note_trouble()
            && let Err(error) = health::note_unreachable(&inner.pool, &account.did, &told(&error)).await
        {
            tracing::debug!(%error, did = account.did, "that an account is unreachable cannot be kept");
        }
        // What was asked for was not even sent: the caller's own call can be repeated.
        ActError::Host(HostError { never_sent: true, ..error })
    }
}

/// Why a host gave no tokens.
enum Refused {
    NoPassword,
    By(&'static str, HostError),
}

impl Refused {
    fn by(by: &'static str, error: HostError) -> Self {
        Refused::By(by, error)
    }
}
