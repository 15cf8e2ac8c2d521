//! RSVPs: by the event they answer to, by their author, or both.

use sqlx::PgPool;

use super::events::resolve;
use super::page::{Limit, List, Order, Page};
use super::run::{QueryError, begin, bounded};
use super::view::{RSVP_COLUMNS, RSVP_JOINS, RsvpView};
use super::word::{Author, RsvpStatus};
use crate::event::AtUri;

/// Which RSVPs, in which order. Every condition must hold.
#[derive(Clone, Debug)]
pub struct RsvpQuery {
    /// Answers to this event.
    pub subject: Option<AtUri>,
    /// Made by this account.
    pub author: Option<Author>,
    /// Says this.
    pub status: Option<RsvpStatus>,
    /// Also those that a later RSVP of the same account to the same event has replaced.
    pub superseded: bool,
    /// Which way, by the time that decides between RSVPs; those without one come last.
    pub order: Order,
    /// How many.
    pub limit: Limit,
    /// Where to go on: as the last page of the same order gave it.
    pub cursor: Option<String>,
}

impl Default for RsvpQuery {
    /// Those that count, the latest first.
    fn default() -> Self {
        RsvpQuery {
            subject: None,
            author: None,
            status: None,
            superseded: false,
            order: Order::Desc,
            limit: Limit::default(),
            cursor: None,
        }
    }
}

/// One page of RSVPs.
///
/// # Errors
/// [`QueryError::Invalid`] without subject and author, and for a cursor that is not this query's; the others as they
/// say.
pub async fn list_rsvps(pool: &PgPool, query: &RsvpQuery) -> Result<Page<RsvpView>, QueryError> {
    if query.subject.is_none() && query.author.is_none() {
        return Err(QueryError::invalid("subject", "is required unless `author` is given"));
    }
    let list = List {
        table: "calendar.rsvps",
        key: "decided_at",
        order: query.order,
        limit: query.limit,
        cursor: query.cursor.as_deref(),
        scope: if query.order == Order::Asc { "rsvps.asc" } else { "rsvps.desc" },
        columns: RSVP_COLUMNS,
        joins: RSVP_JOINS,
        undated: true,
    };
    list.check()?;
    bounded(|| async {
        let mut tx = begin(pool).await?;
        let author = match &query.author {
            None => None,
            Some(author) => match resolve(&mut tx, author).await? {
                Some(did) => Some(did),
                None => return Ok(Page::empty()),
            },
        };
        let filter = |sql: &mut sqlx::QueryBuilder<sqlx::Postgres>| {
            if let Some(subject) = &query.subject {
                sql.push(" and t.subject_uri = ").push_bind(subject.to_string());
            }
            if let Some(did) = &author {
                sql.push(" and t.did = ").push_bind(did.as_str().to_owned());
            }
            if let Some(status) = &query.status {
                // As the counts have it: an RSVP that does not say is none of the known answers.
                sql.push(" and t.status = any(").push_bind(status.forms()).push(")");
            }
            if !query.superseded {
                sql.push(" and t.effective");
            }
        };
        let page = list.fetch(&mut tx, filter, RsvpView::read).await?;
        tx.commit().await?;
        Ok(page)
    })
    .await
}
