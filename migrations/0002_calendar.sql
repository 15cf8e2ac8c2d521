-- The query index: a fold of the log that can be thrown away and rebuilt. Owner: room projection.
-- `events`, `event_locations`, `rsvps`, `rsvp_counts` and `accounts` are a public contract for apps. They hold what may
-- be shown: rows of hidden accounts and deleted records are absent. `words` and `checkpoint` are the projection's own.
-- A rebuild fills copies of these tables in schema `calendar_next` and swaps the schemas.

create schema calendar;

create table calendar.checkpoint (
    one boolean primary key default true check (one),
    -- The log is folded up to and including this position.
    position bigint not null
);
insert into calendar.checkpoint (position) values (0);

-- The last word about every record ever seen, tombstones included.
create table calendar.words (
    did text collate "C" not null,
    collection text collate "C" not null,
    rkey text collate "C" not null,
    rev text collate "C" not null,
    -- Null: deleted.
    cid text collate "C",
    -- Where in the log the word stands.
    position bigint not null,
    primary key (did, collection, rkey)
);

create table calendar.accounts (
    did text collate "C" primary key,
    -- As last told by the network; null while unknown.
    handle text,
    active boolean not null default true,
    status text not null default 'active',
    -- Whether this account's rows are withheld from the other tables.
    hidden boolean not null default false,
    -- What orders the account's words: the event's own time, then seq.
    status_time timestamptz,
    status_seq bigint,
    handle_time timestamptz,
    handle_seq bigint,
    -- Revision of the latest snapshot: older records are gone.
    snapshot_rev text collate "C"
);
create index accounts_by_handle on calendar.accounts (lower(handle));

create table calendar.events (
    uri text collate "C" primary key,
    did text collate "C" not null,
    rkey text collate "C" not null,
    cid text collate "C" not null,
    rev text collate "C" not null,
    name text,
    description text,
    created_at timestamptz,
    starts_at timestamptz,
    ends_at timestamptz,
    -- Full tokens as the record has them (`community.lexicon.calendar.event#virtual`); null when absent.
    mode text,
    status text,
    rsvp_expected boolean,
    -- [{"uri": …, "name": …}]
    uris jsonb not null default '[]',
    -- The whole record in the data model's JSON form.
    record jsonb not null,
    -- [{"field": …, "problem": …}]: what the lenient reading could not read, or read with doubt.
    problems jsonb not null default '[]',
    search tsvector generated always as (
        setweight(to_tsvector('simple', left(coalesce(name, ''), 5000)), 'A') ||
        -- A tsvector holds less than 1 MB; no name or description worth searching is longer than this.
        setweight(to_tsvector('simple', left(coalesce(description, ''), 50000)), 'B')
    ) stored,
    indexed_at timestamptz not null default now()
);
create index events_by_start on calendar.events (starts_at, uri);
create index events_by_creation on calendar.events (created_at, uri);
create index events_by_author on calendar.events (did, starts_at, uri);
create index events_by_text on calendar.events using gin (search);

create table calendar.event_locations (
    uri text collate "C" not null,
    -- 0-based place in the record's `locations`.
    index integer not null,
    -- address | geo | fsq | hthree | uri | the `$type` as given when unknown.
    kind text not null,
    name text,
    street text,
    locality text,
    region text,
    postal_code text,
    country text,
    latitude double precision,
    longitude double precision,
    h3 text,
    fsq_place_id text,
    link text,
    location jsonb not null,
    primary key (uri, index)
);
create index event_locations_by_point on calendar.event_locations (latitude, longitude) where latitude is not null;

create table calendar.rsvps (
    uri text collate "C" primary key,
    did text collate "C" not null,
    rkey text collate "C" not null,
    cid text collate "C" not null,
    rev text collate "C" not null,
    -- The event answered to; null when the record names none that can be read.
    subject_uri text collate "C",
    -- The CID of the event that the record pins.
    subject_cid text,
    -- The pinned CID is not the event's current one. Null while the event is not known here.
    subject_stale boolean,
    -- Full token as the record has it; null when absent.
    status text,
    created_at timestamptz,
    -- What decides between several RSVPs of one account to one event: createdAt, else the time in the record key.
    decided_at timestamptz,
    -- The one that counts among this account's RSVPs to this event.
    effective boolean not null default false,
    record jsonb not null,
    problems jsonb not null default '[]',
    indexed_at timestamptz not null default now()
);
create index rsvps_by_subject on calendar.rsvps (subject_uri, did);
create index rsvps_by_author on calendar.rsvps (did, subject_uri);

-- Effective RSVPs per event, counted by status. Present for every event that somebody answered to, known here or not.
create table calendar.rsvp_counts (
    subject_uri text collate "C" primary key,
    going integer not null,
    interested integer not null,
    notgoing integer not null,
    other integer not null
);
