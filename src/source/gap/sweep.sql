-- Queues every account in scope that a gap may concern. $1: the PDS whose frames are missing; null for a relay, which
-- carries everybody. Waiting jobs are merged as everywhere: one row per account, the more urgent reason stays.
with known as (
    select did, lower(substring(pds from '^[a-z+]+://([^/?#]+)')) as host from ingest.repo
),
concerned as (
    select did from known
    where $1::text is null
        or host is null
        or host = lower($1)
        -- A PDS that no account names as its own is reached under another name than the network uses: then nothing is
        -- known about whom it carries.
        or not exists (select from known where host = lower($1))
)
insert into source.backfill_job as job (did, reason, strategy, priority)
select did, 'gap', 'auto', 20 from concerned
-- In one order everywhere, so that two callers never wait for each other.
order by did
on conflict (did) do update set
    again = job.state = 'running',
    state = case when job.state = 'running' then 'running' else 'queued' end,
    reason = case when job.state = 'queued' and job.priority > excluded.priority then job.reason else 'gap' end,
    strategy = case when job.state = 'queued' and job.priority > excluded.priority then job.strategy else 'auto' end,
    priority = case
        when job.state = 'queued' or job.again then greatest(job.priority, excluded.priority)
        else excluded.priority
    end,
    queued_at = case when job.state = 'queued' then job.queued_at else now() end,
    attempts = case when job.state = 'done' then 0 else job.attempts end,
    not_before = case when job.state = 'done' then now() else job.not_before end
