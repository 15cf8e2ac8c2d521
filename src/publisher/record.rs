//! One record on its way to the PDS: made, changed, or taken away. What the PDS holds is read before it is changed, and a
//! write names the version that it replaces, so that nobody's is overwritten unseen.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::desk::Inner;
use super::failure::{Failure, Stop};
use super::job::{self, Done, Job};
use super::retry::Trouble;
use super::{Action, Conflict, budget, grants, subject};
use crate::calendar::merge;
use crate::identity::Session;
use crate::network::Call;
use crate::telemetry::crash_point;

/// So often somebody else may get in between reading and writing before it is put off.
const ROUNDS: usize = 4;

/// An attempt's way to the PDS.
pub(super) struct Way<'a> {
    pub inner: &'a Inner,
    pub session: Arc<dyn Session>,
}

/// What the PDS holds.
struct Current {
    cid: String,
    fields: Map<String, Value>,
}

/// What happened to a write.
enum Wrote {
    Answer(Value),
    /// Another version is there than the one that was to be replaced.
    Swapped,
}

impl Way<'_> {
    /// Does it, whatever was done of it before.
    pub async fn carry_out(&self, job: &mut Job) -> Result<Done, Stop> {
        // What may be written already is looked for first, so that the audit tells what is true.
        if !job.maybe_written {
            self.granted(job).await?;
        }
        match job.action {
            Action::Put => self.put(job).await,
            Action::Delete => self.delete(job).await,
        }
    }

    /// Whether the grant under which it was wished still counts.
    async fn granted(&self, job: &Job) -> Result<(), Stop> {
        let Some(acting) = &job.acting else { return Ok(()) };
        let mut connection = self.inner.parts.pool.acquire().await?;
        match grants::still(&mut connection, acting.grant_id, &acting.user, &job.uri).await {
            Ok(()) => Ok(()),
            Err(grants::Refused::Database(error)) => Err(error.into()),
            Err(refused) => Err(Failure::new(Trouble::NoGrant, refused.to_string()).into()),
        }
    }

    async fn put(&self, job: &mut Job) -> Result<Done, Stop> {
        subject::pin(self.inner, &mut job.draft).await?;
        let mut current = match job.makes_it() && !job.maybe_written {
            true => None,
            false => self.read(job).await?,
        };
        for _ in 0..ROUNDS {
            if current.is_none() && !job.makes_it() {
                return Err(gone_elsewhere(job).into());
            }
            let there = current.as_ref().map(|current| &current.fields);
            let merged = merge(job.kind, base(job, current.as_ref()), &job.draft, there);
            if !merged.conflicts.is_empty() {
                let conflict =
                    |c: crate::calendar::FieldConflict| Conflict { field: c.field, ours: c.ours, theirs: c.theirs };
                let fields: Vec<_> = merged.conflicts.into_iter().map(conflict).collect();
                let names: Vec<_> = fields.iter().map(|conflict| conflict.field.as_str()).collect();
                let detail = format!("changed here and elsewhere: {}", names.join(", "));
                return Err(Failure::conflict(Trouble::Conflicting, detail, fields).into());
            }
            let points = match &current {
                None => budget::CREATE,
                Some(current) if merged.changed.is_empty() => {
                    if job.maybe_written {
                        // What an attempt whose answer was lost had changed.
                        job.changed = merge(job.kind, job.base.as_ref(), &job.draft, job.base.as_ref()).changed;
                    }
                    return Ok(Done { cid: Some(current.cid.clone()), rev: None });
                }
                Some(_) => budget::PUT,
            };
            let body = json!({
                "repo": job.uri.did, "collection": job.uri.collection, "rkey": job.uri.rkey, "record": merged.record,
                "swapRecord": current.as_ref().map(|current| &current.cid),
            });
            job.changed = merged.changed;
            match self.write(job, Call::PutRecord, points, &body).await? {
                Wrote::Answer(answer) => return written(&answer),
                Wrote::Swapped => current = self.read(job).await?,
            }
        }
        Err(contended())
    }

    async fn delete(&self, job: &mut Job) -> Result<Done, Stop> {
        let mut body = json!({ "repo": job.uri.did, "collection": job.uri.collection, "rkey": job.uri.rkey });
        if let Some(cid) = &job.if_match {
            body["swapRecord"] = cid.as_str().into();
        }
        for _ in 0..ROUNDS {
            match self.write(job, Call::DeleteRecord, budget::DELETE, &body).await? {
                Wrote::Answer(answer) => return Ok(Done { cid: None, rev: rev(&answer) }),
                Wrote::Swapped => {}
            }
            match self.read(job).await? {
                None => return Ok(Done::default()),
                Some(current) if Some(&current.cid) != job.if_match.as_ref() => {
                    let theirs = Value::Object(current.fields);
                    let fields = vec![Conflict { field: String::new(), ours: Value::Null, theirs }];
                    let detail = format!("not deleted: the PDS holds version {}, not the one named", current.cid);
                    return Err(Failure::conflict(Trouble::Conflicting, detail, fields).into());
                }
                Some(_) => {}
            }
        }
        Err(contended())
    }

    async fn read(&self, job: &Job) -> Result<Option<Current>, Stop> {
        let uri = &job.uri;
        let query = [("repo", uri.did.as_str()), ("collection", uri.collection.as_str()), ("rkey", uri.rkey.as_str())];
        let mut answer = match self.session.call(Call::Record, &query, None).await {
            Ok(answer) => answer,
            Err(error) if xrpc_name(&error) == Some("RecordNotFound") => return Ok(None),
            // Nothing was to be changed, so nothing is unknown.
            Err(error) => return Err(Failure { unknown: false, ..Failure::from(&error) }.into()),
        };
        match (answer["cid"].as_str().map(str::to_owned), answer["value"].take()) {
            (Some(cid), Value::Object(fields)) => Ok(Some(Current { cid, fields })),
            _ => {
                Err(Failure::new(Trouble::Malformed, "the PDS answers getRecord without cid or value".to_owned())
                    .into())
            }
        }
    }

    /// Sends one write, after it is stored that it is sent.
    async fn write(&self, job: &mut Job, call: Call, points: u32, body: &Value) -> Result<Wrote, Stop> {
        self.granted(job).await?;
        let (_, reserved) = job::sending(&self.inner.parts.pool, &[&*job], points, &self.inner.parts.options).await?;
        crash_point("publish.attempted");
        match self.session.call(call, &[], Some(body)).await {
            Ok(answer) => {
                crash_point("publish.answered");
                Ok(Wrote::Answer(answer))
            }
            Err(error) if xrpc_name(&error) == Some("InvalidSwap") => Ok(Wrote::Swapped),
            Err(error) => {
                let failure = Failure::from(&error);
                job.maybe_written |= failure.unknown;
                self.give_back(job, &failure, &reserved).await;
                Err(failure.into())
            }
        }
    }

    /// What certainly did not arrive costs nothing.
    pub async fn give_back(&self, job: &Job, failure: &Failure, reserved: &budget::Reserved) {
        if failure.never_sent
            && let Err(error) = budget::give_back(&self.inner.parts.pool, job.uri.did.as_str(), reserved).await
        {
            tracing::debug!(%error, "points of a write that was not sent stay spent");
        }
    }
}

/// What the app's draft is measured against.
fn base<'a>(job: &'a Job, current: Option<&'a Current>) -> Option<&'a Map<String, Value>> {
    let current = current?;
    if job.if_match.as_ref() == Some(&current.cid) {
        // The app edited just this version.
        return Some(&current.fields);
    }
    // A record that is there though nobody told us so is one that we made and did not hear of: what was changed in it since is
    // somebody else's.
    job.base.as_ref().or(if job.makes_it() { job.sent.as_ref() } else { None })
}

fn gone_elsewhere(job: &Job) -> Failure {
    let ours = Value::Object(job.draft.clone());
    let fields = vec![Conflict { field: String::new(), ours, theirs: Value::Null }];
    Failure::conflict(Trouble::DeletedElsewhere, "the PDS does not hold the record any more".to_owned(), fields)
}

fn contended() -> Stop {
    Failure::new(Trouble::Contended, format!("somebody else wrote the record {ROUNDS} times in between")).into()
}

/// Of an answer to `putRecord`. The same content again is answered without a commit.
fn written(answer: &Value) -> Result<Done, Stop> {
    let cid = answer["cid"].as_str().map(str::to_owned);
    if cid.is_none() {
        let detail = "the PDS answers putRecord without a cid".to_owned();
        return Err(Failure { unknown: true, never_sent: false, ..Failure::new(Trouble::Malformed, detail) }.into());
    }
    Ok(Done { cid, rev: rev(answer) })
}

/// The revision of the commit that an answer names.
pub(super) fn rev(answer: &Value) -> Option<String> {
    answer["commit"]["rev"].as_str().map(str::to_owned)
}

/// The name of the XRPC error.
fn xrpc_name(error: &crate::identity::ActError) -> Option<&str> {
    match error {
        crate::identity::ActError::Host(error) => error.xrpc_name(),
        _ => None,
    }
}
