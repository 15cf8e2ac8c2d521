-- Takes the record bytes of at most $2 puts of account $1 out of the log. Returns how many, and how many bytes.
with taken as (
    select position, octet_length(record) as bytes
    from log.event
    where did = $1 and record is not null
    order by position
    limit $2
),
emptied as (
    update log.event as event
    set record = null,
        -- What made it the same as a later observation: without its bytes it no longer is, so the record may enter again.
        dedup = substr(sha256(event.dedup || int8send(event.position)), 1, 16)
    from taken
    where event.position = taken.position
    returning taken.bytes
)
select count(*), coalesce(sum(bytes), 0)::bigint from emptied
