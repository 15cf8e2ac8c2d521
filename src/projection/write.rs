//! Writing rows, many at a time. Table names are unqualified: the transaction's search path says whether the shown tables
//! are meant or the copies that a rebuild fills.

use serde_json::Value;
use sqlx::PgConnection;

use super::rows::Shown;
use super::settle::Touched;
use crate::calendar::{AccountState, EventView, RecordKey, RsvpView, View, Word};
use crate::event::Did;
use crate::event::Refusal;

pub(super) async fn words(connection: &mut PgConnection, words: &[(&RecordKey, &Word)]) -> Result<(), sqlx::Error> {
    if words.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into words (did, collection, rkey, rev, cid, position)
         select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::bigint[])
         on conflict (did, collection, rkey) do update
         set rev = excluded.rev, cid = excluded.cid, position = excluded.position",
    )
    .bind(words.iter().map(|(k, _)| k.did.as_str()).collect::<Vec<_>>())
    .bind(words.iter().map(|(k, _)| k.collection.as_str()).collect::<Vec<_>>())
    .bind(words.iter().map(|(k, _)| k.rkey.as_str()).collect::<Vec<_>>())
    .bind(words.iter().map(|(_, w)| w.rev.to_string()).collect::<Vec<_>>())
    .bind(words.iter().map(|(_, w)| w.cid.map(|c| c.to_string())).collect::<Vec<_>>())
    .bind(words.iter().map(|(_, w)| w.position).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn accounts(
    connection: &mut PgConnection,
    accounts: &[(&Did, &AccountState)],
) -> Result<(), sqlx::Error> {
    if accounts.is_empty() {
        return Ok(());
    }
    let states = || accounts.iter().map(|(_, state)| state);
    sqlx::query(
        "insert into accounts
             (did, handle, active, status, hidden, status_time, status_seq, handle_time, handle_seq, snapshot_rev,
              refused, standing_time)
         select * from unnest(
             $1::text[], $2::text[], $3::boolean[], $4::text[], $5::boolean[], $6::timestamptz[], $7::bigint[],
             $8::timestamptz[], $9::bigint[], $10::text[], $11::text[], $12::timestamptz[]
         )
         on conflict (did) do update set
             handle = excluded.handle, active = excluded.active, status = excluded.status, hidden = excluded.hidden,
             status_time = excluded.status_time, status_seq = excluded.status_seq, handle_time = excluded.handle_time,
             handle_seq = excluded.handle_seq, snapshot_rev = excluded.snapshot_rev, refused = excluded.refused,
             standing_time = excluded.standing_time",
    )
    .bind(accounts.iter().map(|(did, _)| did.as_str()).collect::<Vec<_>>())
    .bind(states().map(|s| s.handle.as_ref().map(|h| h.as_str())).collect::<Vec<_>>())
    .bind(states().map(|s| s.active).collect::<Vec<_>>())
    .bind(states().map(|s| s.status.as_str()).collect::<Vec<_>>())
    .bind(states().map(|s| s.hidden()).collect::<Vec<_>>())
    .bind(states().map(|s| s.status_spoken.map(|t| t.0)).collect::<Vec<_>>())
    .bind(states().map(|s| s.status_spoken.map(|t| t.1)).collect::<Vec<_>>())
    .bind(states().map(|s| s.handle_spoken.map(|t| t.0)).collect::<Vec<_>>())
    .bind(states().map(|s| s.handle_spoken.map(|t| t.1)).collect::<Vec<_>>())
    .bind(states().map(|s| s.snapshot.map(|r| r.to_string())).collect::<Vec<_>>())
    .bind(states().map(|s| s.refused.map(Refusal::as_str)).collect::<Vec<_>>())
    .bind(states().map(|s| s.standing_at).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Removes the rows of records by address.
pub(super) async fn remove(
    connection: &mut PgConnection,
    uris: &[String],
    touched: &mut Touched,
) -> Result<(), sqlx::Error> {
    if uris.is_empty() {
        return Ok(());
    }
    sqlx::query("delete from event_locations where uri = any($1)").bind(uris).execute(&mut *connection).await?;
    let events: Vec<String> = sqlx::query_scalar("delete from events where uri = any($1) returning uri")
        .bind(uris)
        .fetch_all(&mut *connection)
        .await?;
    touched.events.extend(events);
    let answers = "delete from rsvps where uri = any($1) returning subject_uri, did, status, effective";
    touched.gone(sqlx::query_as(answers).bind(uris).fetch_all(connection).await?);
    Ok(())
}

/// Removes every row of these accounts.
pub(super) async fn remove_all_of(
    connection: &mut PgConnection,
    dids: &[&str],
    touched: &mut Touched,
) -> Result<(), sqlx::Error> {
    if dids.is_empty() {
        return Ok(());
    }
    sqlx::query("delete from event_locations where uri in (select uri from events where did = any($1))")
        .bind(dids)
        .execute(&mut *connection)
        .await?;
    let events: Vec<String> = sqlx::query_scalar("delete from events where did = any($1) returning uri")
        .bind(dids)
        .fetch_all(&mut *connection)
        .await?;
    touched.events.extend(events);
    let answers = "delete from rsvps where did = any($1) returning subject_uri, did, status, effective";
    touched.gone(sqlx::query_as(answers).bind(dids).fetch_all(connection).await?);
    Ok(())
}

/// Writes the rows of live records.
pub(super) async fn show(
    connection: &mut PgConnection,
    shown: &[Shown],
    touched: &mut Touched,
) -> Result<(), sqlx::Error> {
    let events: Vec<(&Shown, &EventView)> =
        shown.iter().filter_map(|s| if let View::Event(view) = &s.view { Some((s, view)) } else { None }).collect();
    let rsvps: Vec<(&Shown, &RsvpView)> =
        shown.iter().filter_map(|s| if let View::Rsvp(view) = &s.view { Some((s, view)) } else { None }).collect();
    touched.events.extend(events.iter().map(|(s, _)| s.uri.clone()));
    show_events(connection, &events).await?;
    show_locations(connection, &events).await?;
    show_rsvps(connection, &rsvps, touched).await
}

fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).expect("a list of plain fields is JSON")
}

async fn show_events(connection: &mut PgConnection, events: &[(&Shown, &EventView)]) -> Result<(), sqlx::Error> {
    if events.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into events as old
             (uri, did, rkey, cid, rev, name, description, created_at, starts_at, ends_at, mode, status, rsvp_expected,
              uris, record, problems)
         select * from unnest(
             $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[],
             $9::timestamptz[], $10::timestamptz[], $11::text[], $12::text[], $13::boolean[], $14::jsonb[], $15::jsonb[],
             $16::jsonb[]
         )
         on conflict (uri) do update set
             cid = excluded.cid, rev = excluded.rev, name = excluded.name, description = excluded.description,
             created_at = excluded.created_at, starts_at = excluded.starts_at, ends_at = excluded.ends_at,
             mode = excluded.mode, status = excluded.status, rsvp_expected = excluded.rsvp_expected,
             uris = excluded.uris, record = excluded.record, problems = excluded.problems, indexed_at = now()",
    )
    .bind(events.iter().map(|(s, _)| s.uri.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|(s, _)| s.key.did.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|(s, _)| s.key.rkey.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|(s, _)| s.cid.to_string()).collect::<Vec<_>>())
    .bind(events.iter().map(|(s, _)| s.rev.as_str()).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, v)| v.name.as_deref()).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, v)| v.description.as_deref()).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, v)| v.created_at).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, v)| v.starts_at).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, v)| v.ends_at).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, v)| v.mode.as_deref()).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, v)| v.status.as_deref()).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, v)| v.rsvp_expected).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, v)| json(&v.uris)).collect::<Vec<_>>())
    .bind(events.iter().map(|(s, _)| &s.record).collect::<Vec<_>>())
    .bind(events.iter().map(|(_, v)| json(&v.problems)).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

async fn show_locations(connection: &mut PgConnection, events: &[(&Shown, &EventView)]) -> Result<(), sqlx::Error> {
    if events.is_empty() {
        return Ok(());
    }
    sqlx::query("delete from event_locations where uri = any($1)")
        .bind(events.iter().map(|(s, _)| s.uri.as_str()).collect::<Vec<_>>())
        .execute(&mut *connection)
        .await?;
    let rows: Vec<_> = events
        .iter()
        .flat_map(|(s, v)| v.locations.iter().enumerate().map(|(i, l)| (s.uri.as_str(), i as i32, l)))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "insert into event_locations
             (uri, index, kind, name, street, locality, region, postal_code, country, latitude, longitude, h3,
              fsq_place_id, link, location)
         select * from unnest(
             $1::text[], $2::integer[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
             $9::text[], $10::double precision[], $11::double precision[], $12::text[], $13::text[], $14::text[],
             $15::jsonb[]
         )",
    )
    .bind(rows.iter().map(|r| r.0).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.1).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.2.kind.as_str()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.2.name.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.2.street.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.2.locality.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.2.region.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.2.postal_code.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.2.country.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.2.latitude).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.2.longitude).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.2.h3.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.2.fsq_place_id.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| r.2.link.as_deref()).collect::<Vec<_>>())
    .bind(rows.iter().map(|r| &r.2.raw).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

async fn show_rsvps(
    connection: &mut PgConnection,
    rsvps: &[(&Shown, &RsvpView)],
    touched: &mut Touched,
) -> Result<(), sqlx::Error> {
    if rsvps.is_empty() {
        return Ok(());
    }
    let uris: Vec<&str> = rsvps.iter().map(|(s, _)| s.uri.as_str()).collect();
    // What they were before goes: an RSVP may be changed to answer to another event, or otherwise.
    let before = "select subject_uri, did, status, effective from rsvps where uri = any($1)";
    touched.gone(sqlx::query_as(before).bind(&uris).fetch_all(&mut *connection).await?);
    let subjects: Vec<Option<String>> =
        rsvps.iter().map(|(_, v)| v.subject_uri.as_ref().map(|uri| uri.to_string())).collect();
    let now = sqlx::query_as(include_str!("show_rsvps.sql"))
        .bind(&uris)
        .bind(rsvps.iter().map(|(s, _)| s.key.did.as_str()).collect::<Vec<_>>())
        .bind(rsvps.iter().map(|(s, _)| s.key.rkey.as_str()).collect::<Vec<_>>())
        .bind(rsvps.iter().map(|(s, _)| s.cid.to_string()).collect::<Vec<_>>())
        .bind(rsvps.iter().map(|(s, _)| s.rev.as_str()).collect::<Vec<_>>())
        .bind(&subjects)
        .bind(rsvps.iter().map(|(_, v)| v.subject_cid.as_deref()).collect::<Vec<_>>())
        .bind(rsvps.iter().map(|(_, v)| v.status.as_deref()).collect::<Vec<_>>())
        .bind(rsvps.iter().map(|(_, v)| v.created_at).collect::<Vec<_>>())
        .bind(rsvps.iter().map(|(_, v)| v.decided_at).collect::<Vec<_>>())
        .bind(rsvps.iter().map(|(s, _)| &s.record).collect::<Vec<_>>())
        .bind(rsvps.iter().map(|(_, v)| json(&v.problems)).collect::<Vec<_>>())
        .fetch_all(connection)
        .await?;
    touched.come(now);
    Ok(())
}
