//! What is known of DIDs, how old it is, and who asks for more of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use moka::future::Cache;
use moka::policy::EvictionPolicy;

use super::metric::{self, DocumentFrom};
use super::{IdentityError, Network, NetworkOptions};
use crate::event::{Did, DidDocument};

/// How old an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// As old as [`document_fresh`](super::NetworkOptions::document_fresh) allows; while nobody can say what the
    /// document is now, up to [`document_stale`](super::NetworkOptions::document_stale).
    Cached,
    /// At most this old.
    NotOlderThan(Duration),
    /// Asked for after this call began. For `#identity` events and failed signatures.
    Now,
}

type Answer = Result<Arc<DidDocument>, IdentityError>;

/// What is known of one DID.
#[derive(Clone)]
struct Entry {
    /// The last answer that says something of the DID: a document, or that there is none to be used.
    known: Option<(Answer, Instant)>,
    /// When that answer came, by the clock on the wall. Answers about one DID come one after the other.
    read_at: DateTime<Utc>,
    /// The last failure, if nothing came after it.
    failed: Option<(IdentityError, Instant)>,
}

/// How long answers count.
#[derive(Clone, Copy)]
struct Ages {
    fresh: Duration,
    stale: Duration,
    not_found: Duration,
    unreachable: Duration,
}

/// What is known of all DIDs. Bounded in bytes; the one asked for longest ago goes first.
pub(super) struct Documents {
    entries: Cache<Did, Arc<Entry>>,
    ages: Ages,
}

impl Documents {
    pub fn new(options: &NetworkOptions) -> Self {
        let entries = Cache::builder()
            .max_capacity(options.cache_bytes_max)
            .weigher(|did: &Did, entry: &Arc<Entry>| entry.bytes(did))
            .eviction_policy(EvictionPolicy::lru())
            .time_to_live(options.document_stale.max(options.document_fresh))
            .build();
        let ages = Ages {
            fresh: options.document_fresh,
            stale: options.document_stale,
            not_found: options.not_found_fresh,
            unreachable: options.unreachable_fresh,
        };
        Documents { entries, ages }
    }
}

impl Entry {
    /// Roughly what it takes in memory, the cache's own share included.
    fn bytes(&self, did: &Did) -> u32 {
        let document = match &self.known {
            Some((Ok(document), _)) => {
                let handle = document.handle.as_ref().map_or(0, |handle| handle.as_str().len());
                let key = document.key.as_ref().map_or(0, |key| key.multibase.len());
                did.as_str().len() + handle + key + document.pds.as_ref().map_or(0, |pds| pds.len())
            }
            _ => 0,
        };
        u32::try_from(600 + did.as_str().len() + document).unwrap_or(u32::MAX)
    }

    /// The answer for a question that began at `began`, if this entry has one.
    fn answer(&self, freshness: Freshness, began: Instant, now: Instant, ages: Ages) -> Option<(Answer, DocumentFrom)> {
        let age = |at: &Instant| now.saturating_duration_since(*at);
        if let Some((answer, at)) = &self.known {
            let own = if answer.is_ok() { ages.fresh } else { ages.not_found };
            let span = match freshness {
                Freshness::Cached => own,
                // A word that there is nothing is believed for its own short time at most.
                Freshness::NotOlderThan(span) if answer.is_ok() => span,
                Freshness::NotOlderThan(span) => span.min(own),
                Freshness::Now => Duration::ZERO,
            };
            if *at >= began {
                return Some((answer.clone(), DocumentFrom::Host));
            }
            if freshness != Freshness::Now && age(at) <= span {
                return Some((answer.clone(), DocumentFrom::Cache));
            }
        }
        let (error, at) = self.failed.as_ref()?;
        let asked_for_this = *at >= began;
        if !asked_for_this && (freshness == Freshness::Now || age(at) > ages.unreachable) {
            return None;
        }
        if let (Freshness::Cached, Some((Ok(document), at))) = (freshness, &self.known)
            && age(at) <= ages.stale
        {
            return Some((Ok(document.clone()), DocumentFrom::Stale));
        }
        let from = if asked_for_this { DocumentFrom::Host } else { DocumentFrom::Cache };
        Some((Err(error.clone()), from))
    }

    /// What is known after an answer to a request that was made at `at`.
    fn after(previous: Option<&Entry>, answer: Answer, at: Instant) -> Entry {
        match answer {
            // Nobody could say: what was known before stays known, as old as it is.
            Err(error @ IdentityError::Unreachable(_)) => Entry {
                known: previous.and_then(|previous| previous.known.clone()),
                read_at: previous.map_or_else(Utc::now, |previous| previous.read_at),
                failed: Some((error, at)),
            },
            answer => Entry { known: Some((answer, at)), read_at: Utc::now(), failed: None },
        }
    }
}

impl Network {
    /// The document of a DID. However many ask at once, one request is made.
    ///
    /// # Errors
    /// [`IdentityError`]; of these `Unreachable` alone says nothing about the DID.
    pub async fn did_document(&self, did: &Did, freshness: Freshness) -> Result<Arc<DidDocument>, IdentityError> {
        self.did_document_read(did, freshness).await.map(|(document, _)| document)
    }

    /// The same, and when the document was read: of two documents of one DID the one that was read later is the newer.
    ///
    /// # Errors
    /// As [`did_document`](Self::did_document).
    pub async fn did_document_read(
        &self,
        did: &Did,
        freshness: Freshness,
    ) -> Result<(Arc<DidDocument>, DateTime<Utc>), IdentityError> {
        let Documents { entries, ages } = &self.inner.documents;
        let began = Instant::now();
        loop {
            let fetch = async {
                let previous = entries.get(did).await;
                let at = Instant::now();
                let answer = self.inner.fetch_document(did).await.map(Arc::new);
                Arc::new(Entry::after(previous.as_deref(), answer, at))
            };
            let outdated = |entry: &Arc<Entry>| entry.answer(freshness, began, Instant::now(), *ages).is_none();
            let entry = entries.entry_by_ref(did).or_insert_with_if(fetch, outdated).await.into_value();
            // Somebody else's request may have been made before this question began: then it is no answer to it, and
            // the next one is.
            if let Some((answer, from)) = entry.answer(freshness, began, Instant::now(), *ages) {
                metric::document(from);
                return answer.map(|document| (document, entry.read_at));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{HostError, HostErrorKind};

    const AGES: Ages = Ages {
        fresh: Duration::from_secs(100),
        stale: Duration::from_secs(1_000),
        not_found: Duration::from_secs(10),
        unreachable: Duration::from_secs(1),
    };

    fn document() -> Answer {
        let did = Did::parse("did:plc:abcdefghijklmnopqrstuvwx").unwrap();
        Ok(Arc::new(DidDocument { did, handle: None, key: None, pds: None }))
    }

    fn unreachable() -> IdentityError {
        IdentityError::Unreachable(HostError::new(HostErrorKind::Timeout, "plc.directory", ""))
    }

    /// What an entry of this age answers to a question asked now.
    fn answer(known: Option<(Answer, u64)>, failed: Option<u64>, freshness: Freshness) -> Option<Answer> {
        // A clock that has run long enough, however short a time ago the machine was started.
        let now = Instant::now() + Duration::from_secs(10_000);
        let before = |seconds: u64| now - Duration::from_secs(seconds);
        let entry = Entry {
            known: known.map(|(answer, age)| (answer, before(age))),
            read_at: Utc::now(),
            failed: failed.map(|age| (unreachable(), before(age))),
        };
        entry.answer(freshness, now + Duration::from_secs(1), now, AGES).map(|(answer, _)| answer)
    }

    #[test]
    fn what_counts_depends_on_what_it_says_and_who_asks() {
        use Freshness::{Cached, NotOlderThan, Now};
        let found = || Some((document(), 50));
        let missing = |age| Some((Err(IdentityError::NotFound), age));
        assert_eq!(answer(found(), None, Cached), Some(document()));
        assert_eq!(answer(found(), None, NotOlderThan(Duration::from_secs(60))), Some(document()));
        assert_eq!(answer(found(), None, NotOlderThan(Duration::from_secs(40))), None);
        assert_eq!(answer(found(), None, Now), None);
        assert_eq!(answer(Some((document(), 200)), None, Cached), None, "no longer fresh");
        assert_eq!(answer(missing(5), None, Cached), Some(Err(IdentityError::NotFound)));
        assert_eq!(answer(missing(50), None, Cached), None);
        assert_eq!(answer(missing(50), None, NotOlderThan(Duration::from_secs(100))), None);
        assert_eq!(answer(None, Some(0), Cached), Some(Err(unreachable())));
        assert_eq!(answer(None, Some(5), Cached), None, "tried again after seconds");
        assert_eq!(answer(Some((document(), 200)), Some(0), Cached), Some(document()), "stands in");
        assert_eq!(answer(Some((document(), 2_000)), Some(0), Cached), Some(Err(unreachable())));
        assert_eq!(
            answer(Some((document(), 200)), Some(0), NotOlderThan(Duration::from_secs(60))),
            Some(Err(unreachable()))
        );
        assert_eq!(answer(Some((document(), 200)), Some(0), Now), None);
    }

    #[test]
    fn a_failure_does_not_wipe_out_what_was_known() {
        let at = Instant::now();
        let first = Entry::after(None, document(), at);
        let second = Entry::after(Some(&first), Err(unreachable()), at);
        assert!(second.known.is_some() && second.failed.is_some() && second.read_at == first.read_at);
        let third = Entry::after(Some(&second), Err(IdentityError::Tombstoned), at);
        assert_eq!(third.known.unwrap().0, Err(IdentityError::Tombstoned));
        assert!(third.failed.is_none());
    }
}
