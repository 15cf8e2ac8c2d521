-- The append-only log, the cursors it justifies, and what ingest remembers per repository.
-- Owner of schema `log`: room event_log. Owner of schema `ingest`: room ingest.

create schema log;

-- Which environment this database belongs to. One row, written once, never changed.
create table log.environment (
    one boolean primary key default true check (one),
    name text not null,
    stamped_at timestamptz not null default now()
);

-- The last position given out. One row: moves in the transaction that appends.
create table log.head (
    one boolean primary key default true check (one),
    position bigint not null check (position >= 0),
    -- Who appends: a random name that each appender writes when it gets the lock. An appender that finds another name
    -- here has been replaced and must stop.
    leader text
);
insert into log.head (position) values (0);

create table log.event (
    -- 1 for the first event, without gaps.
    position bigint primary key,
    -- First 16 bytes of SHA-256 over what makes two observations the same event.
    dedup bytea not null,
    environment text not null,
    kind text not null check (kind in ('put', 'delete', 'snapshot', 'account', 'identity')),
    did text collate "C" not null,
    collection text collate "C",
    rkey text collate "C",
    rev text collate "C",
    cid text collate "C",
    -- DAG-CBOR bytes of a put, verbatim.
    record bytea,
    active boolean,
    status text,
    handle text,
    -- The event's own word about when it happened (account and identity events).
    event_time timestamptz,
    origin text not null,
    upstream text not null,
    seq bigint,
    seen_at timestamptz not null,
    live boolean not null
);
alter table log.event alter column record set storage external;
create unique index event_dedup on log.event (dedup);
create index event_by_repo on log.event (did, collection, rkey);

-- Up to which frame of an upstream everything is handled. Moves in the transaction that appends.
create table log.cursor (
    upstream text primary key,
    kind text not null,
    seq bigint not null,
    -- The time that the frame at `seq` carries.
    event_time timestamptz,
    updated_at timestamptz not null default now()
);

create schema ingest;

-- The accounts in scope: last known revision and data CID of each repository.
create table ingest.repo (
    did text collate "C" primary key,
    rev text collate "C",
    data text collate "C",
    in_scope_since timestamptz not null default now()
);

-- The latest account and identity word of accounts that are not in scope. When such an account comes into scope its
-- words enter the log, so that the order of arrival does not matter. Pruned by age.
create table ingest.bystander (
    did text collate "C" not null,
    kind text not null check (kind in ('account', 'identity')),
    active boolean,
    status text,
    handle text,
    event_time timestamptz not null,
    upstream text not null,
    upstream_kind text not null,
    seq bigint,
    seen_at timestamptz not null,
    live boolean not null,
    stored_at timestamptz not null default now(),
    primary key (did, kind)
);
create index bystander_by_age on ingest.bystander (stored_at);
