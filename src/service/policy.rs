//! The policy of a running process: settings, list files, entries made at run time, and our users' accounts, put together and
//! kept current. A change takes effect without a restart, and the stream does not wait for it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use sqlx::PgPool;
use tokio::sync::{Mutex, watch};

use super::stop;
use crate::config::Settings;
use crate::event::{Did, ListChange};
use crate::filter::Policy;
use crate::identity;
use crate::ingest::lists::{self, Change};
use crate::ingest::{Finding, Inlet, OnMove};

/// How often files and entries are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the list files looked like at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen(Vec<Option<(SystemTime, u64)>>);

impl Seen {
    /// Looks at them now. Looked at before they are read, a change in between is seen later.
    fn now(settings: &Settings) -> Self {
        let stamp = |file: &PathBuf| std::fs::metadata(file).ok().and_then(|m| Some((m.modified().ok()?, m.len())));
        Seen(settings.allow_file.iter().chain(&settings.deny_file).map(stamp).collect())
    }
}

/// The policy in force, and what it is made of.
pub struct Policies {
    settings: Settings,
    pool: Option<PgPool>,
    current: Arc<ArcSwap<Policy>>,
    /// Settings and files, without what is in the database. Held while the policy is put together anew.
    files: Mutex<(Policy, Seen)>,
}

impl Policies {
    /// Reads everything once. Without a database settings and files are all there is.
    ///
    /// # Errors
    /// A list file that cannot be used, or a database that does not answer.
    pub async fn load(settings: &Settings, pool: Option<&PgPool>) -> anyhow::Result<Arc<Self>> {
        let seen = Seen::now(settings);
        let base = read(settings).await?;
        let policies = Policies {
            settings: settings.clone(),
            pool: pool.cloned(),
            current: Arc::new(ArcSwap::from_pointee(base.clone())),
            files: Mutex::new((base, seen)),
        };
        policies.reload().await?;
        Ok(Arc::new(policies))
    }

    /// The policy in force; it may be exchanged at any time.
    pub fn current(&self) -> &Arc<ArcSwap<Policy>> {
        &self.current
    }

    /// Reads entries and users' accounts again.
    ///
    /// # Errors
    /// The database does not answer. The policy stays as it was.
    pub async fn reload(&self) -> anyhow::Result<()> {
        let files = self.files.lock().await;
        self.put_together(&files.0).await
    }

    async fn put_together(&self, base: &Policy) -> anyhow::Result<()> {
        let mut policy = base.clone();
        if let Some(pool) = &self.pool {
            let entry = |entry: lists::Entry| Ok((Did::parse(&entry.did)?, entry.list == "allow"));
            let entries = lists::entries(pool).await.context("the entries of the lists cannot be read")?;
            policy.entries = Arc::new(entries.into_iter().map(entry).collect::<anyhow::Result<_>>()?);
            let link = |account: identity::Account| Ok((Did::parse(&account.did)?, account.pds.into()));
            let accounts = identity::all(pool).await.context("our users' accounts cannot be read")?;
            policy.own = Arc::new(accounts.into_iter().map(link).collect::<anyhow::Result<_>>()?);
        }
        self.current.store(Arc::new(policy));
        Ok(())
    }

    /// Tells the log what the files hold, when that is new.
    async fn note_files(&self) -> anyhow::Result<()> {
        let Some(pool) = &self.pool else { return Ok(()) };
        let (allowed, denied) = {
            let files = self.files.lock().await;
            (files.0.allowed.clone(), files.0.denied.clone())
        };
        let files = [
            (ListChange::AllowFile, &self.settings.allow_file, allowed),
            (ListChange::DenyFile, &self.settings.deny_file, denied),
        ];
        for (change, path, dids) in files {
            let Some(path) = path else { continue };
            let bytes = tokio::fs::read(path).await.with_context(|| path.display().to_string())?;
            let sha256: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            lists::note_file(pool, change, &path.display().to_string(), (&sha256, dids.len() as u64)).await?;
        }
        Ok(())
    }

    /// Exchanges the policy whenever a list file looks otherwise than before, or entries were changed. A file that cannot be
    /// read, or has a line that is no DID, leaves the policy as it was: a half-written list must neither open nor close a
    /// door.
    pub async fn watch(self: Arc<Self>, stopped: watch::Receiver<bool>) {
        let mut last = 0;
        loop {
            tokio::select! {
                () = stop::wait(stopped.clone()) => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            self.look_at_files().await;
            // Whoever appends takes changes away; one that was seen once needs no second look.
            if let Some(change) = self.pending().await.last()
                && change.n > last
            {
                last = change.n;
                if let Err(error) = self.reload().await {
                    tracing::error!("{error:#}; the lists as they were stay in force");
                    last = 0;
                }
            }
        }
    }

    async fn look_at_files(&self) {
        let now = Seen::now(&self.settings);
        let mut files = self.files.lock().await;
        if now == files.1 {
            return;
        }
        files.1 = now;
        let read = match read(&self.settings).await {
            Ok(policy) => policy,
            Err(error) => {
                return tracing::error!(%error, "a list cannot be used; the lists as they were stay in force");
            }
        };
        if let Err(error) = self.put_together(&read).await {
            // Looked at again, and then the file is new still.
            files.1 = Seen(Vec::new());
            return tracing::error!("{error:#}; the lists as they were stay in force");
        }
        tracing::info!(allowed = read.allowed.len(), denied = read.denied.len(), "lists read again");
        files.0 = read;
        drop(files);
        if let Err(error) = self.note_files().await {
            tracing::error!("{error:#}; the log is not told that a list changed");
        }
    }

    async fn pending(&self) -> Vec<Change> {
        let Some(pool) = &self.pool else { return Vec::new() };
        lists::pending(pool).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "changes of the lists cannot be read; tried again");
            Vec::new()
        })
    }

    /// Puts changes into the log, for as long as this process appends.
    pub async fn tell(self: Arc<Self>, inlet: Inlet, stopped: watch::Receiver<bool>) {
        let mut told = 0;
        if let Err(error) = self.note_files().await {
            tracing::error!("{error:#}; the log is not told what the list files hold");
        }
        loop {
            let changes = self.pending().await;
            // One may have been there before this process looked.
            if changes.iter().any(|change| change.n > told)
                && let Err(error) = self.reload().await
            {
                tracing::error!("{error:#}; the lists as they were stay in force");
            }
            let before = told;
            for Change { n, did, change, who, why, at } in changes.into_iter().filter(|change| change.n > before) {
                told = n;
                let finding = Finding::ListChanged { n, did, change, who, why, time: at };
                if inlet.send(finding).await.is_err() {
                    return;
                }
            }
            tokio::select! {
                () = stop::wait(stopped.clone()) => return,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// What to do when one of our users moved.
    pub fn on_move(self: &Arc<Self>) -> OnMove {
        let policies = self.clone();
        Arc::new(move |did, pds| {
            let policies = policies.clone();
            Box::pin(async move { policies.moved(&did, &pds).await.map_err(|error| format!("{error:#}")) })
        })
    }

    async fn moved(&self, did: &Did, pds: &str) -> anyhow::Result<()> {
        let pool = self.pool.as_ref().context("without a database nobody is our user")?;
        let mut tx = pool.begin().await?;
        if identity::moved(&mut tx, did, pds).await? {
            let why = format!("it lives on {pds} by now, by its document and by that host's word");
            lists::note(&mut tx, did, ListChange::Link, "almanac", &why).await?;
        }
        tx.commit().await?;
        self.reload().await
    }
}

/// Files of millions of lines take seconds, in which the stream goes on.
async fn read(settings: &Settings) -> anyhow::Result<Policy> {
    let settings = settings.clone();
    Ok(tokio::task::spawn_blocking(move || settings.policy()).await.context("reading the lists panicked")??)
}
