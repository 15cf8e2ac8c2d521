//! The last resort: records as the host lists them. Nothing proves them but the host's word; what can be checked is that
//! a record is what its CID says.

use super::json_record::encode_record;
use super::rows::Rows;
use super::trouble::Trouble;
use super::{Resync, Snapshot, Target, check_rev};
use crate::event::{Nsid, Verification};
use crate::network::LatestCommit;

/// A collection of more pages has no end: a cursor that never repeats.
const PAGES_MAX: u32 = 20_000;

impl Resync {
    /// Reads the lists of all followed collections. `moved` counts the records' bytes.
    pub(super) async fn list<'a>(
        &'a self,
        target: &'a Target,
        latest: LatestCommit,
        moved: &mut u64,
    ) -> Result<Snapshot<'a>, Trouble> {
        check_rev(latest.rev)?;
        let verification = Verification::Listed;
        let mut rows = Rows::new(&self.inlet, &target.document, &target.upstream, latest.rev, verification);
        for collection in self.listed_collections(target).await? {
            self.list_collection(target, &collection, &mut rows, moved).await?;
        }
        // What was listed must all be of one moment.
        let after = self.network.latest_commit(&target.endpoint, &target.did).await?;
        if after.rev != latest.rev {
            return Err(Trouble::MovedOn);
        }
        Ok(Snapshot { rows, rev: latest.rev, data: None, verification })
    }

    /// The followed collections by name; prefixes are looked up among what the repository says that it has.
    async fn listed_collections(&self, target: &Target) -> Result<Vec<Nsid>, Trouble> {
        let (exact, has_prefixes) = {
            let policy = self.policy.load();
            let names = policy.collections.names();
            let exact: Vec<Nsid> = names.iter().filter_map(|name| Nsid::parse(name).ok()).collect();
            (exact, names.iter().any(|name| name.ends_with('*')))
        };
        if !has_prefixes {
            return Ok(exact);
        }
        let described = self.network.describe_repo(&target.endpoint, &target.did).await?;
        let policy = self.policy.load();
        Ok(described
            .collections
            .into_iter()
            .filter(|collection| policy.collections.contains(collection.as_str()))
            .collect())
    }

    async fn list_collection(
        &self,
        target: &Target,
        collection: &Nsid,
        rows: &mut Rows<'_>,
        moved: &mut u64,
    ) -> Result<(), Trouble> {
        let mut cursor: Option<Box<str>> = None;
        for _ in 0..PAGES_MAX {
            let page = self.network.list_records(&target.endpoint, &target.did, collection, cursor.as_deref()).await?;
            if page.unreadable > 0 {
                let what = format!("{} entries of the list of {collection} cannot be read", page.unreadable);
                return Err(Trouble::Refused(what));
            }
            for listed in page.items {
                if listed.uri.did != target.did || listed.uri.collection != *collection {
                    return Err(Trouble::Refused(format!("the list of {collection} holds {}", listed.uri)));
                }
                let refuse = |why: String| Trouble::Refused(format!("{}: {why}", listed.uri));
                let (record, cid) = encode_record(&listed.value).map_err(refuse)?;
                if cid != listed.cid {
                    return Err(refuse(format!("the record's CID is {cid}, but the host says {}", listed.cid)));
                }
                *moved += record.len() as u64;
                rows.add(&format!("{collection}/{}", listed.uri.rkey), cid, record.into()).await?;
            }
            match page.cursor {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
        Err(Trouble::Refused(format!("the list of {collection} has no end")))
    }
}
