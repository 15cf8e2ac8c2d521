//! The version of an event that an RSVP answers to.

use serde_json::{Map, Value};

use super::desk::Inner;
use super::failure::{Failure, Stop};
use super::retry::Trouble;
use crate::calendar::EVENT;
use crate::event::{AtUri, Cid};
use crate::network::{Call, Freshness, Rights};

/// Completes an RSVP's reference to its event, where the app named no version: as we published it, else as the index has it,
/// else as its owner's PDS says.
///
/// # Errors
/// Nobody knows the event now.
pub(super) async fn pin(inner: &Inner, draft: &mut Map<String, Value>) -> Result<(), Stop> {
    let Some(Value::Object(subject)) = draft.get_mut("subject") else { return Ok(()) };
    if subject.contains_key("cid") {
        return Ok(());
    }
    let unknown = |why: &str| Failure::new(Trouble::SubjectUnknown, why.to_owned());
    let uri = subject.get("uri").and_then(Value::as_str).and_then(|uri| AtUri::parse(uri).ok());
    let uri = uri.filter(|uri| uri.collection.as_str() == EVENT).ok_or_else(|| unknown("its subject is no event"))?;
    let cid = match stored(inner, &uri).await? {
        Known::As(cid) => cid,
        Known::NotYet => return Err(unknown("the event that it answers to is not published yet").into()),
        Known::No => ask(inner, &uri).await.map_err(|why| unknown(&why))?,
    };
    subject.insert("cid".to_owned(), cid.into());
    Ok(())
}

enum Known {
    As(String),
    /// It is ours, and no PDS has it yet.
    NotYet,
    No,
}

async fn stored(inner: &Inner, uri: &AtUri) -> Result<Known, sqlx::Error> {
    let pool = &inner.parts.pool;
    let ours: Option<(Option<String>, bool)> =
        sqlx::query_as("select cid, deleted from publish.record where did = $1 and collection = $2 and rkey = $3")
            .bind(uri.did.as_str())
            .bind(uri.collection.as_str())
            .bind(uri.rkey.as_str())
            .fetch_optional(pool)
            .await?;
    match ours {
        Some((Some(cid), false)) => return Ok(Known::As(cid)),
        Some(_) => return Ok(Known::NotYet),
        None => {}
    }
    let indexed: Option<String> = sqlx::query_scalar("select cid from calendar.events where uri = $1")
        .bind(uri.to_string())
        .fetch_optional(pool)
        .await?;
    Ok(indexed.map_or(Known::No, Known::As))
}

async fn ask(inner: &Inner, uri: &AtUri) -> Result<String, String> {
    let network = &inner.parts.network;
    let document = network.did_document(&uri.did, Freshness::Cached).await;
    let document = document.map_err(|e| format!("the owner of the event that it answers to: {e}"))?;
    let pds = document.pds.as_deref().ok_or("the owner of the event that it answers to has no PDS")?;
    let query = [("repo", uri.did.as_str()), ("collection", uri.collection.as_str()), ("rkey", uri.rkey.as_str())];
    let answer = network.act(Call::Record, pds, Rights::None, &query, None).await;
    let answer = answer.map_err(|e| format!("the event that it answers to: {e}"))?;
    let cid = answer["cid"].as_str().filter(|cid| cid.parse::<Cid>().is_ok());
    Ok(cid.ok_or("the event that it answers to: its PDS names no version")?.to_owned())
}
