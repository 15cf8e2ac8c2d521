//! Events: a list by filters, and one by its address.

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgConnection, PgPool, Postgres, QueryBuilder};

use super::page::{Limit, List, Order, Page};
use super::run::{QueryError, begin, bounded};
use super::view::{EVENT_COLUMNS, EVENT_JOINS, EventView};
use super::word::{Author, DEFAULT_MODE, DEFAULT_STATUS, EventMode, EventStatus, SearchText};
use crate::event::{AtUri, Did, Handle};

/// What orders a list of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventSort {
    /// When they start.
    StartsAt,
    /// When they were made.
    CreatedAt,
}

/// Which events, in which order. Every condition must hold; one that is `None` holds for all.
#[derive(Clone, Debug)]
pub struct EventQuery {
    /// Starts at this time or later.
    pub starts_after: Option<DateTime<Utc>>,
    /// Starts before this time. Half open, so that ranges set side by side show every event once.
    pub starts_before: Option<DateTime<Utc>>,
    /// Is over at this time or later: ongoing or still to come. An event without an end is over when it starts.
    pub ends_after: Option<DateTime<Utc>>,
    /// Made by this account.
    pub author: Option<Author>,
    /// Has this status.
    pub status: Option<EventStatus>,
    /// Is attended so.
    pub mode: Option<EventMode>,
    /// Has this in name or description.
    pub text: Option<SearchText>,
    /// The date to sort by; events without it come last.
    pub sort: EventSort,
    /// Which way.
    pub order: Order,
    /// How many.
    pub limit: Limit,
    /// Where to go on: as the last page of the same sort and order gave it.
    pub cursor: Option<String>,
}

impl Default for EventQuery {
    /// Every event, the earliest start first.
    fn default() -> Self {
        EventQuery {
            starts_after: None,
            starts_before: None,
            ends_after: None,
            author: None,
            status: None,
            mode: None,
            text: None,
            sort: EventSort::StartsAt,
            order: Order::Asc,
            limit: Limit::default(),
            cursor: None,
        }
    }
}

impl EventQuery {
    fn conditions(&self, author: Option<&Did>, sql: &mut QueryBuilder<Postgres>) {
        if let Some(time) = self.starts_after {
            sql.push(" and t.starts_at >= ").push_bind(time);
        }
        if let Some(time) = self.starts_before {
            sql.push(" and t.starts_at < ").push_bind(time);
        }
        if let Some(time) = self.ends_after {
            // Written as the index `events_by_end` has it: the later of both, or the one that is there.
            sql.push(" and greatest(t.starts_at, t.ends_at) >= ").push_bind(time);
        }
        if let Some(did) = author {
            sql.push(" and t.did = ").push_bind(did.as_str().to_owned());
        }
        if let Some(status) = &self.status {
            sql.push(format_args!(" and coalesce(t.status, '{DEFAULT_STATUS}') = any("))
                .push_bind(status.forms())
                .push(")");
        }
        if let Some(mode) = &self.mode {
            sql.push(format_args!(" and coalesce(t.mode, '{DEFAULT_MODE}') = any(")).push_bind(mode.forms()).push(")");
        }
        if let Some(text) = &self.text {
            sql.push(" and t.search @@ websearch_to_tsquery('simple', ").push_bind(text.as_str().to_owned()).push(")");
        }
    }
}

/// One page of events.
///
/// # Errors
/// [`QueryError::Invalid`] for a cursor that is not this query's; the others as they say.
pub async fn list_events(pool: &PgPool, query: &EventQuery) -> Result<Page<EventView>, QueryError> {
    let (key, scope) = match (query.sort, query.order) {
        (EventSort::StartsAt, Order::Asc) => ("starts_at", "events.startsAt.asc"),
        (EventSort::StartsAt, Order::Desc) => ("starts_at", "events.startsAt.desc"),
        (EventSort::CreatedAt, Order::Asc) => ("created_at", "events.createdAt.asc"),
        (EventSort::CreatedAt, Order::Desc) => ("created_at", "events.createdAt.desc"),
    };
    let ranged = query.starts_after.is_some() || query.starts_before.is_some();
    let list = List {
        table: "calendar.events",
        key,
        order: query.order,
        limit: query.limit,
        cursor: query.cursor.as_deref(),
        scope,
        columns: EVENT_COLUMNS,
        joins: EVENT_JOINS,
        undated: !(ranged && query.sort == EventSort::StartsAt),
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
        let page = list.fetch(&mut tx, |sql| query.conditions(author.as_ref(), sql), EventView::read).await?;
        tx.commit().await?;
        Ok(page)
    })
    .await
}

/// One event, or `None` when it is not known here or may not be shown.
pub async fn get_event(pool: &PgPool, uri: &AtUri) -> Result<Option<EventView>, QueryError> {
    let sql = format!("select {EVENT_COLUMNS} from calendar.events t {EVENT_JOINS} where t.uri = $1");
    bounded(|| async {
        let mut tx = begin(pool).await?;
        // The statement is made of this room's constants alone.
        let row = sqlx::query(AssertSqlSafe(sql.as_str())).bind(uri.to_string()).fetch_optional(&mut *tx).await?;
        tx.commit().await?;
        Ok(row.as_ref().map(EventView::read).transpose()?)
    })
    .await
}

/// The account behind an author: for a handle, the one that claimed it last.
pub(super) async fn resolve(conn: &mut PgConnection, author: &Author) -> Result<Option<Did>, QueryError> {
    match author {
        Author::Did(did) => Ok(Some(did.clone())),
        Author::Handle(handle) => by_handle(conn, handle).await,
    }
}

async fn by_handle(conn: &mut PgConnection, handle: &Handle) -> Result<Option<Did>, QueryError> {
    let did: Option<String> = sqlx::query_scalar(
        "select did from calendar.accounts where lower(handle) = lower($1) \
         order by handle_time desc nulls last, handle_seq desc nulls last, did limit 1",
    )
    .bind(handle.as_str())
    .fetch_optional(conn)
    .await?;
    Ok(did.and_then(|did| Did::parse(&did).ok()))
}
