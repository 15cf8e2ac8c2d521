-- For the events $1, which were written or removed: whether the CID that each RSVP pins is the event's current one.
update rsvps r
set subject_stale = case when e.uri is not null then r.subject_cid is distinct from e.cid end
from unnest($1::text[]) as changed (uri)
left join events e on e.uri = changed.uri
where r.subject_uri = changed.uri
    and r.subject_stale is distinct from case when e.uri is not null then r.subject_cid is distinct from e.cid end
