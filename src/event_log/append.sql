-- Appends a batch after position $1 in the order given, moves the head, and returns how many rows were new.
with incoming as (
    select * from unnest(
        $2::bytea[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::bytea[],
        $11::boolean[], $12::text[], $13::text[], $14::timestamptz[], $15::text[], $16::text[], $17::bigint[],
        $18::timestamptz[], $19::boolean[], $20::text[], $21::smallint[], $22::text[], $23::text[], $24::jsonb[]
    ) with ordinality as t (
        dedup, environment, kind, did, collection, rkey, rev, cid, record,
        active, status, handle, event_time, origin, upstream, seq,
        seen_at, live, verification, origin_rule, commit_cid, pds, detail, place
    )
),
-- The same event twice in one batch: the first stays.
first as (
    select distinct on (dedup) * from incoming order by dedup, place
),
-- Only one appender runs, so a row that is not there now will not appear before this statement ends.
fresh as (
    select first.*, row_number() over (order by place) as n
    from first
    where not exists (select from log.event as old where old.dedup = first.dedup)
),
added as (
    insert into log.event (
        position, dedup, environment, kind, did, collection, rkey, rev, cid, record,
        active, status, handle, event_time, origin, upstream, seq, seen_at, live, verification,
        origin_rule, commit_cid, pds, detail
    )
    select
        $1 + n, dedup, environment, kind, did, collection, rkey, rev, cid, record,
        active, status, handle, event_time, origin, upstream, seq, seen_at, live, verification,
        origin_rule, commit_cid, pds, detail
    from fresh
    order by n
    returning 1
),
moved as (
    update log.head set position = $1 + (select count(*) from added) where exists (select from added)
)
select count(*) from added
