-- What is remembered of accounts in scope.
insert into ingest.repo as old (
    did, rev, data, state, gap_rev, pds, signing_key, handle, identity_at, identity_due,
    hosting_active, hosting_status, hosting_time, hosting_seq
)
select * from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::timestamptz[],
    $10::boolean[], $11::boolean[], $12::text[], $13::timestamptz[], $14::bigint[]
)
on conflict (did) do update set
    rev = excluded.rev, data = excluded.data, state = excluded.state,
    state_since = case when old.state = excluded.state then old.state_since else now() end,
    gap_rev = excluded.gap_rev, pds = excluded.pds, signing_key = excluded.signing_key, handle = excluded.handle,
    identity_at = excluded.identity_at, identity_due = excluded.identity_due,
    hosting_active = excluded.hosting_active, hosting_status = excluded.hosting_status,
    hosting_time = excluded.hosting_time, hosting_seq = excluded.hosting_seq
