//! Making custodial accounts on a PDS.
//!
//! In: a user, and how the account is to be called. Out: an account with its password and first tokens, to be linked by the
//! caller. Always true: the password (32 random bytes) is kept before the PDS is asked for the account; one that was perhaps
//! made and not answered for is looked for before another is asked for, so that a user gets one account however often this is
//! tried. Never: a second handle while it is not known what became of the first.
//!
//! The PDS wants an e-mail address. Without one it gets a made-up one under `.invalid`, which nobody can own (RFC 2606): no
//! mail reaches anybody, and the user's own address stays with the app.
//!
//! <https://docs.bsky.app/docs/api/com-atproto-server-create-account>

use std::fmt;

use data_encoding::{BASE64URL_NOPAD, HEXLOWER};
use rand::TryRng;
use rand::rngs::SysRng;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use sqlx::{PgConnection, PgPool};

use super::credential::{self, CredentialError, CredentialName};
use super::handle::{TRIES, candidate};
use super::pending::{self, Pending};
use super::session::health;
use super::session::stored;
use super::session::token::Tokens;
use super::vault::{Vault, VaultError};
use crate::event::{Did, Environment, Handle};
use crate::network::{Call, HostError, HostErrorKind, Network, Rights};

/// What a new account is to be called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Naming {
    /// This, or nothing.
    Exactly(Handle),
    /// Something like this name, under the PDS's domain.
    Like(String),
    /// Something made up, under the PDS's domain.
    Anyhow,
}

/// What a PDS says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostDescription {
    /// What its accounts' handles end in, each with its dot.
    pub domains: Vec<String>,
    /// Whether an account needs an invite code.
    pub invite_required: bool,
}

/// An account that was made, with what opens it.
pub struct NewAccount {
    /// The account.
    pub did: Did,
    /// Its handle.
    pub handle: Handle,
    /// Whether it had been made before, by an attempt that was not answered.
    pub found: bool,
    password: SecretString,
    tokens: Tokens,
}

impl fmt::Debug for NewAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewAccount({}, {}, found: {})", self.did, self.handle, self.found)
    }
}

use CreateError as Error;

/// Why no account was made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// The PDS does not give this handle.
    #[error("the PDS does not give the handle {handle}: {why}")]
    Handle {
        /// The one that was tried last.
        handle: String,
        /// In the PDS's words.
        why: Box<str>,
    },
    /// The PDS does not take the e-mail address.
    #[error("the PDS does not take the e-mail address: {0}")]
    Email(Box<str>),
    /// The PDS does not take the invite code.
    #[error("the PDS does not take the invite code: {0}")]
    Invite(Box<str>),
    /// It is not known whether the account was made.
    #[error(
        "the PDS did not answer for the account ({0}); it may have been made: the same command again finds it, or makes it"
    )]
    Unanswered(HostError),
    /// The PDS did not do it, and made no account.
    #[error("{}: {} ({})", .0.host, .0.detail, .0.advice())]
    Host(HostError),
    /// Another process makes an account for this user now.
    #[error("an account is being made for user {0} right now")]
    Busy(String),
    /// What was kept of an account that is being made does not open.
    #[error("the password of the account that is being made for user {user_id} cannot be used: {why}")]
    Vault {
        /// Whose.
        user_id: String,
        /// Why.
        why: VaultError,
    },
    /// The new account's secrets could not be kept.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// The operating system gives no random bytes, or a name no handle.
    #[error("{0}")]
    Ours(String),
    /// The database did not do it.
    #[error("the account that is being made cannot be kept: {0}")]
    Database(#[from] sqlx::Error),
}

/// Makes accounts on one PDS. May this environment write to it? Who makes one of these has asked that.
#[derive(Clone, Copy)]
pub struct Creator<'a> {
    /// The database.
    pub pool: &'a PgPool,
    /// The way to the PDS.
    pub network: &'a Network,
    /// Seals passwords.
    pub vault: &'a Vault,
    /// This environment.
    pub environment: &'a Environment,
    /// The address of the PDS.
    pub pds: &'a str,
}

/// How a request for an account ended, but for the account itself.
enum Outcome {
    Made(NewAccount),
    /// Not with this handle.
    Taken(Box<str>),
    /// The word behind it says why no handle like it is given.
    Unfit(Box<str>),
}

impl Creator<'_> {
    /// What the PDS says of itself.
    ///
    /// # Errors
    /// [`CreateError::Host`].
    pub async fn describe(&self) -> Result<HostDescription, Error> {
        let answer = self.network.act(Call::DescribeServer, self.pds, Rights::None, &[], None).await;
        let answer = answer.map_err(Error::Host)?;
        let domains = answer["availableUserDomains"].as_array().into_iter().flatten();
        Ok(HostDescription {
            domains: domains.filter_map(|domain| Some(domain.as_str()?.to_ascii_lowercase())).collect(),
            invite_required: answer["inviteCodeRequired"].as_bool().unwrap_or(false),
        })
    }

    /// Makes this transaction the only one anywhere that makes an account for the user, until it ends.
    ///
    /// # Errors
    /// [`CreateError::Busy`].
    pub async fn take_turn(&self, connection: &mut PgConnection, user_id: &str) -> Result<(), Error> {
        match pending::take_turn(connection, user_id).await? {
            true => Ok(()),
            false => Err(Error::Busy(user_id.to_owned())),
        }
    }

    /// Looks for the account that an earlier attempt may have made.
    ///
    /// # Errors
    /// The PDS cannot say, or what was kept cannot be read.
    pub async fn find(&self, user_id: &str) -> Result<Option<NewAccount>, Error> {
        match pending::load(self.pool, self.vault, user_id).await? {
            Some(pending) if pending.asked => self.sign_in(&pending).await.map_err(Error::Host),
            _ => Ok(None),
        }
    }

    /// Asks for an account. One that was perhaps asked for before is asked for again as it was, whatever the name is now.
    /// `domain` has its dot before it.
    ///
    /// # Errors
    /// [`CreateError`].
    pub async fn make(
        &self,
        user_id: &str,
        naming: &Naming,
        domain: &str,
        email: Option<&str>,
        invite: Option<&SecretString>,
    ) -> Result<NewAccount, Error> {
        let mut left = pending::load(self.pool, self.vault, user_id).await?.filter(|pending| pending.asked);
        let mut name = match naming {
            Naming::Like(name) => Some(name.as_str()),
            Naming::Exactly(_) | Naming::Anyhow => None,
        };
        let mut last = None;
        let mut attempt = 0;
        while attempt < TRIES {
            let asked_before = left.is_some();
            let pending = match left.take() {
                Some(pending) => pending,
                None => {
                    let handle = match naming {
                        Naming::Exactly(handle) => handle.to_string(),
                        _ => candidate(name, domain, attempt).map_err(Error::Ours)?,
                    };
                    attempt += 1;
                    Pending { handle, email: self.address(email)?, password: password()?, asked: true }
                }
            };
            let why = match self.ask(user_id, &pending, asked_before, invite).await? {
                Outcome::Made(account) => return Ok(account),
                Outcome::Taken(why) => why,
                Outcome::Unfit(why) => {
                    name = None;
                    why
                }
            };
            last = Some((pending.handle, why));
            if matches!(naming, Naming::Exactly(_)) && !asked_before {
                break;
            }
        }
        // The PDS said no each time: there is nothing to be found.
        pending::forget(&mut *self.pool.acquire().await?, user_id).await?;
        let (handle, why) = last.expect("there is at least one attempt");
        Err(Error::Handle { handle, why })
    }

    async fn ask(
        &self,
        user_id: &str,
        pending: &Pending,
        asked_before: bool,
        invite: Option<&SecretString>,
    ) -> Result<Outcome, Error> {
        pending::store(self.pool, self.vault, user_id, pending).await?;
        let mut body = json!({
            "handle": pending.handle, "email": pending.email, "password": pending.password.expose_secret(),
        });
        if let Some(code) = invite {
            body["inviteCode"] = code.expose_secret().into();
        }
        crate::telemetry::crash_point("identity.account_asked");
        let error = match self.network.act(Call::CreateAccount, self.pds, Rights::None, &[], Some(&body)).await {
            Ok(mut answer) => {
                crate::telemetry::crash_point("identity.account_made");
                // An answer that cannot be read is none: the account is there.
                match self.read(&mut answer, pending, false) {
                    Some(account) => return Ok(Outcome::Made(account)),
                    None => self.malformed(),
                }
            }
            Err(error) => error,
        };
        match sort(&error) {
            Refusal::Unknown => match self.sign_in(pending).await {
                Ok(Some(account)) => Ok(Outcome::Made(account)),
                _ => Err(Error::Unanswered(error)),
            },
            // Perhaps by ourselves, a moment ago.
            Refusal::Taken | Refusal::Email if asked_before => match self.sign_in(pending).await {
                Ok(Some(account)) => Ok(Outcome::Made(account)),
                Ok(None) => Ok(Outcome::Taken(error.detail)),
                Err(_) => Err(Error::Unanswered(error)),
            },
            Refusal::Taken => Ok(Outcome::Taken(error.detail)),
            Refusal::Unfit => Ok(Outcome::Unfit(error.detail)),
            refusal => {
                if !asked_before {
                    pending::forget(&mut *self.pool.acquire().await?, user_id).await?;
                }
                Err(match refusal {
                    Refusal::Email => Error::Email(error.detail),
                    Refusal::Invite => Error::Invite(error.detail),
                    _ => Error::Host(error),
                })
            }
        }
    }

    /// The account behind a handle, if the password is its own.
    async fn sign_in(&self, pending: &Pending) -> Result<Option<NewAccount>, HostError> {
        let body = json!({ "identifier": pending.handle, "password": pending.password.expose_secret() });
        match self.network.act(Call::CreateSession, self.pds, Rights::None, &[], Some(&body)).await {
            Ok(mut answer) => self.read(&mut answer, pending, true).map(Some).ok_or_else(|| self.malformed()),
            Err(HostError { kind: HostErrorKind::Status { code: 400..=404, .. }, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn read(&self, answer: &mut Value, pending: &Pending, found: bool) -> Option<NewAccount> {
        let did = Did::parse(answer["did"].as_str()?).ok()?;
        let handle = Handle::parse(answer["handle"].as_str().unwrap_or(&pending.handle)).ok()?;
        let tokens = Tokens::answered(answer, 1)?;
        Some(NewAccount { did, handle, found, password: pending.password.clone(), tokens })
    }

    fn malformed(&self) -> HostError {
        HostError {
            kind: HostErrorKind::Malformed,
            host: crate::network::authority(self.pds).unwrap_or_default(),
            detail: "answers without an account".into(),
            not_before: None,
            never_sent: false,
        }
    }

    /// The given address, or one that is nobody's.
    fn address(&self, given: Option<&str>) -> Result<String, Error> {
        if let Some(given) = given {
            return Ok(given.to_owned());
        }
        let label = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let environment: String = self.environment.as_str().chars().map(label).take(40).collect();
        let environment = environment.trim_matches('-');
        let environment = if environment.is_empty() { "almanac" } else { environment };
        Ok(format!("user-{}@{environment}.invalid", HEXLOWER.encode(random::<8>()?.as_slice())))
    }
}

/// Keeps what opens a new account, in the transaction that links it.
///
/// # Errors
/// The vault or the database did not do it.
pub async fn keep(connection: &mut PgConnection, vault: &Vault, user_id: &str, new: &NewAccount) -> Result<(), Error> {
    let did = new.did.as_str();
    credential::store(&mut *connection, vault, user_id, did, CredentialName::Password, &new.password).await?;
    stored::store(&mut *connection, vault, (user_id, did), &new.tokens).await?;
    health::note_ok(&mut *connection, did, false).await?;
    Ok(pending::forget(connection, user_id).await?)
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, Error> {
    let mut bytes = Zeroizing::new([0; N]);
    let drawn = SysRng.try_fill_bytes(bytes.as_mut());
    drawn.map_err(|_| Error::Ours("the operating system gives no random bytes".to_owned()))?;
    Ok(bytes)
}

/// 32 random bytes as text.
fn password() -> Result<SecretString, Error> {
    Ok(BASE64URL_NOPAD.encode(random::<32>()?.as_slice()).into())
}

/// What the refusal of an account means.
enum Refusal {
    /// The handle is somebody's.
    Taken,
    /// No such handle is given to anybody.
    Unfit,
    Email,
    Invite,
    /// It is not known whether the account was made.
    Unknown,
    /// It was not made.
    Final,
}

/// The reference PDS has names for some refusals only; the others are known by their words.
fn sort(error: &HostError) -> Refusal {
    if error.never_sent {
        return Refusal::Final;
    }
    let HostErrorKind::Status { code: 400..=499, name, message } = &error.kind else {
        return match &error.kind {
            // The host said no before it looked.
            HostErrorKind::RateLimited { .. } => Refusal::Final,
            _ => Refusal::Unknown,
        };
    };
    let message = message.as_deref().unwrap_or_default().to_ascii_lowercase();
    match name.as_deref().unwrap_or_default() {
        "HandleNotAvailable" => Refusal::Taken,
        "InvalidHandle" => Refusal::Unfit,
        "InvalidInviteCode" => Refusal::Invite,
        _ if message.starts_with("handle already taken") => Refusal::Taken,
        _ if message.contains("email") => Refusal::Email,
        _ => Refusal::Final,
    }
}
