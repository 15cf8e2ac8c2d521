-- The records of account $1 that are live by the log, as far as revision $2 can have an opinion on them.
with last_snapshot as (
    select max(rev) as rev from log.event where did = $1 and kind = 'snapshot'
),
last_word as (
    -- As the fold ranks words: the highest revision, a put before a delete of the same one.
    select distinct on (collection, rkey) collection, rkey, kind, rev
    from log.event
    where did = $1 and collection is not null and rkey is not null
    order by collection, rkey, rev desc, cid desc nulls last
)
select collection, rkey
from last_word
where kind = 'put' and rev <= $2 and rev >= coalesce((select rev from last_snapshot), '')
order by collection, rkey
