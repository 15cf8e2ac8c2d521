//! Acting for an account of one of our users, whatever kind it is.
//!
//! In: a user or an account. Out: a [`Session`]: calls to the account's PDS with its rights. Always true: whoever calls sees
//! no token; one that ended is renewed before or during the call, by one at a time for an account; how it goes is kept, so
//! that trouble shows before anything is to be published. Never: a write to a PDS of another environment (whoever publishes
//! asks for that first), a token in an error or a log line.

mod agent;
mod custodial;
pub mod health;
mod refusal;
mod renew;
pub(super) mod stored;
pub(super) mod token;

use std::pin::Pin;
use std::sync::Arc;

use serde_json::Value;
use sqlx::PgPool;

use super::account::{self, Account};
use crate::event::Did;
use crate::network::{Call, HostError};

pub use custodial::{Custodial, MayWrite};

/// A future that can be kept anywhere.
pub type Acting<'a, T> = Pin<Box<dyn Future<Output = Result<T, ActError>> + Send + 'a>>;

/// A way to act for one account. Clones of the `Arc` share tokens.
pub trait Session: Send + Sync {
    /// Whose it is, and where it lives.
    fn account(&self) -> &Account;

    /// Asks the account's PDS in its name.
    ///
    /// # Errors
    /// [`ActError`].
    fn call<'a>(&'a self, call: Call, query: &'a [(&'a str, &'a str)], body: Option<&'a Value>) -> Acting<'a, Value>;
}

/// One kind of account, and how acting for it begins: custodial ones have a password with us, others gave us a grant.
pub trait Keeper: Send + Sync {
    /// Whether this is the keeper of the account.
    fn keeps(&self, account: &Account) -> bool;

    /// Begins or goes on acting for it. Cheap when it was done before.
    ///
    /// # Errors
    /// [`ActError`].
    fn session(&self, account: Account) -> Acting<'_, Arc<dyn Session>>;
}

/// Why we cannot act for an account.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ActError {
    /// We know no account of this user's.
    #[error("user {0} has no network account here; `almanac identity create` makes one, `identity link` names one")]
    NoAccount(String),
    /// The account is known, but nobody gave us its rights.
    #[error("nothing is held that would let us act for {did}: {why}")]
    NoRights {
        /// Whose rights.
        did: Did,
        /// What is missing, and how it comes here.
        why: String,
    },
    /// What is held does not open the account any more, and will not without somebody doing something.
    #[error("{did} does not let us in any more: {why}")]
    Dead {
        /// Whose rights.
        did: Did,
        /// In the host's words, and what to do.
        why: String,
    },
    /// The PDS did not do it.
    #[error("{}: {}", .0.host, .0.detail)]
    Host(HostError),
    /// Our own database or vault did not do it.
    #[error("{0}")]
    Ours(String),
}

impl From<HostError> for ActError {
    fn from(error: HostError) -> Self {
        ActError::Host(error)
    }
}

impl From<sqlx::Error> for ActError {
    fn from(error: sqlx::Error) -> Self {
        ActError::Ours(error.to_string())
    }
}

/// The way to act for every user. Clones share everything.
#[derive(Clone)]
pub struct Sessions {
    pool: PgPool,
    keepers: Arc<[Arc<dyn Keeper>]>,
}

impl Sessions {
    /// With these keepers; the first that keeps an account counts.
    pub fn new(pool: PgPool, keepers: Vec<Arc<dyn Keeper>>) -> Self {
        Sessions { pool, keepers: keepers.into() }
    }

    /// Acts for a user.
    ///
    /// # Errors
    /// [`ActError`].
    pub async fn session_for(&self, user_id: &str) -> Result<Arc<dyn Session>, ActError> {
        let account = account::of_user(&self.pool, user_id).await?;
        self.session(account.ok_or_else(|| ActError::NoAccount(user_id.to_owned()))?).await
    }

    /// Acts for an account.
    ///
    /// # Errors
    /// [`ActError`].
    pub async fn session_of(&self, did: &Did) -> Result<Arc<dyn Session>, ActError> {
        let account = account::of_did(&self.pool, did).await?;
        self.session(account.ok_or_else(|| ActError::NoAccount(did.to_string()))?).await
    }

    async fn session(&self, account: Account) -> Result<Arc<dyn Session>, ActError> {
        match self.keepers.iter().find(|keeper| keeper.keeps(&account)) {
            Some(keeper) => keeper.session(account).await,
            None => {
                let did = Did::parse(&account.did).map_err(|e| ActError::Ours(e.to_string()))?;
                let why = "the account is its owner's own, and its owner gave no grant".to_owned();
                Err(ActError::NoRights { did, why })
            }
        }
    }
}
