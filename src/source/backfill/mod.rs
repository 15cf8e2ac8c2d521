//! What is to be fetched from repositories, in which order, and which hosts are left alone meanwhile.
//!
//! In: requests to look at accounts; what became of each; lists of accounts that relays and PDSes keep. Out: jobs to do now.
//! Always true: an account has one job at most, and what is asked while it runs makes it run once more; a job that was
//! running when the process was killed runs again; a host that fails is left alone for growing pauses while the jobs of
//! other hosts go on, and nothing is forgotten because of it. Never: looks into a repository (that is for
//! `ingest::resync`), a lock held while something is fetched.

mod discovery;
mod host;
mod job;
mod metric;
mod queue;
mod summary;

pub use discovery::{
    Discovered, DiscoveryError, discover_by_collection, discover_pds, ever_discovered, forget_discovery, is_discovered,
    list_by_collection, list_pds,
};
pub use host::{
    HostFailure, HostTrouble, Pauses, forgive_hosts, host_answered, host_failed, host_limited, host_pause,
    troubled_hosts,
};
pub use job::{Job, JobRequest, JobState, Outcome, Reason, Strategy, UnknownWord};
pub use metric::{count_outcome, record_fetch, register_metrics, show_coverage, show_queue};
pub use queue::{claim, defer, enqueue, ever_done, fail, finish, looked_at, reset_running, retry_later};
pub use summary::{
    HostSummary, JobView, QueueCounts, counts, counts_since, ends_since, failures_since, now, per_host_since,
    shut_out_since, states_of,
};
