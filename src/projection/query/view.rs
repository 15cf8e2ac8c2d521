//! What is shown of a row: the parts that every list and every single answer share.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::{Json, JsonRawValue};

use super::word::{DEFAULT_MODE, DEFAULT_STATUS};

/// Who made a record.
#[derive(Clone, Debug, Serialize)]
pub struct AuthorView {
    /// The account.
    pub did: String,
    /// What it calls itself, as last told by the network.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handle: Option<String>,
}

/// Effective RSVPs to an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CountsView {
    /// Those that say `going`.
    pub going: i32,
    /// Those that say `interested`.
    pub interested: i32,
    /// Those that say `notgoing`.
    pub notgoing: i32,
    /// Those that say something else, or nothing.
    pub other: i32,
}

/// What could not be read in a record, or was read with doubt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProblemView {
    /// Which field.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

/// An address that an event names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LinkView {
    /// The address.
    pub uri: String,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// One place of an event. Numbers are text, because the protocol's JSON has no fractions.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LocationView {
    /// 0-based place in the record's `locations`.
    pub index: i32,
    /// `address`, `geo`, `fsq`, `hthree`, `uri`, or the record's own `$type`.
    pub kind: String,
    /// What the place is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Street and number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub street: Option<String>,
    /// Town.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locality: Option<String>,
    /// State or province.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Postal code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<String>,
    /// Country, as the record has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Degrees north, WGS84.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latitude: Option<String>,
    /// Degrees east, WGS84.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longitude: Option<String>,
    /// H3 cell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub h3: Option<String>,
    /// Place id in Foursquare's open data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fsq_place_id: Option<String>,
    /// An online place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// An event: the record as it is, and what was read from it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventView {
    /// The record's address.
    pub uri: String,
    /// The record's current CID.
    pub cid: String,
    /// Who made it.
    pub author: AuthorView,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its description.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// When it was made, by the record's own word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    /// When it starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<DateTime<Utc>>,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<DateTime<Utc>>,
    /// The token as the record has it; the lexicon's default when the record does not say.
    pub mode: String,
    /// The token as the record has it; the lexicon's default when the record does not say.
    pub status: String,
    /// Whether answers are asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rsvp_expected: Option<bool>,
    /// Addresses that it names.
    pub uris: Vec<LinkView>,
    /// Where it takes place, in the record's order.
    pub locations: Vec<LocationView>,
    /// Answers to it.
    pub rsvp_counts: CountsView,
    /// What could not be read.
    pub problems: Vec<ProblemView>,
    /// When this row was last written.
    pub indexed_at: DateTime<Utc>,
    /// The whole record, in the data model's JSON form.
    pub record: Box<JsonRawValue>,
}

/// The columns of an [`EventView`], of `t` and the tables of [`EVENT_JOINS`].
pub(super) const EVENT_COLUMNS: &str = "
    t.uri, t.cid, t.did, a.handle, t.name, t.description, t.created_at, t.starts_at, t.ends_at, t.mode, t.status,
    t.rsvp_expected, t.uris, t.problems, t.indexed_at, t.record, c.going, c.interested, c.notgoing, c.other,
    coalesce((
        select jsonb_agg(jsonb_build_object(
            'index', l.index, 'kind', l.kind, 'name', l.name, 'street', l.street, 'locality', l.locality,
            'region', l.region, 'postalCode', l.postal_code, 'country', l.country, 'latitude', l.latitude::text,
            'longitude', l.longitude::text, 'h3', l.h3, 'fsqPlaceId', l.fsq_place_id, 'link', l.link
        ) order by l.index)
        from calendar.event_locations l where l.uri = t.uri
    ), '[]') as locations";

/// What [`EVENT_COLUMNS`] needs beside `t`.
pub(super) const EVENT_JOINS: &str = "
    left join calendar.accounts a on a.did = t.did
    left join calendar.rsvp_counts c on c.subject_uri = t.uri";

impl EventView {
    pub(super) fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let text = |column: &str| row.try_get::<Option<String>, _>(column);
        let count = |column: &str| row.try_get::<Option<i32>, _>(column).map(Option::unwrap_or_default);
        Ok(EventView {
            uri: row.try_get("uri")?,
            cid: row.try_get("cid")?,
            author: AuthorView { did: row.try_get("did")?, handle: row.try_get("handle")? },
            name: text("name")?,
            description: text("description")?,
            created_at: row.try_get("created_at")?,
            starts_at: row.try_get("starts_at")?,
            ends_at: row.try_get("ends_at")?,
            mode: text("mode")?.unwrap_or_else(|| DEFAULT_MODE.to_owned()),
            status: text("status")?.unwrap_or_else(|| DEFAULT_STATUS.to_owned()),
            rsvp_expected: row.try_get("rsvp_expected")?,
            uris: row.try_get::<Json<_>, _>("uris")?.0,
            locations: row.try_get::<Json<_>, _>("locations")?.0,
            rsvp_counts: CountsView {
                going: count("going")?,
                interested: count("interested")?,
                notgoing: count("notgoing")?,
                other: count("other")?,
            },
            problems: row.try_get::<Json<_>, _>("problems")?.0,
            indexed_at: row.try_get("indexed_at")?,
            record: row.try_get::<Json<_>, _>("record")?.0,
        })
    }
}

/// The event that an RSVP answers to.
#[derive(Clone, Debug, Serialize)]
pub struct SubjectView {
    /// Its address.
    pub uri: String,
    /// The CID that the RSVP pins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cid: Option<String>,
    /// Whether the event has changed since. Absent while the event is not known here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stale: Option<bool>,
}

/// An RSVP: the record as it is, and what was read from it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RsvpView {
    /// The record's address.
    pub uri: String,
    /// The record's current CID.
    pub cid: String,
    /// Who made it.
    pub author: AuthorView,
    /// What it answers to; absent when the record names no event that can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<SubjectView>,
    /// The token as the record has it; absent when the record does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// When it was made, by the record's own word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    /// What decides between several RSVPs of one account to one event, and orders lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<DateTime<Utc>>,
    /// Whether it is the one that counts.
    pub effective: bool,
    /// What could not be read.
    pub problems: Vec<ProblemView>,
    /// When this row was last written.
    pub indexed_at: DateTime<Utc>,
    /// The whole record, in the data model's JSON form.
    pub record: Box<JsonRawValue>,
}

/// The columns of an [`RsvpView`], of `t` and the tables of [`RSVP_JOINS`].
pub(super) const RSVP_COLUMNS: &str = "
    t.uri, t.cid, t.did, a.handle, t.subject_uri, t.subject_cid, t.subject_stale, t.status, t.created_at, t.decided_at,
    t.effective, t.problems, t.indexed_at, t.record";

/// What [`RSVP_COLUMNS`] needs beside `t`.
pub(super) const RSVP_JOINS: &str = "left join calendar.accounts a on a.did = t.did";

impl RsvpView {
    pub(super) fn read(row: &PgRow) -> Result<Self, sqlx::Error> {
        let subject = match row.try_get::<Option<String>, _>("subject_uri")? {
            Some(uri) => {
                Some(SubjectView { uri, cid: row.try_get("subject_cid")?, stale: row.try_get("subject_stale")? })
            }
            None => None,
        };
        Ok(RsvpView {
            uri: row.try_get("uri")?,
            cid: row.try_get("cid")?,
            author: AuthorView { did: row.try_get("did")?, handle: row.try_get("handle")? },
            subject,
            status: row.try_get("status")?,
            created_at: row.try_get("created_at")?,
            decided_at: row.try_get("decided_at")?,
            effective: row.try_get("effective")?,
            problems: row.try_get::<Json<_>, _>("problems")?.0,
            indexed_at: row.try_get("indexed_at")?,
            record: row.try_get::<Json<_>, _>("record")?.0,
        })
    }
}
