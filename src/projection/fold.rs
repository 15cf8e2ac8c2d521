//! One batch of events folded into the tables: load what they touch, fold it in memory, write what changed.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use sqlx::PgConnection;

use super::rows::{Shown, show, uri_of};
use super::settle::Touched;
use super::{load, write};
use crate::calendar::{AccountState, RecordKey};
use crate::event::{Body, Did, Logged, Position};
use crate::event_log;

/// How many words of one account are looked at together when all its rows return.
const REFRESH_WORDS: i64 = 200;

/// Folds `events`, which follow the checkpoint, into the tables of the search path.
pub(super) async fn fold(connection: &mut PgConnection, events: &[Logged]) -> Result<(), sqlx::Error> {
    let before = load::state_before(connection, events).await?;
    let mut state = before.clone();
    let mut records: HashMap<Position, &Bytes> = HashMap::new();
    for logged in events {
        state.fold(logged);
        if let Body::Put { record, .. } = &logged.event.body {
            records.insert(logged.position, record);
        }
    }
    let words: Vec<_> = state.words.iter().filter(|(key, word)| before.words.get(key) != Some(word)).collect();
    let accounts: Vec<_> =
        state.accounts.iter().filter(|(did, account)| before.accounts.get(*did) != Some(account)).collect();
    write::words(connection, &words).await?;
    write::accounts(connection, &accounts).await?;

    // Accounts whose rows all change: hidden, shown again, or cut by a snapshot.
    let fresh = AccountState::default();
    let whole: HashSet<&Did> = accounts
        .iter()
        .filter(|(did, account)| {
            let was = before.accounts.get(*did).unwrap_or(&fresh);
            was.hidden() != account.hidden() || was.snapshot != account.snapshot
        })
        .map(|(did, _)| *did)
        .collect();
    let mut touched = Touched::default();
    let dids: Vec<&str> = whole.iter().map(|did| did.as_str()).collect();
    write::remove_all_of(connection, &dids, &mut touched).await?;
    for did in whole {
        let account = &state.accounts[did];
        if !account.hidden() {
            refresh(connection, did, account, &mut touched).await?;
        }
    }

    let mut shown: Vec<Shown> = Vec::new();
    let mut removed: Vec<String> = Vec::new();
    for (key, word) in words {
        let account = &state.accounts[&key.did];
        // Rows of an account that changed as a whole are written already; writing them again changes nothing.
        let row = if account.has_live(word) && !account.hidden() {
            let record = records.get(&word.position).expect("a word that changed was spoken in this batch");
            show(key, word, record)
        } else {
            None
        };
        match row {
            Some(row) => shown.push(row),
            // Also what cannot be shown: the row that an earlier word left must not stand for it.
            None => removed.push(uri_of(key)),
        }
    }
    write::remove(connection, &removed, &mut touched).await?;
    write::show(connection, &shown, &mut touched).await?;
    touched.settle(connection).await
}

/// Writes all live rows of one account anew, from the log.
async fn refresh(
    connection: &mut PgConnection,
    did: &Did,
    account: &AccountState,
    touched: &mut Touched,
) -> Result<(), sqlx::Error> {
    let mut after: Option<RecordKey> = None;
    loop {
        let words = load::words_of(connection, did, after.as_ref(), REFRESH_WORDS).await?;
        let Some((last, _)) = words.last() else { return Ok(()) };
        after = Some(last.clone());
        let live: Vec<_> = words.iter().filter(|(_, word)| account.has_live(word)).collect();
        let positions: Vec<Position> = live.iter().map(|(_, word)| word.position).collect();
        let records = event_log::records_at(connection, &positions).await?;
        let shown: Vec<Shown> = live
            .iter()
            .filter_map(|(key, word)| records.get(&word.position).and_then(|record| show(key, word, record)))
            .collect();
        write::show(connection, &shown, touched).await?;
    }
}
