-- One row per account. $1 dids, $2 reasons, $3 strategies, $4 priorities.
with asked as (
    -- The same account twice in one call: the more urgent one.
    select distinct on (did) *
    from unnest($1::text[], $2::text[], $3::text[], $4::integer[]) as t (did, reason, strategy, priority)
    order by did, priority desc
)
insert into source.backfill_job as job (did, reason, strategy, priority)
select did, reason, strategy, priority from asked
-- In one order everywhere, so that two callers never wait for each other.
order by did
on conflict (did) do update set
    -- What runs now may have looked before this was asked: it runs once more. An account that comes into scope meanwhile
    -- is no news to a job that reads all of it: most often it entered by that job's own findings.
    again = job.state = 'running' and (job.again or excluded.reason <> 'new_account'),
    state = case when job.state = 'running' then 'running' else 'queued' end,
    -- The more urgent reason stays; a job that is over takes the new one.
    reason = case
        when job.state in ('queued', 'running') and job.priority > excluded.priority then job.reason
        else excluded.reason
    end,
    strategy = case
        when job.state in ('queued', 'running') and job.priority > excluded.priority then job.strategy
        else excluded.strategy
    end,
    priority = case
        when job.state in ('queued', 'running') then greatest(job.priority, excluded.priority)
        else excluded.priority
    end,
    queued_at = now(),
    -- Who is asked for by a person, or may enter from now on, goes now: what it failed by was said of somebody else. A
    -- failed one that is merely mentioned again goes soon, not at once: its account may be mentioned with every frame.
    attempts = case
        when job.state = 'done' or excluded.reason in ('asked', 'origin') then 0
        else job.attempts
    end,
    not_before = case
        when job.state = 'done' or excluded.reason in ('asked', 'origin') then now()
        when job.state = 'failed' then least(job.not_before, now() + interval '1 minute')
        else job.not_before
    end
