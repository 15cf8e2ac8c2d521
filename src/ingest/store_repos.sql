-- What is remembered of accounts in scope.
insert into ingest.repo as old (
    did, rev, data, state, gap_rev, pds, signing_key, handle, identity_at, identity_due,
    hosting_active, hosting_status, hosting_time, hosting_seq,
    claimed_handle, directory, identity_missing, standing, standing_kept, standing_rule, standing_since
)
select * from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::timestamptz[],
    $10::boolean[], $11::boolean[], $12::text[], $13::timestamptz[], $14::bigint[],
    $15::text[], $16::text[], $17::boolean[], $18::text[], $19::boolean[], $20::smallint[], $21::timestamptz[]
)
on conflict (did) do update set
    rev = excluded.rev, data = excluded.data, state = excluded.state,
    state_since = case when old.state = excluded.state then old.state_since else now() end,
    gap_rev = excluded.gap_rev, pds = excluded.pds, signing_key = excluded.signing_key, handle = excluded.handle,
    identity_at = excluded.identity_at, identity_due = excluded.identity_due,
    hosting_active = excluded.hosting_active, hosting_status = excluded.hosting_status,
    hosting_time = excluded.hosting_time, hosting_seq = excluded.hosting_seq,
    claimed_handle = excluded.claimed_handle, directory = excluded.directory, identity_missing = excluded.identity_missing,
    standing = excluded.standing, standing_kept = excluded.standing_kept, standing_rule = excluded.standing_rule,
    standing_since = excluded.standing_since
