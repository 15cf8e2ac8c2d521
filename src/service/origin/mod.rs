//! Who may enter, changed at run time: the one way that the command line and the admin listener share.
//!
//! In: a change with who and why. Out: the entry and its change, written in one transaction; the process that appends takes the
//! change into its policy and puts it into the log. Always true: a change that is in the log is in force. Never: a verdict
//! written by anybody but that process.

mod desk;
mod explain;
mod links;

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use serde::Serialize;
use sqlx::PgPool;
use tokio::time::Instant;

pub use desk::Desk;
pub use explain::{Explanation, Facts, Looked, Ruling, explain, stored};
pub use links::{LinkWish, Unlinked, link, link_within, unlink};

use crate::event::{Did, ListChange};
use crate::identity::{self, Account};
use crate::ingest::lists::{self, Entry, ListFile};

/// How long whoever makes a change waits for it to be in the log.
pub const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// The longest word of who or why, in characters.
const SAID_MAX: usize = 500;

/// Reads who made a change, or why.
///
/// # Errors
/// Nothing said, more than 500 characters, or a control character: it ends up in logs and tables that people read.
pub fn said(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("is empty; say it in a few words".to_owned());
    }
    if text.chars().count() > SAID_MAX {
        return Err(format!("is longer than {SAID_MAX} characters"));
    }
    match text.chars().find(|c| c.is_control()) {
        Some(odd) => Err(format!("has the control character {odd:?}")),
        None => Ok(text.to_owned()),
    }
}

/// Why an entry was taken back, when nobody says.
pub const FORGET_WHY: &str = "taken back";

/// A change that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Made {
    /// Whose.
    pub did: String,
    /// A word of [`ListChange`].
    pub change: &'static str,
    /// By whom.
    pub who: String,
    /// Why.
    pub why: String,
    /// Its number; `None` when there was nothing to take back, and so nothing changed.
    pub number: Option<i64>,
}

/// Makes, replaces or takes back the entries of these accounts: all of them, or none.
///
/// # Errors
/// The database did not do it.
///
/// # Panics
/// When asked for a change that is not about an entry.
pub async fn change(
    pool: &PgPool,
    dids: &BTreeSet<Did>,
    change: ListChange,
    who: &str,
    why: &str,
) -> anyhow::Result<Vec<Made>> {
    let mut tx = pool.begin().await.context("the entries cannot be written")?;
    let mut made = Vec::with_capacity(dids.len());
    // Sorted: two commands about the same accounts wait for each other, and not both for ever.
    for did in dids {
        let number =
            lists::enter(&mut tx, did, change, who, why).await.with_context(|| format!("{did} cannot be entered"))?;
        made.push(Made {
            did: did.to_string(),
            change: change.as_str(),
            who: who.to_owned(),
            why: why.to_owned(),
            number,
        });
    }
    tx.commit().await.context("the entries cannot be written")?;
    Ok(made)
}

/// Waits until these changes are in the log, and so in force. Whether they are; not within `patience` when nobody appends.
///
/// # Errors
/// The database does not answer. The changes were made all the same.
pub async fn in_the_log(pool: &PgPool, numbers: &[i64], patience: Duration) -> anyhow::Result<bool> {
    let deadline = Instant::now() + patience;
    while lists::waits(pool, numbers).await.context("the change is made; whether it is in the log cannot be read")? {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    Ok(true)
}

/// What decides who may enter, beside the settings.
#[derive(Clone, Debug, Serialize)]
pub struct Lists {
    /// Entries made at run time, by account.
    pub entries: Vec<Entry>,
    /// How many there are, whether shown or not.
    pub entries_total: usize,
    /// The list files, as a process that serves found them last.
    pub files: Vec<ListFile>,
    /// Our users' accounts.
    pub links: Vec<Account>,
    /// How many there are, whether shown or not.
    pub links_total: usize,
    /// Changes that no process has put into the log yet.
    pub changes_waiting: i64,
}

/// Reads all of it; with accounts, the entries and links of those.
///
/// # Errors
/// The database does not answer.
pub async fn view(pool: &PgPool, dids: &BTreeSet<Did>) -> anyhow::Result<Lists> {
    let named = |did: &str| dids.is_empty() || dids.iter().any(|named| named.as_str() == did);
    let mut entries = lists::entries(pool).await.context("the entries cannot be read")?;
    let mut links = identity::all(pool).await.context("our users' accounts cannot be read")?;
    let (entries_total, links_total) = (entries.len(), links.len());
    entries.retain(|entry| named(&entry.did));
    links.retain(|link| named(&link.did));
    Ok(Lists {
        entries,
        entries_total,
        files: lists::files(pool).await.context("what is known of the list files cannot be read")?,
        links,
        links_total,
        changes_waiting: lists::pending_count(pool).await.context("the changes cannot be counted")?,
    })
}

#[cfg(test)]
mod tests {
    use super::said;

    #[test]
    fn who_and_why_are_words_that_people_can_read() {
        assert_eq!(said("  spam, by Anna "), Ok("spam, by Anna".to_owned()));
        assert_eq!(said(&"é".repeat(500)).map(|text| text.chars().count()), Ok(500));
        for odd in ["", " \t", "a\nb", "a\0", "\u{1b}[2Jx", &"x".repeat(501)] {
            assert!(said(odd).is_err(), "{odd:?}");
        }
    }
}
