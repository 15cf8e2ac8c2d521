-- Which RSVP counts among those of each account to each event: for the pairs of event $1 and account $2 whose RSVPs changed.
-- Content decides, not arrival: the latest createdAt (or the key's own time), then the greatest key.
-- Returns what changed, for the counts.
with settled as (
    select
        r.uri,
        row_number() over (
            partition by r.subject_uri, r.did order by r.decided_at desc nulls last, r.rkey desc
        ) = 1 as effective
    from unnest($1::text[], $2::text[]) as pair (subject_uri, did)
    join rsvps r on r.subject_uri = pair.subject_uri and r.did = pair.did
)
update rsvps r
set effective = s.effective
from settled s
where r.uri = s.uri and r.effective is distinct from s.effective
returning r.subject_uri, r.status, r.effective
