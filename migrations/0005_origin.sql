-- Whose a record is and which rule said so, what was refused, who changed the lists, what followed.
-- Owner of schema `log`: room event_log. Of `ingest`: room ingest. Of `identity`: room identity. Of `effects`: room effects.

alter table log.event
    drop constraint event_kind_check,
    -- origin: an account's standing changed. list: somebody changed who may enter.
    add constraint event_kind_check check (kind in ('put', 'delete', 'snapshot', 'account', 'identity', 'origin', 'list')),
    -- Number of the rule that decided the origin; null in rows older than the rules.
    add column origin_rule smallint,
    -- The commit that wrote it.
    add column commit_cid text collate "C",
    -- The account's PDS then, by its DID document.
    add column pds text,
    -- Of a list event: {"who": …, "why": …}.
    add column detail jsonb;

alter table ingest.repo
    -- The last verdict about the account: its word, whether its records are kept, by which rule, since when.
    add column standing text,
    add column standing_kept boolean,
    add column standing_rule smallint,
    add column standing_since timestamptz,
    -- The handle that its document claims, whether it leads back or not.
    add column claimed_handle text,
    -- The directory does not know it any more.
    add column identity_missing boolean not null default false,
    -- Where its document was read: the PLC directory, or the host of a did:web.
    add column directory text;

-- Who may enter beside the files: at most one entry an account.
create table ingest.origin_entry (
    did text collate "C" primary key,
    -- allow | deny
    list text not null check (list in ('allow', 'deny')),
    who text not null,
    why text not null,
    at timestamptz not null default now()
);

-- Changes that somebody made and that the appender has not put into the log yet, in order.
create table ingest.origin_change (
    n bigint generated always as identity primary key,
    did text collate "C" not null,
    -- A word of ListChange.
    change text not null,
    who text not null,
    why text not null,
    at timestamptz not null default now()
);

-- Refused records with their bytes. One row a frame and reason: the same frame again counts up.
create table ingest.quarantine (
    id bigint generated always as identity primary key,
    -- First 16 bytes of SHA-256 over DID, reason and frame.
    digest bytea not null unique,
    did text collate "C" not null,
    -- Why: a word of Refusal, or of the decoder's reasons.
    reason text not null,
    -- Number of the origin rule that refused it; null when the decoder did.
    rule smallint,
    -- For people.
    detail text not null,
    -- The followed records that it is about: COLLECTION/RKEY.
    paths text[] not null,
    rev text collate "C",
    commit_cid text collate "C",
    upstream text not null,
    upstream_kind text not null,
    -- The environment that the upstream or dump is declared for, if it is.
    declared text,
    seq bigint,
    seen_at timestamptz not null,
    live boolean not null,
    pds text,
    -- The message as it came; null when only an account was offered, and nothing was fetched.
    frame bytea,
    times bigint not null default 1,
    quarantined_at timestamptz not null default now(),
    -- Somebody asked to have it judged again.
    release_asked_at timestamptz,
    release_asked_by text,
    -- What became of that: released, or why not.
    release_outcome text,
    released_at timestamptz
);
create index quarantine_by_did on ingest.quarantine (did, id);
create index quarantine_by_reason on ingest.quarantine (reason, id);
create index quarantine_by_age on ingest.quarantine (quarantined_at);
create index quarantine_to_release on ingest.quarantine (id) where release_asked_at is not null and released_at is null;

-- Upstreams that carried a commit of followed records which was there already.
create table ingest.sighting (
    did text collate "C" not null,
    rev text collate "C" not null,
    upstream text not null,
    upstream_kind text not null,
    seq bigint,
    seen_at timestamptz not null,
    live boolean not null,
    primary key (did, rev, upstream)
);
create index sighting_by_age on ingest.sighting (seen_at);

create schema identity;

-- Which network account belongs to which of our users. One a user, one user an account.
create table identity.account (
    user_id text collate "C" primary key,
    did text collate "C" not null unique,
    handle text,
    -- The PDS's endpoint, as last verified.
    pds text not null,
    -- Whether we hold its credentials.
    custodial boolean not null,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

alter table calendar.accounts
    -- The account's records are refused here: the word why. Null: they are not.
    add column refused text,
    -- When that was decided.
    add column standing_time timestamptz;

create schema effects;

-- Up to which position the log was looked at for effects. It starts at the end of the log and never goes back.
create table effects.checkpoint (
    one boolean primary key default true check (one),
    position bigint not null
);

-- From which position on a subscription is served.
create table effects.subscription (
    name text primary key,
    since_position bigint not null,
    -- Its receiver said that it is gone, or failed for too long: until when it is left alone.
    paused_until timestamptz,
    pause_reason text,
    created_at timestamptz not null default now()
);

create table effects.delivery (
    -- The webhook-id: the same at every attempt.
    id text primary key,
    subscription text not null,
    position bigint not null,
    did text collate "C" not null,
    uri text collate "C",
    state text not null default 'pending' check (state in ('pending', 'delivered', 'dead')),
    attempts integer not null default 0,
    next_at timestamptz not null default now(),
    last_status integer,
    last_error text,
    created_at timestamptz not null default now(),
    -- When it was queued, or queued again by somebody: what its age is counted from.
    queued_at timestamptz not null default now(),
    delivered_at timestamptz,
    unique (subscription, position)
);
create index delivery_due on effects.delivery (subscription, next_at) where state = 'pending';
-- Which delivery of an account is the first that waits.
create index delivery_line on effects.delivery (subscription, did, position) where state = 'pending';
create index delivery_dead on effects.delivery (position) where state = 'dead';
create index delivery_by_uri on effects.delivery (uri);

-- What the list files held when they were last read.
create table ingest.origin_file (
    -- allow_file | deny_file
    list text primary key,
    path text not null,
    sha256 text not null,
    dids bigint not null,
    read_at timestamptz not null default now()
);
