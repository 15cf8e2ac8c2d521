//! Secrets move under the key that seals now: those of accounts, and the passwords of accounts that are being made.
//!
//! In: a vault whose first key is the new one. Out: every envelope sealed by it, in batches by primary key, each its own
//! transaction; and which rows do not open. Always true: what is done is no longer to be done, so an interrupted rotation
//! goes on where it was; a row that somebody holds is left for the next round, and so this never waits for a lock, nor takes
//! part in a deadlock that could cost a session its single-use token; a row that changed meanwhile is sealed as it is now.
//! Never: a row that does not open, changed.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use sqlx::{Connection, PgConnection, PgPool};

use super::vault::{Place, Vault};
use crate::telemetry::crash_point;

/// Rows that are named one by one; all are counted.
pub const NAMED_MAX: usize = 10_000;
/// How long rows that somebody holds are waited for between rounds.
const ROUND_PAUSE: Duration = Duration::from_millis(200);
/// Rounds without any progress before what is held is given up.
const IDLE_ROUNDS: u32 = 150;

/// A row that does not open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unopened {
    /// Whose.
    pub user_id: String,
    /// Of which account.
    pub did: String,
    /// Which secret.
    pub name: String,
    /// The key that the row names; `None`: the older form, which names none.
    pub key_id: Option<String>,
    /// Why, and what to do.
    pub why: String,
}

/// What a rotation did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rotation {
    /// Secrets sealed anew.
    pub sealed: u64,
    /// Secrets that do not open; they are as they were.
    pub unopened: u64,
    /// Of these, the first ten thousand.
    pub unopened_rows: Vec<Unopened>,
    /// Secrets that others held all the time; they are as they were.
    pub busy: u64,
}

/// What a look at all rows found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Proof {
    /// By the key that envelopes name; the empty word: the older form, which names none.
    pub keys: BTreeMap<String, OfKey>,
    /// Secrets that a rotation would seal anew.
    pub to_seal: u64,
    /// Secrets that do not open.
    pub unopened: u64,
    /// Of these, the first ten thousand.
    pub unopened_rows: Vec<Unopened>,
}

/// Secrets of one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OfKey {
    /// How many.
    pub secrets: u64,
    /// Of these, how many open.
    pub open: u64,
}

/// A table that holds envelopes. Its statements see the same columns, and a key of two parts that orders the rows.
struct Shelf {
    /// Of the sealing head and key: how many rows are not under it.
    count: &'static str,
    /// Of the key's parts, the sealing head and key, and a number: the next rows that are not under it and that nobody holds.
    pick: &'static str,
    /// Of lists of the key's parts, old and new envelopes, and the sealing key: puts the new ones in.
    put: &'static str,
    /// Of the key's parts and a number: the next rows.
    look: &'static str,
}

const SHELVES: [Shelf; 2] = [
    Shelf {
        count: "select count(*) from identity.credential where not starts_with(envelope, $1) or key_id is distinct from $2",
        pick: "select did as first, name as second, user_id, did, name, envelope, key_id from identity.credential
               where (did, name) > ($1, $2) and (not starts_with(envelope, $3) or key_id is distinct from $4)
               order by did, name limit $5 for update skip locked",
        put: "update identity.credential c set envelope = n.new, key_id = $5, updated_at = now()
              from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as n (did, name, old, new)
              where c.did = n.did and c.name = n.name and c.envelope = n.old",
        look: "select did as first, name as second, user_id, did, name, envelope, key_id from identity.credential
               where (did, name) > ($1, $2) order by did, name limit $3",
    },
    Shelf {
        count: "select count(*) from identity.pending_account
                where not starts_with(envelope, $1) or key_id is distinct from $2",
        // Bound to the handle, since there is no account yet.
        pick:
            "select user_id as first, '' as second, user_id, handle as did, 'pending_password' as name, envelope, key_id
               from identity.pending_account
               where (user_id, '') > ($1, $2) and (not starts_with(envelope, $3) or key_id is distinct from $4)
               order by user_id limit $5 for update skip locked",
        put: "update identity.pending_account c set envelope = n.new, key_id = $5
              from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as n (user_id, nothing, old, new)
              where c.user_id = n.user_id and c.envelope = n.old",
        look:
            "select user_id as first, '' as second, user_id, handle as did, 'pending_password' as name, envelope, key_id
               from identity.pending_account where (user_id, '') > ($1, $2) order by user_id limit $3",
    },
];

#[derive(sqlx::FromRow)]
struct Row {
    first: String,
    second: String,
    user_id: String,
    did: String,
    name: String,
    envelope: String,
    key_id: Option<String>,
}

impl Row {
    fn place(&self) -> Place<'_> {
        Place { user_id: &self.user_id, did: &self.did, column: &self.name }
    }

    fn unopened(&self, why: impl ToString) -> Unopened {
        Unopened {
            user_id: self.user_id.clone(),
            did: self.did.clone(),
            name: self.name.clone(),
            key_id: self.key_id.clone(),
            why: why.to_string(),
        }
    }
}

/// How many secrets a rotation has to do.
///
/// # Errors
/// The database did not do it.
pub async fn to_seal(pool: &PgPool, vault: &Vault) -> Result<u64, sqlx::Error> {
    let mut all = 0;
    for shelf in &SHELVES {
        let count: i64 = sqlx::query_scalar(shelf.count)
            .bind(vault.sealing_head())
            .bind(vault.ring().sealing())
            .fetch_one(pool)
            .await?;
        all += count.unsigned_abs();
    }
    Ok(all)
}

/// Seals every secret that is not under the first key of the ring anew, `batch` rows (at least one) at a time. `told` is told
/// how many are done after each batch.
///
/// # Errors
/// The database did not do it. What was done stays done.
pub async fn rotate(
    pool: &PgPool,
    vault: &Vault,
    batch: u32,
    mut told: impl FnMut(u64),
) -> Result<Rotation, sqlx::Error> {
    let mut rotation = Rotation::default();
    let mut connection = pool.acquire().await?;
    let mut idle = 0;
    loop {
        // Rows that do not open are met again in each round; the last round's word counts.
        (rotation.unopened, rotation.unopened_rows) = (0, Vec::new());
        let before = rotation.sealed;
        for shelf in &SHELVES {
            let mut after = (String::new(), String::new());
            while let Some(last) = one_batch(&mut connection, shelf, vault, batch, &after, &mut rotation).await? {
                after = last;
                told(rotation.sealed + rotation.unopened);
                crash_point("rotate between batches");
            }
        }
        rotation.busy = to_seal(pool, vault).await?.saturating_sub(rotation.unopened);
        idle = if rotation.sealed > before { 0 } else { idle + 1 };
        if rotation.busy == 0 || idle > IDLE_ROUNDS {
            return Ok(rotation);
        }
        tokio::time::sleep(ROUND_PAUSE).await;
    }
}

/// Seals one batch anew. The last row that it looked at; `None` when none is left behind `after`.
async fn one_batch(
    connection: &mut PgConnection,
    shelf: &Shelf,
    vault: &Vault,
    batch: u32,
    after: &(String, String),
    rotation: &mut Rotation,
) -> Result<Option<(String, String)>, sqlx::Error> {
    let mut tx = connection.begin().await?;
    let rows: Vec<Row> = sqlx::query_as(shelf.pick)
        .bind(&after.0)
        .bind(&after.1)
        .bind(vault.sealing_head())
        .bind(vault.ring().sealing())
        .bind(i64::from(batch.max(1)))
        .fetch_all(&mut *tx)
        .await?;
    let Some(last) = rows.last().map(|row| (row.first.clone(), row.second.clone())) else { return Ok(None) };
    let (mut firsts, mut seconds, mut olds, mut news) = (vec![], vec![], vec![], vec![]);
    for row in &rows {
        match vault.open(&row.place(), &row.envelope).and_then(|opened| vault.seal(&row.place(), &opened.secret)) {
            Ok(sealed) => {
                firsts.push(row.first.as_str());
                seconds.push(row.second.as_str());
                olds.push(row.envelope.as_str());
                news.push(sealed.envelope);
            }
            Err(why) => {
                rotation.unopened += 1;
                if rotation.unopened_rows.len() < NAMED_MAX {
                    rotation.unopened_rows.push(row.unopened(why));
                }
            }
        }
    }
    // The rows are locked; that the old envelope must still be there says it once more.
    let done = sqlx::query(shelf.put)
        .bind(&firsts)
        .bind(&seconds)
        .bind(&olds)
        .bind(&news)
        .bind(vault.ring().sealing())
        .execute(&mut *tx)
        .await?;
    crash_point("rotate before commit");
    tx.commit().await?;
    rotation.sealed += done.rows_affected();
    Ok(Some(last))
}

/// Opens every secret and changes none: what a rotation would do, and whether anything stands in its way. `told` is told how
/// many were looked at.
///
/// # Errors
/// The database did not do it.
pub async fn prove(pool: &PgPool, vault: &Vault, batch: u32, mut told: impl FnMut(u64)) -> Result<Proof, sqlx::Error> {
    let mut proof = Proof::default();
    let (head, sealing) = (vault.sealing_head(), vault.ring().sealing());
    let mut looked = 0;
    for shelf in &SHELVES {
        let (mut first, mut second) = (String::new(), String::new());
        loop {
            let rows: Vec<Row> = sqlx::query_as(shelf.look)
                .bind(&first)
                .bind(&second)
                .bind(i64::from(batch.max(1)))
                .fetch_all(pool)
                .await?;
            let Some(last) = rows.last() else { break };
            for row in &rows {
                proof.look_at(row, vault);
                let settled = row.envelope.starts_with(&head) && row.key_id.as_deref() == Some(sealing);
                proof.to_seal += u64::from(!settled);
            }
            looked += rows.len() as u64;
            told(looked);
            (first, second) = (last.first.clone(), last.second.clone());
        }
    }
    Ok(proof)
}

impl Proof {
    fn look_at(&mut self, row: &Row, vault: &Vault) {
        let of_key = self.keys.entry(row.key_id.clone().unwrap_or_default()).or_default();
        of_key.secrets += 1;
        match vault.open(&row.place(), &row.envelope) {
            Ok(_) => of_key.open += 1,
            Err(why) => {
                self.unopened += 1;
                if self.unopened_rows.len() < NAMED_MAX {
                    self.unopened_rows.push(row.unopened(why));
                }
            }
        }
    }
}
