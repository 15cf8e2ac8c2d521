//! Folding the log account by account into tables that are empty and have no indices.
//!
//! The fold does not care about order, so the events of one account may be read together, whenever they came: every record is
//! then written once, as it ends, and which of an account's RSVPs counts is known before its rows are written. Events go
//! first, because an RSVP's row says whether its pinned CID is the event's current one.
//!
//! Memory: for each worker the words of one account and at most about [`HELD_BYTES`] of its records, about [`ANSWERS`] RSVPs,
//! and a few megabytes of rows on their way.

use std::collections::HashMap;
use std::pin::pin;

use bytes::Bytes;
use futures_util::StreamExt;
use sqlx::PgConnection;
use tokio::sync::mpsc;

use super::super::rows::{Shown, show};
use super::rows::{Rows, micros};
use crate::calendar::{AccountState, EVENT, RecordKey, RsvpView, State, View, Word};
use crate::event::{Body, Did, Logged, Position, Refusal, Rkey};
use crate::event_log::{self, Part};

/// Above this the records of one account are not kept while its events are read, but asked for again.
const HELD_BYTES: usize = 16_000_000;
/// How many records are asked for at once.
const ASKED: usize = 200;
/// RSVPs whose events are looked up together.
const ANSWERS: usize = 2_000;
/// Progress is told after this many events.
const TOLD_EVERY: u64 = 1_000;

/// A piece of the log: the accounts from `from` on and before `to`.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub from: String,
    pub to: Option<String>,
}

/// Which half of the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// What is about accounts, and their events.
    Events,
    /// All other records. The events of every account must be there.
    Others,
}

/// One worker: reads over one connection and writes over another.
pub(super) struct Loader {
    pub reader: PgConnection,
    pub writer: PgConnection,
    /// Up to where the log is read.
    pub last: Position,
    /// Told how many events were folded.
    pub folded: mpsc::UnboundedSender<u64>,
}

impl Loader {
    /// Loads one piece.
    pub async fn load(&mut self, piece: &Piece, pass: Pass) -> Result<(), sqlx::Error> {
        let part = match pass {
            Pass::Events => Part::Collection(EVENT),
            Pass::Others => Part::Others(EVENT),
        };
        let mut tables = Tables::new(pass);
        let range = (piece.from.as_str(), piece.to.as_deref());
        let mut events = pin!(event_log::of_accounts(&mut self.reader, range, self.last, part));
        let mut account: Option<Account> = None;
        let mut folded = 0;
        while let Some(logged) = events.next().await {
            let logged = logged?;
            // What is about accounts is read in both passes, and counted in the first.
            folded += u64::from(pass == Pass::Events || is_about_record(&logged.event.body));
            if folded >= TOLD_EVERY {
                let _nobody_listens = self.folded.send(std::mem::take(&mut folded));
            }
            if account.as_ref().is_some_and(|account| account.did != logged.event.did) {
                tables.settle(&mut self.writer, account.take().expect("it was looked at")).await?;
            }
            account.get_or_insert_with(|| Account::of(logged.event.did.clone())).fold(logged);
        }
        if let Some(account) = account {
            tables.settle(&mut self.writer, account).await?;
        }
        tables.flush(&mut self.writer).await?;
        let _nobody_listens = self.folded.send(folded);
        Ok(())
    }
}

fn is_about_record(body: &Body) -> bool {
    matches!(body, Body::Put { .. } | Body::Delete { .. })
}

/// What was read of one account so far.
struct Account {
    did: Did,
    state: State,
    /// The bytes that its words stand for, as far as they are kept.
    records: HashMap<Position, Bytes>,
    bytes: usize,
}

impl Account {
    fn of(did: Did) -> Self {
        Account { did, state: State::default(), records: HashMap::new(), bytes: 0 }
    }

    fn fold(&mut self, logged: Logged) {
        self.state.fold(&logged);
        if let Body::Put { record, .. } = logged.event.body
            && self.bytes + record.len() <= HELD_BYTES
        {
            self.bytes += record.len();
            self.records.insert(logged.position, record);
        }
    }
}

/// The tables' rows on their way.
struct Tables {
    pass: Pass,
    words: Rows,
    accounts: Rows,
    events: Rows,
    locations: Rows,
    rsvps: Rows,
    /// RSVPs whose events are to be looked up; each with whether it counts.
    answers: Vec<(Shown, bool)>,
}

impl Tables {
    fn new(pass: Pass) -> Self {
        Tables {
            pass,
            words: Rows::of("words", "did, collection, rkey, rev, cid, position"),
            accounts: Rows::of(
                "accounts",
                "did, handle, active, status, hidden, status_time, status_seq, handle_time, handle_seq, snapshot_rev,
                 refused, standing_time",
            ),
            events: Rows::of(
                "events",
                "uri, did, rkey, cid, rev, name, description, created_at, starts_at, ends_at, mode, status, rsvp_expected,
                 uris, record, problems",
            ),
            locations: Rows::of(
                "event_locations",
                "uri, index, kind, name, street, locality, region, postal_code, country, latitude, longitude, h3,
                 fsq_place_id, link, location",
            ),
            rsvps: Rows::of(
                "rsvps",
                "uri, did, rkey, cid, rev, subject_uri, subject_cid, subject_stale, status, created_at, decided_at,
                 effective, record, problems",
            ),
            answers: Vec::new(),
        }
    }

    /// Writes what an account's events came to.
    async fn settle(&mut self, connection: &mut PgConnection, account: Account) -> Result<(), sqlx::Error> {
        let Account { did, state, records, .. } = account;
        // Words about lists alone make no account.
        let Some(standing) = state.accounts.get(&did) else { return Ok(()) };
        if self.pass == Pass::Events {
            self.account(&did, standing);
        }
        let mut live: Vec<(&RecordKey, &Word)> = Vec::new();
        for (key, word) in &state.words {
            self.word(key, word);
            if !standing.hidden() && standing.has_live(word) {
                live.push((key, word));
            }
        }
        // RSVPs of an account that has many are read twice, first only to see which of them count: together they would fill
        // memory.
        let is_large = live.len() > ANSWERS;
        let mut best = Best::default();
        if is_large {
            for chunk in live.chunks(ASKED) {
                for shown in read(connection, chunk, &records).await? {
                    best.hear(&shown);
                }
            }
        }
        let mut answers = Vec::new();
        for chunk in live.chunks(ASKED) {
            for shown in read(connection, chunk, &records).await? {
                match shown.view {
                    View::Event(_) => self.event(&shown),
                    View::Rsvp(_) => answers.push(shown),
                }
            }
            if is_large {
                self.answer(connection, answers.drain(..), &best).await?;
            }
            self.flush_full(connection).await?;
        }
        answers.iter().for_each(|shown| best.hear(shown));
        self.answer(connection, answers.into_iter(), &best).await?;
        self.flush_full(connection).await
    }

    /// Has RSVPs wait for their events to be looked up.
    async fn answer(
        &mut self,
        connection: &mut PgConnection,
        answers: impl Iterator<Item = Shown>,
        best: &Best,
    ) -> Result<(), sqlx::Error> {
        self.answers.extend(answers.map(|shown| {
            let effective = best.is_best(&shown);
            (shown, effective)
        }));
        if self.answers.len() >= ANSWERS { self.look_up(connection).await } else { Ok(()) }
    }

    /// Writes the RSVPs that wait.
    async fn look_up(&mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        let answers = std::mem::take(&mut self.answers);
        let subjects: Vec<Option<String>> =
            answers.iter().map(|(shown, _)| view(shown).subject_uri.as_ref().map(|uri| uri.to_string())).collect();
        let mut asked: Vec<&str> = subjects.iter().flatten().map(String::as_str).collect();
        asked.sort_unstable();
        asked.dedup();
        let current: Vec<(String, String)> = sqlx::query_as("select uri, cid from events where uri = any($1)")
            .bind(&asked)
            .fetch_all(&mut *connection)
            .await?;
        let current: HashMap<String, String> = current.into_iter().collect();
        for ((shown, effective), subject) in answers.iter().zip(&subjects) {
            let rsvp = view(shown);
            let cid = subject.as_ref().and_then(|uri| current.get(uri));
            let stale = cid.map(|cid| rsvp.subject_cid.as_deref() != Some(cid));
            self.rsvps
                .row()
                .text(&shown.uri)
                .text(shown.key.did.as_str())
                .text(shown.key.rkey.as_str())
                .text(&shown.cid.to_string())
                .text(&shown.rev)
                .maybe_text(subject.as_deref())
                .maybe_text(rsvp.subject_cid.as_deref())
                .boolean(stale)
                .maybe_text(rsvp.status.as_deref())
                .time(rsvp.created_at)
                .time(rsvp.decided_at)
                .boolean(Some(*effective))
                .json(&shown.record)
                .json(&rsvp.problems);
        }
        self.rsvps.flush_full(connection).await
    }

    fn word(&mut self, key: &RecordKey, word: &Word) {
        self.words
            .row()
            .text(key.did.as_str())
            .text(key.collection.as_str())
            .text(key.rkey.as_str())
            .text(&word.rev.to_string())
            .maybe_text(word.cid.map(|cid| cid.to_string()).as_deref())
            .bigint(Some(word.position));
    }

    fn account(&mut self, did: &Did, state: &AccountState) {
        self.accounts
            .row()
            .text(did.as_str())
            .maybe_text(state.handle.as_ref().map(|handle| handle.as_str()))
            .boolean(Some(state.active))
            .text(state.status.as_str())
            .boolean(Some(state.hidden()))
            .time(state.status_spoken.map(|spoken| spoken.0))
            .bigint(state.status_spoken.map(|spoken| spoken.1))
            .time(state.handle_spoken.map(|spoken| spoken.0))
            .bigint(state.handle_spoken.map(|spoken| spoken.1))
            .maybe_text(state.snapshot.map(|rev| rev.to_string()).as_deref())
            .maybe_text(state.refused.map(Refusal::as_str))
            .time(state.standing_at);
    }

    fn event(&mut self, shown: &Shown) {
        let View::Event(event) = &shown.view else { unreachable!("the caller looked") };
        self.events
            .row()
            .text(&shown.uri)
            .text(shown.key.did.as_str())
            .text(shown.key.rkey.as_str())
            .text(&shown.cid.to_string())
            .text(&shown.rev)
            .maybe_text(event.name.as_deref())
            .maybe_text(event.description.as_deref())
            .time(event.created_at)
            .time(event.starts_at)
            .time(event.ends_at)
            .maybe_text(event.mode.as_deref())
            .maybe_text(event.status.as_deref())
            .boolean(event.rsvp_expected)
            .json(&event.uris)
            .json(&shown.record)
            .json(&event.problems);
        for (index, location) in (0..).zip(&event.locations) {
            self.locations
                .row()
                .text(&shown.uri)
                .integer(index)
                .text(&location.kind)
                .maybe_text(location.name.as_deref())
                .maybe_text(location.street.as_deref())
                .maybe_text(location.locality.as_deref())
                .maybe_text(location.region.as_deref())
                .maybe_text(location.postal_code.as_deref())
                .maybe_text(location.country.as_deref())
                .double(location.latitude)
                .double(location.longitude)
                .maybe_text(location.h3.as_deref())
                .maybe_text(location.fsq_place_id.as_deref())
                .maybe_text(location.link.as_deref())
                .json(&location.raw);
        }
    }

    async fn flush_full(&mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        for rows in [&mut self.words, &mut self.accounts, &mut self.events, &mut self.locations, &mut self.rsvps] {
            rows.flush_full(connection).await?;
        }
        Ok(())
    }

    async fn flush(&mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        self.look_up(connection).await?;
        for rows in [&mut self.words, &mut self.accounts, &mut self.events, &mut self.locations, &mut self.rsvps] {
            rows.flush(connection).await?;
        }
        Ok(())
    }
}

/// What can be shown of the records that these words stand for. Those that are not kept are asked for.
async fn read(
    connection: &mut PgConnection,
    words: &[(&RecordKey, &Word)],
    kept: &HashMap<Position, Bytes>,
) -> Result<Vec<Shown>, sqlx::Error> {
    let missing: Vec<Position> =
        words.iter().map(|(_, word)| word.position).filter(|position| !kept.contains_key(position)).collect();
    let asked = match missing.is_empty() {
        true => HashMap::new(),
        false => event_log::records_at(connection, &missing).await?,
    };
    let record = |word: &Word| kept.get(&word.position).or_else(|| asked.get(&word.position));
    Ok(words.iter().filter_map(|(key, word)| record(word).and_then(|record| show(key, word, record))).collect())
}

/// Which of one account's RSVPs to each event counts: what `settle_rsvps.sql` says of it.
#[derive(Default)]
struct Best(HashMap<String, (Option<i64>, Rkey)>);

impl Best {
    fn rank(shown: &Shown) -> Option<(String, (Option<i64>, Rkey))> {
        let View::Rsvp(view) = &shown.view else { return None };
        Some((view.subject_uri.as_ref()?.to_string(), (view.decided_at.map(micros), shown.key.rkey.clone())))
    }

    fn hear(&mut self, shown: &Shown) {
        if let Some((subject, rank)) = Best::rank(shown) {
            let best = self.0.entry(subject).or_insert_with(|| rank.clone());
            if *best < rank {
                *best = rank;
            }
        }
    }

    fn is_best(&self, shown: &Shown) -> bool {
        Best::rank(shown).is_some_and(|(subject, rank)| self.0.get(&subject) == Some(&rank))
    }
}

fn view(shown: &Shown) -> &RsvpView {
    match &shown.view {
        View::Rsvp(view) => view,
        View::Event(_) => unreachable!("only RSVPs answer"),
    }
}
