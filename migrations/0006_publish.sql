-- How we act for our users, what they want published, and who may ask for it.
-- Owner of schema `identity`: room identity. Of `publish`: room publisher. Of `api`: room api.

-- Secrets of custodial accounts: envelopes (AES-256-GCM) that only their own row can open.
create table identity.credential (
    user_id text collate "C" not null,
    did text collate "C" not null references identity.account (did) on delete cascade,
    -- password | access_token | refresh_token: part of what the envelope is bound to.
    name text not null,
    envelope text not null,
    -- The key that the envelope names; null: one of the older form, which names none.
    key_id text collate "C",
    updated_at timestamptz not null default now(),
    primary key (did, name)
);
-- What a rotation has still to do.
create index credential_by_key on identity.credential (key_id, did, name);

-- How acting for an account goes, as far as it was tried.
create table identity.session (
    did text collate "C" primary key references identity.account (did) on delete cascade,
    -- When the access token ends, by its own word.
    access_until timestamptz,
    -- The same of the refresh token.
    refresh_until timestamptz,
    -- Counts up at every renewal, so that of several processes one renews and the others see that it did.
    generation bigint not null default 0,
    -- untried | ok | unreachable | dead: dead needs somebody to do something.
    health text not null default 'untried' check (health in ('untried', 'ok', 'unreachable', 'dead')),
    health_detail text,
    health_at timestamptz,
    -- While it is dead: how often it was tried in vain, and from when on it may be tried again.
    refusals integer not null default 0,
    retry_at timestamptz,
    -- When we last acted for it, to within some minutes.
    used_at timestamptz
);

-- Accounts that are being made: the password is kept before the PDS is asked, so that an account whose making was not
-- answered is found again, and not made twice.
create table identity.pending_account (
    user_id text collate "C" primary key,
    handle text not null,
    email text not null,
    -- The password, bound to user and handle.
    envelope text not null,
    key_id text collate "C" not null,
    -- Whether the PDS may have got the request.
    asked boolean not null default false,
    created_at timestamptz not null default now()
);

create schema publish;

-- A record that we publish or look after: one row an AT-URI.
create table publish.record (
    id bigint generated always as identity primary key,
    -- Whose it is.
    user_id text collate "C" not null,
    did text collate "C" not null,
    collection text collate "C" not null,
    -- Chosen before the first attempt, so that a repetition cannot make a second record.
    rkey text collate "C" not null,
    -- The app's own name for it; null while it was only found on the PDS.
    client_key text collate "C",
    -- What the app last wanted and the PDS took (JSON of the draft's fields as they stand in a record): what an edit of the app is measured
    -- against. Null: nothing yet, or found on the PDS.
    base jsonb,
    -- The version that the PDS holds, as far as we were told: by its answers and by the log, whichever is newer.
    cid text collate "C",
    rev text collate "C",
    -- Last word of the log about it.
    seen_position bigint,
    -- It is known not to be there any more.
    deleted boolean not null default false,
    -- Somebody changed or deleted it otherwise than through us: when we saw that, and which version it made.
    edited_elsewhere_at timestamptz,
    edited_elsewhere_cid text collate "C",
    -- The log shows a version that an attempt without an answer may have made: it is judged when that attempt is settled.
    held_back boolean not null default false,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    unique (did, collection, rkey)
);
create index record_held_back on publish.record (id) where held_back;
create unique index record_by_client_key on publish.record (user_id, collection, client_key) where client_key is not null;

-- A wish: what a record shall become. wanted → attempted → acknowledged → confirmed, or conflict, or refused; superseded when
-- a later wish for the same record came before it was sent.
create table publish.intent (
    id bigint generated always as identity primary key,
    record_id bigint not null references publish.record (id),
    action text not null check (action in ('put', 'delete')),
    -- The draft's fields as they stand in a record, without those that are not the app's; null for a delete.
    draft jsonb,
    -- SHA-256 of action, draft and conditions: the same wish again is no second wish.
    digest bytea not null,
    -- The version that the app edited, if it said so.
    if_match text collate "C",
    -- The record was not there when this was wished: it is to be made. Otherwise a record that is gone was deleted elsewhere,
    -- and is not made again.
    creates boolean not null default false,
    state text not null default 'wanted'
        check (state in ('wanted', 'attempted', 'acknowledged', 'confirmed', 'conflict', 'refused', 'superseded')),
    -- Whether an attempt may have reached the PDS without our hearing the answer.
    maybe_written boolean not null default false,
    attempts integer not null default 0,
    next_at timestamptz not null default now(),
    -- Who is at it now; after that moment anybody may be.
    leased_until timestamptz,
    -- Why it is not done: a word of the retry table, what happened, and what to do.
    trouble text,
    trouble_detail text,
    -- Of a conflict: the fields that both sides changed, with both values.
    conflict jsonb,
    -- What the PDS answered.
    cid text collate "C",
    rev text collate "C",
    -- Who asked, when it is not the record's owner, and by which grant.
    acting_user text collate "C",
    grant_id bigint,
    created_at timestamptz not null default now(),
    attempted_at timestamptz,
    acknowledged_at timestamptz,
    confirmed_at timestamptz,
    confirmed_position bigint
);
create index intent_by_record on publish.intent (record_id, id);
create index intent_due on publish.intent (next_at, id) where state in ('wanted', 'attempted');
create index intent_unseen on publish.intent (acknowledged_at) where state = 'acknowledged';

-- Points spent by account, in slices of a minute, for the budgets of the PDS.
create table publish.spent (
    did text collate "C" not null,
    minute timestamptz not null,
    points integer not null,
    primary key (did, minute)
);

-- Up to which position the log was looked at. From 0 on: records that are there already are ours as well.
create table publish.checkpoint (
    one boolean primary key default true check (one),
    position bigint not null default 0
);
insert into publish.checkpoint default values;

-- Accounts whose records were looked for in the whole log, once, after they were linked. It goes with the link.
create table publish.adopted (
    did text collate "C" primary key references identity.account (did) on delete cascade,
    adopted_at timestamptz not null default now()
);

-- Who may write in whose name.
create table publish.grant (
    id bigint generated always as identity primary key,
    -- The owner of the records.
    grantor_did text collate "C" not null,
    -- The user of ours who may write them.
    grantee_user text collate "C" not null,
    -- One event; null: all events of the grantor.
    event_uri text collate "C",
    expires_at timestamptz,
    created_by text not null,
    created_at timestamptz not null default now(),
    revoked_by text,
    revoked_at timestamptz
);
create index grant_by_grantee on publish.grant (grantee_user, grantor_did) where revoked_at is null;

-- Writes in another's name: kept for as long as the records are.
create table publish.audit (
    id bigint generated always as identity primary key,
    at timestamptz not null default now(),
    acting_user text collate "C" not null,
    owner_did text collate "C" not null,
    uri text collate "C" not null,
    action text not null,
    -- The grant; null when it was refused for the lack of one.
    grant_id bigint,
    intent_id bigint,
    -- Names of the fields that changed.
    changed text[] not null default '{}',
    -- allowed | refused, and later written, conflict or failed.
    outcome text not null,
    cid text collate "C"
);
create index audit_by_owner on publish.audit (owner_did, id);
create index audit_by_uri on publish.audit (uri, id);
create index audit_by_intent on publish.audit (intent_id);

create schema api;

-- What apps show to be let in. Only the hash is kept.
create table api.token (
    id bigint generated always as identity primary key,
    name text not null unique,
    sha256 bytea not null unique,
    -- Words such as publish, read, grants, identity.
    scopes text[] not null,
    created_by text not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    last_used_at timestamptz,
    revoked_at timestamptz
);
