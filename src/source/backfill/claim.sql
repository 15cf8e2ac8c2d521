-- Takes at most $1 jobs whose turn it is, leaving out busy hosts ($2) and parked ones.
with chosen as (
    select did
    from source.backfill_job as job
    where state in ('queued', 'failed')
        and not_before <= now()
        and (host is null or host <> all ($2))
        and not exists (
            select from source.host_state as parked where parked.host = job.host and parked.parked_until > now()
        )
    order by priority desc, not_before, did
    limit $1
    -- Whoever else looks now takes others.
    for update skip locked
)
update source.backfill_job as job
set state = 'running', again = false, attempts = attempts + 1, started_at = now(), finished_at = null, bytes = 0, records = 0
from chosen
where job.did = chosen.did
returning job.did, reason, strategy, attempts, host
