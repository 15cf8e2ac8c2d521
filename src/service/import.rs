//! Links and passwords of another app's table become ours.
//!
//! In: the lines of its file. Out: a link and its word for the log for each, as `identity link` makes them, and the password
//! sealed anew, in one transaction. Always true: a line that was taken before changes nothing; what is here already wins
//! over the file; a link without the password that belongs to it is not made. Never: a line that comes to nothing without
//! being told.

use anyhow::Context;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use sqlx::{Acquire, PgConnection, PgPool};

use super::origin::{LinkWish, link_within};
use crate::identity::credential::{self, CredentialName};
use crate::identity::import::{Entry, ImportError, Item, Remark};
use crate::identity::vault::Vault;
use crate::identity::{self, Account, LinkError};

/// Lines taken in one transaction.
const BATCH: usize = 100;
/// Remarks that are kept word by word; all are counted.
pub const REMARKS_MAX: usize = 10_000;

/// How lines are taken.
#[derive(Debug)]
pub struct Import<'a> {
    /// Seals. Without one, no password can be taken.
    pub vault: Option<&'a Vault>,
    /// Opens envelopes of the older form, tried before `vault`.
    pub older: Option<&'a Vault>,
    /// Change nothing.
    pub dry_run: bool,
    /// Who imports, for the log.
    pub who: &'a str,
    /// Why, for the log.
    pub why: &'a str,
}

/// What became of the lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Imported {
    /// Lines about identities.
    pub lines: u64,
    /// Links that were made.
    pub linked: u64,
    /// Links that were here already, just so.
    pub known: u64,
    /// Passwords that were sealed.
    pub sealed: u64,
    /// Lines that were refused.
    pub refused: u64,
    /// Why, the first ten thousand.
    pub refusals: Vec<Remark>,
    /// What was left out of lines that were taken, the first ten thousand.
    pub notes: Vec<Remark>,
    /// Why the file could not be read to its end. What stands before was done.
    pub broken_off: Option<String>,
    /// The number of the last change for the log.
    #[serde(skip)]
    pub last_change: Option<i64>,
}

impl Imported {
    fn refuse(&mut self, remark: Remark) {
        self.refused += 1;
        keep(&mut self.refusals, remark);
    }
}

fn keep(remarks: &mut Vec<Remark>, remark: Remark) {
    if remarks.len() < REMARKS_MAX {
        remarks.push(remark);
    }
}

/// What one line came to.
#[derive(Default)]
struct Taken {
    linked: Option<i64>,
    sealed: bool,
    notes: Vec<String>,
}

/// Why a line was not taken.
enum Untaken {
    Refused(String),
    Failed(anyhow::Error),
}

impl From<sqlx::Error> for Untaken {
    fn from(error: sqlx::Error) -> Self {
        Untaken::Failed(error.into())
    }
}

impl Import<'_> {
    /// Takes all lines. A dry run is one transaction that is taken back.
    ///
    /// # Errors
    /// Nothing of the file can be read, or the database did not do it: what was committed until then stays, and may be
    /// imported again.
    pub async fn run(
        &self,
        pool: &PgPool,
        items: impl Iterator<Item = Result<Item, ImportError>>,
    ) -> anyhow::Result<Imported> {
        const CANNOT: &str = "the lines cannot be written";
        let mut imported = Imported::default();
        let mut tx = pool.begin().await.context(CANNOT)?;
        let mut written = 0;
        for item in items {
            let entry = match item {
                Ok(Item::Entry(entry)) => entry,
                Ok(Item::Refused(remark)) => {
                    imported.lines += 1;
                    imported.refuse(remark);
                    continue;
                }
                Ok(Item::Note(remark)) => {
                    keep(&mut imported.notes, remark);
                    continue;
                }
                Err(error) if imported.lines == 0 => return Err(error.into()),
                Err(error) => {
                    imported.broken_off = Some(error.to_string());
                    break;
                }
            };
            imported.lines += 1;
            let mut step = tx.begin().await.context(CANNOT)?;
            match self.take(&mut step, &entry).await {
                Ok(taken) => {
                    step.commit().await.context(CANNOT)?;
                    imported.linked += u64::from(taken.linked.is_some());
                    imported.known += u64::from(taken.linked.is_none());
                    imported.sealed += u64::from(taken.sealed);
                    imported.last_change = taken.linked.or(imported.last_change);
                    taken.notes.into_iter().for_each(|what| {
                        keep(&mut imported.notes, Remark { lines: entry.lines, what });
                    });
                }
                Err(Untaken::Refused(what)) => {
                    step.rollback().await.context(CANNOT)?;
                    imported.refuse(Remark { lines: entry.lines, what });
                }
                Err(Untaken::Failed(error)) => return Err(error.context(CANNOT)),
            }
            written += 1;
            if written % BATCH == 0 && !self.dry_run {
                tx.commit().await.context(CANNOT)?;
                tx = pool.begin().await.context(CANNOT)?;
            }
        }
        match self.dry_run {
            true => tx.rollback().await.context(CANNOT)?,
            false => tx.commit().await.context(CANNOT)?,
        }
        Ok(imported)
    }

    async fn take(&self, connection: &mut PgConnection, entry: &Entry) -> Result<Taken, Untaken> {
        let Entry { user_id, did, .. } = entry;
        let mut taken = Taken::default();
        let kept = entry.custodial && !entry.taken_over;
        if entry.custodial && entry.taken_over {
            let what =
                format!("{did} was taken over by its owner (takeOwnershipStatus), so it is linked as not custodial");
            taken.notes.push(what);
        } else if !entry.custodial && entry.envelope.is_some() {
            taken.notes.push(format!("{did} is not custodial; the credentials beside it are left out"));
        } else if kept && entry.envelope.is_none() {
            taken.notes.push(format!("{did} is custodial and has no credentials: nothing can be done in its name"));
        }
        let secret = match &entry.envelope {
            Some(envelope) if kept => Some(self.open(envelope)?),
            _ => None,
        };
        let there = identity::of_either(connection, user_id, did).await?;
        match there.iter().find(|account| account.user_id == *user_id && account.did == did.as_str()) {
            Some(account) if account.custodial != kept => {
                let [here, file] =
                    [account.custodial, kept].map(|kept| if kept { "custodial" } else { "its owner's own" });
                return Err(Untaken::Refused(format!(
                    "{did} (user {user_id}) is {here} here and {file} in the file; it is left as it is here: \
                     `almanac identity link` or `release` changes it"
                )));
            }
            Some(account) => taken.notes.extend(differs(account, entry)),
            None => {
                let wish = LinkWish {
                    user_id: user_id.clone(),
                    did: did.clone(),
                    pds: entry.pds.clone(),
                    handle: entry.handle.clone(),
                    custodial: kept,
                };
                let number = match link_within(connection, &wish, self.who, Some(self.why)).await {
                    Ok(number) => number,
                    Err(error @ LinkError::Taken(_)) => return Err(Untaken::Refused(error.to_string())),
                    Err(LinkError::Database(error)) => return Err(error.into()),
                };
                taken.linked = Some(number);
                if let Some(since) = entry.created_at {
                    identity::linked_since(connection, did, since).await?;
                }
            }
        }
        if let (Some(secret), Some(vault)) = (secret, self.vault) {
            self.store(connection, vault, entry, &secret, &mut taken).await?;
        }
        Ok(taken)
    }

    /// Opens the password of a line.
    fn open(&self, envelope: &str) -> Result<SecretString, Untaken> {
        let refused = |why: String| Untaken::Refused(format!("its credentials cannot be taken over: {why}"));
        let Some(vault) = self.vault else {
            return Err(refused("no key is set to seal them with; give one in identity.key_files".to_owned()));
        };
        let mut last = None;
        for vault in self.older.into_iter().chain([vault]) {
            match vault.open_older(envelope) {
                Ok(secret) => return Ok(secret),
                Err(why) => last = Some(why.to_string()),
            }
        }
        let why = last.unwrap_or_default();
        Err(refused(format!("{why} (--legacy-key-file FILE gives the key of the app that made them)")))
    }

    async fn store(
        &self,
        connection: &mut PgConnection,
        vault: &Vault,
        entry: &Entry,
        secret: &SecretString,
        taken: &mut Taken,
    ) -> Result<(), Untaken> {
        let Entry { user_id, did, .. } = entry;
        let name = CredentialName::Password;
        match credential::load(&mut *connection, vault, user_id, did.as_str(), name).await {
            Ok(None) => {}
            Ok(Some(here)) => {
                if here.expose_secret() != secret.expose_secret() {
                    taken.notes.push(format!("another password of {did} is held here already, and kept"));
                }
                return Ok(());
            }
            Err(credential::CredentialError::Database(error)) => return Err(error.into()),
            Err(error) => return Err(Untaken::Refused(format!("what is held here already does not open: {error}"))),
        }
        match credential::store(connection, vault, user_id, did.as_str(), name, secret).await {
            Ok(()) => {
                taken.sealed = true;
                Ok(())
            }
            Err(credential::CredentialError::Database(error)) => Err(error.into()),
            Err(error) => Err(Untaken::Refused(error.to_string())),
        }
    }
}

/// What a link says otherwise than the file. What is here was verified later.
fn differs(account: &Account, entry: &Entry) -> Option<String> {
    let handle = entry.handle.as_ref().map(|handle| handle.as_str());
    let same_handle = handle.is_none() || account.handle.as_deref() == handle;
    let what = match (account.pds == entry.pds, same_handle) {
        (true, true) => return None,
        (false, true) => "PDS",
        (true, false) => "handle",
        (false, false) => "PDS and handle",
    };
    Some(format!("{} is linked here with another {what}, which is kept", account.did))
}
