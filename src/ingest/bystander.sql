-- Keeps, per account and kind, the latest word: by its own time (a clock ahead is cut to arrival + 5 minutes), then seq.
with incoming as (
    select *, least(event_time, seen_at + interval '5 minutes') as spoken
    from unnest(
        $1::text[], $2::text[], $3::boolean[], $4::text[], $5::text[], $6::timestamptz[], $7::text[], $8::text[],
        $9::bigint[], $10::timestamptz[], $11::boolean[]
    ) as t (did, kind, active, status, handle, event_time, upstream, upstream_kind, seq, seen_at, live)
    -- An identity word without a handle tells nothing that could be wanted later.
    where kind = 'account' or handle is not null
),
latest as (
    select distinct on (did, kind) *
    from incoming
    order by did, kind, spoken desc, seq desc nulls last, active desc nulls last, status desc nulls last, handle desc nulls last
)
insert into ingest.bystander as old
    (did, kind, active, status, handle, event_time, upstream, upstream_kind, seq, seen_at, live)
select did, kind, active, status, handle, event_time, upstream, upstream_kind, seq, seen_at, live
from latest
on conflict (did, kind) do update set
    active = excluded.active, status = excluded.status, handle = excluded.handle, event_time = excluded.event_time,
    upstream = excluded.upstream, upstream_kind = excluded.upstream_kind, seq = excluded.seq,
    seen_at = excluded.seen_at, live = excluded.live, stored_at = now()
where (least(excluded.event_time, excluded.seen_at + interval '5 minutes'), coalesce(excluded.seq, 0))
    > (least(old.event_time, old.seen_at + interval '5 minutes'), coalesce(old.seq, 0))
