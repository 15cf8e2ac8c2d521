//! What hangs on several rows: which RSVP of an account counts, whether its pinned CID is the event's current one, and the
//! counts.
//!
//! Every write of RSVPs says which of them counted before and which count after it, so that counts change by the difference
//! and an event with a hundred thousand answers costs no more than one with ten.

use std::collections::{HashMap, HashSet};

use sqlx::PgConnection;

/// What the statuses of the lexicon begin with.
const STATUS: &str = "community.lexicon.calendar.rsvp#";

/// An RSVP's row as a write leaves or finds it: event, account, status, whether it counts.
pub(super) type Answer = (Option<String>, String, Option<String>, bool);

/// What the writes of a batch touched.
#[derive(Debug, Default)]
pub(super) struct Touched {
    /// Events that were written or removed.
    pub events: HashSet<String>,
    /// Event and account of RSVPs that were written or removed, as they were and as they are.
    answered: HashSet<(String, String)>,
    /// By how much the counts change: going, interested, notgoing, other.
    counts: HashMap<String, [i32; 4]>,
}

impl Touched {
    /// Rows that are not there any more, or not as they were.
    pub fn gone(&mut self, answers: Vec<Answer>) {
        self.answers(answers, -1);
    }

    /// Rows that are there now.
    pub fn come(&mut self, answers: Vec<Answer>) {
        self.answers(answers, 1);
    }

    fn answers(&mut self, answers: Vec<Answer>, by: i32) {
        for (subject, did, status, effective) in answers {
            let Some(subject) = subject else { continue };
            if effective {
                self.count(&subject, status.as_deref(), by);
            }
            self.answered.insert((subject, did));
        }
    }

    fn count(&mut self, subject: &str, status: Option<&str>, by: i32) {
        let place = match status.map(|status| status.strip_prefix(STATUS).unwrap_or(status)) {
            Some("going") => 0,
            Some("interested") => 1,
            Some("notgoing") => 2,
            _ => 3,
        };
        match self.counts.get_mut(subject) {
            Some(counts) => counts[place] += by,
            None => {
                let mut counts = [0; 4];
                counts[place] = by;
                self.counts.insert(subject.to_owned(), counts);
            }
        }
    }

    /// Brings up to date what hangs on what was touched.
    pub async fn settle(mut self, connection: &mut PgConnection) -> Result<(), sqlx::Error> {
        if !self.answered.is_empty() {
            let (subjects, dids): (Vec<&str>, Vec<&str>) =
                self.answered.iter().map(|(subject, did)| (subject.as_str(), did.as_str())).unzip();
            let changed: Vec<(String, Option<String>, bool)> = sqlx::query_as(include_str!("settle_rsvps.sql"))
                .bind(subjects)
                .bind(dids)
                .fetch_all(&mut *connection)
                .await?;
            for (subject, status, effective) in changed {
                self.count(&subject, status.as_deref(), if effective { 1 } else { -1 });
            }
        }
        if !self.events.is_empty() {
            let events: Vec<&str> = self.events.iter().map(String::as_str).collect();
            sqlx::query(include_str!("settle_pins.sql")).bind(events).execute(&mut *connection).await?;
        }
        let counts: Vec<(&String, &[i32; 4])> = self.counts.iter().filter(|(_, counts)| **counts != [0; 4]).collect();
        if counts.is_empty() {
            return Ok(());
        }
        let subjects: Vec<&str> = counts.iter().map(|(subject, _)| subject.as_str()).collect();
        let column = |place: usize| counts.iter().map(|(_, counts)| counts[place]).collect::<Vec<_>>();
        sqlx::query(include_str!("add_counts.sql"))
            .bind(&subjects)
            .bind(column(0))
            .bind(column(1))
            .bind(column(2))
            .bind(column(3))
            .execute(&mut *connection)
            .await?;
        if counts.iter().any(|(_, counts)| counts.iter().any(|count| *count < 0)) {
            // An event that nobody answers to any more has no row.
            let none = "delete from rsvp_counts where subject_uri = any($1) and (going, interested, notgoing, other) = (0, 0, 0, 0)";
            sqlx::query(none).bind(&subjects).execute(connection).await?;
        }
        Ok(())
    }
}
