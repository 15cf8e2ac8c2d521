-- Writes RSVPs, settled as far as these rows and the events tell: whether the pinned CID is the event's current one, and
-- which of those of one account to one event counts among them. Most are the only one, and what is right from the start is
-- not written twice; settle_rsvps.sql puts right what rows that were there before change about that.
insert into rsvps
    (uri, did, rkey, cid, rev, subject_uri, subject_cid, status, created_at, decided_at, record, problems,
     subject_stale, effective)
select
    r.*,
    case when e.uri is not null then r.subject_cid is distinct from e.cid end,
    r.subject_uri is not null and row_number() over (
        partition by r.subject_uri, r.did order by r.decided_at desc nulls last, r.rkey collate "C" desc
    ) = 1
from unnest(
    $1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
    $9::timestamptz[], $10::timestamptz[], $11::jsonb[], $12::jsonb[]
) as r (uri, did, rkey, cid, rev, subject_uri, subject_cid, status, created_at, decided_at, record, problems)
left join events e on e.uri = r.subject_uri
on conflict (uri) do update set
    cid = excluded.cid, rev = excluded.rev, subject_uri = excluded.subject_uri,
    subject_cid = excluded.subject_cid, subject_stale = excluded.subject_stale, status = excluded.status,
    created_at = excluded.created_at, decided_at = excluded.decided_at, effective = excluded.effective,
    record = excluded.record, problems = excluded.problems, indexed_at = now()
returning subject_uri, did, status, effective
