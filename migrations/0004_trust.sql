-- What is needed to trust nothing and miss nothing: keys, repository states, frames that wait, jobs, gaps, purges.
-- Owner of schema `log`: room event_log. Of `ingest`: room ingest. Of `source`: room source.

-- What was proven of the event before it entered: none | signature | full | snapshot | listed.
alter table log.event add column verification text not null default 'none';

-- Record bytes of deleted accounts that were taken out of the log.
create table log.purge (
    did text collate "C" not null,
    purged_at timestamptz not null default now(),
    -- How many records lost their bytes, and how many bytes those were.
    records bigint not null,
    bytes bigint not null,
    primary key (did, purged_at)
);

alter table ingest.repo
    -- partial: followed since its anchor, its past is not fetched. synced: everything is here up to `rev`.
    -- desynchronized: a gap lies before `rev`. rolled_back: its host shows an older revision than we hold.
    add column state text not null default 'partial'
        check (state in ('partial', 'synced', 'desynchronized', 'rolled_back')),
    -- Since when it is in this state.
    add column state_since timestamptz not null default now(),
    -- The revision that a snapshot must have reached to close the gap.
    add column gap_rev text collate "C",
    -- From the DID document: the PDS's endpoint, and the signing key as `did:key:…` holds it.
    add column pds text,
    add column signing_key text,
    -- When the document was read; null: never.
    add column identity_at timestamptz,
    -- The handle that leads back to the DID.
    add column handle text,
    -- An #identity event came that was not followed up yet.
    add column identity_due boolean not null default false,
    -- The last word about its hosting state.
    add column hosting_active boolean,
    add column hosting_status text,
    add column hosting_time timestamptz,
    add column hosting_seq bigint;

-- Frames that wait for their account's key. In order of `n` per account; a frame leaves in the transaction that handles it.
create table ingest.held (
    n bigint primary key,
    did text collate "C" not null,
    upstream text not null,
    upstream_kind text not null,
    seen_at timestamptz not null,
    live boolean not null,
    frame bytea not null,
    held_at timestamptz not null default now()
);
create index held_by_did on ingest.held (did, n);

create schema source;

-- Repositories to compare with what their host holds, and to fetch where they differ. One row per account; what comes
-- while a job waits is merged into it.
create table source.backfill_job (
    did text collate "C" primary key,
    -- first_start | new_account | desynchronized | gap | coverage | reactivated | asked
    reason text not null,
    -- auto | sparse | car | list
    strategy text not null default 'auto',
    -- failed: given up for now under a named outcome; tried again, slowly, from `not_before` on (infinity: never).
    state text not null default 'queued' check (state in ('queued', 'running', 'done', 'failed')),
    -- Larger goes first.
    priority integer not null default 0,
    -- Asked for again while it ran: it runs once more.
    again boolean not null default false,
    attempts integer not null default 0,
    not_before timestamptz not null default now(),
    queued_at timestamptz not null default now(),
    started_at timestamptz,
    finished_at timestamptz,
    -- The host that was asked, in lower case, with its port.
    host text,
    -- How it ended: unchanged | fetched_sparse | fetched_car | fetched_list | inactive | not_found | rolled_back |
    -- host_unreachable | identity_unresolved | refused | …
    outcome text,
    -- For people: what went wrong.
    error text,
    -- The revision that the host showed in the last run that ended well.
    rev text collate "C",
    -- What the last run moved over the wire, and found.
    bytes bigint not null default 0,
    records bigint not null default 0
);
create index backfill_job_by_turn on source.backfill_job (priority desc, not_before, did) where state in ('queued', 'failed');
create index backfill_job_by_host on source.backfill_job (host) where state in ('queued', 'failed');
create index backfill_job_running on source.backfill_job (did) where state = 'running';

-- How far the lists of accounts were read, so that a kill resumes there.
create table source.discovery (
    host text not null,
    -- Empty: every account of a PDS.
    collection text collate "C" not null,
    -- Of the next page; null: the list was read to its end.
    cursor text,
    accounts bigint not null default 0,
    started_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    finished_at timestamptz,
    primary key (host, collection)
);

-- Hosts that failed, and until when they are left alone.
create table source.host_state (
    host text primary key,
    -- In a row; asking too often is none.
    failures integer not null,
    parked_until timestamptz not null,
    last_error text not null
);

-- Places where an upstream's frames may be missing.
create table source.gap (
    id bigint generated always as identity primary key,
    upstream text not null,
    noted_at timestamptz not null default now(),
    -- outdated_cursor | window | jump | seq_backwards | sequence_reset | future_cursor | no_cursor
    kind text not null,
    -- The last frame handled before, and the first one after, as far as known.
    seq_before bigint,
    seq_after bigint,
    time_before timestamptz,
    time_after timestamptz,
    detail text not null,
    -- How many accounts were queued to be compared because of it.
    accounts_queued bigint not null default 0
);
