//! Pages by key: a place in an order instead of a number of rows, so that rows that come and go in between shift
//! nothing.
//!
//! The order is (date, URI); rows without a date come last in both directions. A page is read in up to two zones,
//! dated and undated, because Postgres walks one index through each of them either way, while `nulls last` would need
//! an index of its own for one direction.

use chrono::{DateTime, Utc};
use data_encoding::BASE64URL_NOPAD;
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres, QueryBuilder, Row};

use super::QueryError;
use crate::event::AtUri;

/// The most bytes of records that one page carries, unless its first row alone is larger. Records are 300 bytes in
/// practice and may be 1,000,000: a page of a hundred of those would be anybody's way to fill our memory.
const PAGE_MAX_BYTES: i64 = 2_000_000;

/// Longer than any cursor that we give out.
const CURSOR_MAX_BYTES: usize = 6_000;

/// Which way a list runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Earliest first.
    Asc,
    /// Latest first.
    Desc,
}

impl Order {
    /// The word of API and SQL.
    pub fn as_str(self) -> &'static str {
        match self {
            Order::Asc => "asc",
            Order::Desc => "desc",
        }
    }
}

/// How many rows a page holds at most: 1 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(u8);

impl Limit {
    /// The largest page.
    pub const MAX: u8 = 100;

    /// `None` outside 1..=100.
    pub fn new(rows: u64) -> Option<Self> {
        u8::try_from(rows).ok().filter(|n| (1..=Self::MAX).contains(n)).map(Limit)
    }

    /// How many.
    pub fn rows(self) -> u8 {
        self.0
    }
}

impl Default for Limit {
    fn default() -> Self {
        Limit(50)
    }
}

/// Rows, and where to go on.
#[derive(Clone, Debug, Serialize)]
pub struct Page<T> {
    /// In the order asked for.
    pub rows: Vec<T>,
    /// Opaque; absent on the last page.
    pub cursor: Option<String>,
}

impl<T> Page<T> {
    pub(super) fn empty() -> Self {
        Page { rows: Vec::new(), cursor: None }
    }
}

/// The place after a row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    key: Option<DateTime<Utc>>,
    uri: String,
}

impl Place {
    fn encode(&self, scope: &str) -> String {
        let key = self.key.map_or_else(|| "-".to_owned(), |k| k.timestamp_micros().to_string());
        BASE64URL_NOPAD.encode(format!("1|{scope}|{key}|{}", self.uri).as_bytes())
    }

    fn decode(scope: &str, text: &str) -> Result<Self, QueryError> {
        let broken =
            || QueryError::invalid("cursor", "is not a cursor of this service: send back what the last page gave");
        if text.len() > CURSOR_MAX_BYTES {
            return Err(broken());
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| broken())?;
        let plain = String::from_utf8(bytes).map_err(|_| broken())?;
        let mut parts = plain.splitn(4, '|');
        let (Some("1"), Some(of), Some(key), Some(uri)) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(broken());
        };
        if AtUri::parse(uri).is_err() {
            return Err(broken());
        }
        let key = match key {
            "-" => None,
            // Postgres holds years 4713 BC to 294276; a cursor is given out for what it held.
            micros => {
                let micros = micros.parse().map_err(|_| broken())?;
                Some(DateTime::from_timestamp_micros(micros).filter(storable).ok_or_else(broken)?)
            }
        };
        if of != scope {
            let message = format!("belongs to another query ({of:?}, not {scope:?}): start without a cursor");
            return Err(QueryError::invalid("cursor", message.chars().take(200).collect::<String>()));
        }
        Ok(Place { key, uri: uri.to_owned() })
    }
}

fn storable(time: &DateTime<Utc>) -> bool {
    use chrono::Datelike;
    (-4700..=200_000).contains(&time.year())
}

/// What one list is.
pub(super) struct List<'a> {
    /// The table; its rows are `t` in every fragment.
    pub table: &'static str,
    /// The column of the date that orders it.
    pub key: &'static str,
    pub order: Order,
    pub limit: Limit,
    pub cursor: Option<&'a str>,
    /// Names the query that a cursor belongs to.
    pub scope: &'a str,
    /// What is shown of a row.
    pub columns: &'static str,
    /// Further tables that `columns` needs, joined by left joins to `t`.
    pub joins: &'static str,
    /// Whether undated rows can match at all.
    pub undated: bool,
}

enum Zone {
    Dated(Option<Place>),
    Undated(Option<Place>),
}

impl List<'_> {
    /// Refuses a cursor that is not this list's, before a connection is taken.
    pub(super) fn check(&self) -> Result<(), QueryError> {
        self.start().map(|_| ())
    }

    fn start(&self) -> Result<Zone, QueryError> {
        Ok(match self.cursor.map(|text| Place::decode(self.scope, text)).transpose()? {
            None => Zone::Dated(None),
            Some(place) if place.key.is_some() => Zone::Dated(Some(place)),
            Some(place) => Zone::Undated(Some(place)),
        })
    }

    /// Reads one page. `filter` adds ` and …` conditions on `t`, with binds.
    pub(super) async fn fetch<T>(
        &self,
        conn: &mut PgConnection,
        filter: impl Fn(&mut QueryBuilder<Postgres>),
        read: impl Fn(&PgRow) -> Result<T, sqlx::Error>,
    ) -> Result<Page<T>, QueryError> {
        let mut zone = self.start()?;
        let mut page = Page::empty();
        let mut last = None;
        let mut bytes_left = PAGE_MAX_BYTES;
        loop {
            let rows_left = i64::from(self.limit.0) - page.rows.len() as i64;
            let mut sql = self.statement(&zone, &filter, rows_left, bytes_left, page.rows.is_empty());
            let rows = sql.build().fetch_all(&mut *conn).await?;
            let mut found: i64 = 0;
            let mut shown = 0;
            for row in &rows {
                found = row.try_get("page_found")?;
                // One row always tells how many were found, even when none of them may be shown.
                let Some(uri) = row.try_get("page_uri")? else { continue };
                last = Some(Place { key: row.try_get("page_key")?, uri });
                page.rows.push(read(row)?);
                bytes_left -= row.try_get::<i64, _>("page_size")?;
                shown += 1;
            }
            if found > shown {
                page.cursor = last.map(|place| place.encode(self.scope));
                return Ok(page);
            }
            match zone {
                Zone::Dated(_) if self.undated => zone = Zone::Undated(None),
                _ => return Ok(page),
            }
        }
    }

    /// Up to `rows` rows of a zone, in order, as long as their records fit into `bytes`; with `page_found`, how many
    /// rows there were, counted up to one more than `rows`.
    fn statement(
        &self,
        zone: &Zone,
        filter: impl Fn(&mut QueryBuilder<Postgres>),
        rows: i64,
        bytes: i64,
        first: bool,
    ) -> QueryBuilder<Postgres> {
        let List { table, key, columns, joins, .. } = *self;
        let dir = self.order.as_str();
        let beyond = if self.order == Order::Asc { ">" } else { "<" };
        let mut sql = QueryBuilder::new("with page as materialized (select t.uri, t.");
        sql.push(key).push(" as key from ").push(table).push(" t where t.").push(key);
        match zone {
            Zone::Dated(after) => {
                sql.push(" is not null");
                if let Some(place) = after {
                    sql.push(" and (t.").push(key).push(", t.uri) ").push(beyond).push(" (");
                    sql.push_bind(place.key).push(", ").push_bind(place.uri.clone()).push(")");
                }
            }
            Zone::Undated(after) => {
                sql.push(" is null");
                if let Some(place) = after {
                    sql.push(" and t.uri ").push(beyond).push(" ").push_bind(place.uri.clone());
                }
            }
        }
        filter(&mut sql);
        sql.push(format_args!(" order by t.{key} {dir}, t.uri {dir} limit ")).push_bind(rows + 1);
        sql.push(format_args!(
            "), sized as (
                select page.uri, page.key, octet_length(t.record::text)::bigint as size,
                    row_number() over way as n, sum(octet_length(t.record::text)) over way as bytes
                from page join {table} t on t.uri = page.uri
                window way as (order by page.key {dir}, page.uri {dir})
            ), shown as (
                select sized.uri as page_uri, sized.key as page_key, sized.size as page_size, sized.n as page_n, {columns}
                from sized join {table} t on t.uri = sized.uri {joins}
                where sized.n <= "
        ));
        sql.push_bind(rows).push(" and (sized.bytes <= ").push_bind(bytes);
        if first {
            sql.push(" or sized.n = 1");
        }
        sql.push(
            "))
            select (select count(*) from page) as page_found, shown.*
            from (values (1)) as always left join shown on true order by page_n",
        );
        sql
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(key: Option<i64>) -> Place {
        let key = key.map(|micros| DateTime::from_timestamp_micros(micros).unwrap());
        Place { key, uri: "at://did:plc:abc/community.lexicon.calendar.event/3n2uyhpluwr2l".to_owned() }
    }

    #[test]
    fn cursors_come_back_as_they_went() {
        for place in [place(None), place(Some(0)), place(Some(-1)), place(Some(1_767_225_600_123_456))] {
            assert_eq!(Place::decode("events.startsAt.asc", &place.encode("events.startsAt.asc")).unwrap(), place);
        }
    }

    #[test]
    fn cursors_of_another_query_and_broken_ones_are_refused() {
        let scope = "events.startsAt.asc";
        let message = |text: &str| Place::decode(scope, text).unwrap_err().to_string();
        assert!(message(&place(None).encode("events.startsAt.desc")).contains("another query"));
        let raw = |plain: &str| BASE64URL_NOPAD.encode(plain.as_bytes());
        let uri = place(None).uri;
        for bad in [
            String::new(),
            "%%%".to_owned(),
            "A".to_owned(),
            raw("2|events.startsAt.asc|-|at://did:plc:abc/a.b.c/d"),
            raw("1|events.startsAt.asc|-"),
            raw("1|events.startsAt.asc|-|at://nobody"),
            raw(&format!("1|events.startsAt.asc|x|{uri}")),
            raw(&format!("1|events.startsAt.asc|{}|{uri}", i64::MAX)),
            raw(&format!("1|events.startsAt.asc|{}|{uri}", i64::MIN)),
            raw(&format!("1|events.startsAt.asc|9223372036854775808|{uri}")),
            BASE64URL_NOPAD.encode(&[0xff, 0xfe]),
            "A".repeat(CURSOR_MAX_BYTES + 1),
        ] {
            assert!(message(&bad).contains("is not a cursor"), "{bad:?}");
        }
    }
}
