//! Several records of one account made in one commit, where they wait anyway.
//!
//! Only records that were never sent take part: a commit is done as a whole or not, and what is not known of it is settled
//! record by record.

use serde_json::{Value, json};
use sqlx::PgPool;

use super::attempt::LEASE;
use super::failure::{Failure, Stop};
use super::job::{self, Done, Job};
use super::record::{Way, rev};
use super::retry::Trouble;
use super::{Action, budget, metric, subject};
use crate::network::Call;
use crate::telemetry::crash_point;

/// Records of one commit. The method takes 200.
const RECORDS_MAX: usize = 100;
/// The body of one request, in bytes: the reference PDS takes 150 kB.
const BYTES_MAX: usize = 140_000;
/// What stands around a record in the body.
const AROUND: usize = 300;

/// Whether a record may be made together with others.
pub(super) fn takes_part(job: &Job) -> bool {
    job.action == Action::Put && job.makes_it() && !job.maybe_written && job.acting.is_none()
}

/// Leases what else of the account waits to be made. Sorted by age.
pub(super) async fn lease_more(pool: &PgPool, job: &Job) -> Result<Vec<i64>, sqlx::Error> {
    let mut ids: Vec<i64> = sqlx::query_scalar(
        "update publish.intent i set leased_until = clock_timestamp() + make_interval(secs => $3)
         from (
             select i.id from publish.intent i join publish.record r on r.id = i.record_id
             where r.did = $1 and i.id <> $2 and r.user_id = $5 and r.cid is null and i.state = 'wanted'
                 and i.action = 'put' and i.creates and not i.maybe_written
                 and i.acting_user is null and i.next_at <= now()
                 and (i.leased_until is null or i.leased_until <= clock_timestamp())
                 and not exists (
                     select from publish.intent e
                     where e.record_id = i.record_id and e.id < i.id and e.state in ('wanted', 'attempted')
                 )
             order by i.id limit $4
             for update of i skip locked
         ) more
         where i.id = more.id returning i.id",
    )
    .bind(job.uri.did.as_str())
    .bind(job.id)
    .bind(LEASE.as_secs_f64())
    .bind(RECORDS_MAX as i64 - 1)
    .bind(&job.user)
    .fetch_all(pool)
    .await?;
    ids.sort_unstable();
    Ok(ids)
}

/// What became of the jobs of a batch.
pub(super) struct Sorted {
    /// The PDS made them.
    pub done: Vec<(Job, Done)>,
    /// They failed, each with its reason.
    pub failed: Vec<(Job, Stop)>,
    /// Not tried: one by one, or later.
    pub left: Vec<Job>,
    /// Those that need not find out by themselves what one of `failed` did.
    pub given_back: Vec<Job>,
}

impl Way<'_> {
    /// Makes as many of these as fit into one commit.
    pub async fn make(&self, jobs: Vec<Job>) -> Sorted {
        let mut sorted = Sorted { done: vec![], failed: vec![], left: vec![], given_back: vec![] };
        let (mut chosen, mut writes, mut bytes) = (Vec::new(), Vec::new(), 0);
        for mut job in jobs {
            if let Err(stop) = subject::pin(self.inner, &mut job.draft).await {
                sorted.failed.push((job, stop));
                continue;
            }
            let write = write(&job);
            let size = write.to_string().len() + AROUND;
            if chosen.len() < RECORDS_MAX && bytes + size <= BYTES_MAX {
                bytes += size;
                chosen.push(job);
                writes.push(write);
            } else {
                sorted.left.push(job);
            }
        }
        if chosen.len() < 2 {
            sorted.left.splice(0..0, chosen);
            return sorted;
        }
        self.send(chosen, writes, &mut sorted).await;
        sorted
    }

    async fn send(&self, mut chosen: Vec<Job>, mut writes: Vec<Value>, sorted: &mut Sorted) {
        let pool = &self.inner.parts.pool;
        let all: Vec<&Job> = chosen.iter().collect();
        let (granted, reserved) = match job::sending(pool, &all, budget::CREATE, &self.inner.parts.options).await {
            Ok(granted) => granted,
            // One of them was superseded: the others go one by one.
            Err(Stop::Gone) => return sorted.left.extend(chosen),
            Err(stop) => return fail_all(chosen, stop, sorted),
        };
        // What the budget does not allow finds that out by itself.
        sorted.left.extend(chosen.split_off(granted));
        writes.truncate(granted);
        let Some(first) = chosen.first() else { return };
        let body = json!({ "repo": first.uri.did, "writes": writes });
        crash_point("publish.attempted");
        match self.session.call(Call::ApplyWrites, &[], Some(&body)).await {
            Ok(answer) => {
                crash_point("publish.answered");
                let cids = cids(&answer, &chosen);
                metric::batch(cids.is_some());
                match cids {
                    Some(cids) => {
                        let rev = rev(&answer);
                        let done = cids.into_iter().map(|cid| Done { cid: Some(cid), rev: rev.clone() });
                        sorted.done.extend(chosen.into_iter().zip(done));
                    }
                    None => {
                        chosen.iter_mut().for_each(|job| job.maybe_written = true);
                        sorted.left.extend(chosen);
                    }
                }
            }
            Err(error) => {
                metric::batch(false);
                let failure = Failure::from(&error);
                self.give_back(first, &failure, &reserved).await;
                chosen.iter_mut().for_each(|job| job.maybe_written |= failure.unknown);
                // The PDS answers, and does not say which of them it minds.
                let singly = matches!(
                    failure.trouble,
                    Trouble::Invalid
                        | Trouble::PayloadTooLarge
                        | Trouble::Refused
                        | Trouble::ServerError
                        | Trouble::Contended
                        | Trouble::Malformed
                        | Trouble::TooLarge
                );
                match singly {
                    true => sorted.left.extend(chosen),
                    false => fail_all(chosen, failure.into(), sorted),
                }
            }
        }
    }
}

/// The first has the reason, the others go back to wait.
fn fail_all(jobs: Vec<Job>, stop: Stop, sorted: &mut Sorted) {
    let mut jobs = jobs.into_iter();
    if let Some(first) = jobs.next() {
        sorted.failed.push((first, stop));
    }
    sorted.given_back.extend(jobs);
}

fn write(job: &Job) -> Value {
    let mut record = job.draft.clone();
    record.insert("$type".to_owned(), job.uri.collection.as_str().into());
    json!({
        "$type": "com.atproto.repo.applyWrites#create", "collection": job.uri.collection, "rkey": job.uri.rkey,
        "value": record,
    })
}

/// The version of each, if the answer is about just these.
fn cids(answer: &Value, jobs: &[Job]) -> Option<Vec<String>> {
    let results = answer["results"].as_array().filter(|results| results.len() == jobs.len())?;
    let cid = |(result, job): (&Value, &Job)| {
        let right = result["uri"].as_str() == Some(job.uri.to_string().as_str());
        result["cid"].as_str().filter(|_| right).map(str::to_owned)
    };
    results.iter().zip(jobs).map(cid).collect()
}
