-- For the events $1: which RSVP of each account counts, and whether its pinned CID is the event's current one.
-- Content decides, not arrival: the latest createdAt (or the key's own time), then the greatest key.
with settled as (
    select
        r.uri,
        row_number() over (
            partition by r.subject_uri, r.did order by r.decided_at desc nulls last, r.rkey desc
        ) = 1 as effective,
        case when e.uri is not null then r.subject_cid is distinct from e.cid end as stale
    from rsvps r
    left join events e on e.uri = r.subject_uri
    where r.subject_uri = any($1)
)
update rsvps r
set effective = s.effective, subject_stale = s.stale
from settled s
where r.uri = s.uri and (r.effective, r.subject_stale) is distinct from (s.effective, s.stale)
