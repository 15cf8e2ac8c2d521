-- Leases what is due: of each record the first intent that is open, of each account one, of each host as many as it has room
-- for. $1 accounts that this process is busy with, $2 and $3 hosts and their room, $4 room of all others, $5 how many in
-- all, $6 seconds of the lease.
with due as (
    select i.id, r.did, coalesce(a.pds, '') as pds,
        row_number() over (partition by r.did order by i.next_at, i.id) as of_account
    from publish.intent i
    join publish.record r on r.id = i.record_id
    left join identity.account a on a.did = r.did and a.user_id = r.user_id
    where i.state in ('wanted', 'attempted') and i.next_at <= now()
        and (i.leased_until is null or i.leased_until <= clock_timestamp())
        and r.did <> all ($1)
        and not exists (
            select from publish.intent e
            where e.record_id = i.record_id and e.id < i.id and e.state in ('wanted', 'attempted')
        )
),
turns as (
    -- By chance, so that an account or host with much that waits is not always the first.
    select id, did, pds, row_number() over (partition by pds order by random()) as of_host from due where of_account = 1
),
chosen as (
    select t.id, t.did, t.pds
    from turns t
    left join unnest($2::text[], $3::int[]) h (pds, room) on h.pds = t.pds
    where t.of_host <= coalesce(h.room, $4)
    order by t.of_host, random()
    limit $5
),
-- Another process may have been faster.
free as (
    select i.id from publish.intent i
    where i.id in (select id from chosen) and i.state in ('wanted', 'attempted')
        and (i.leased_until is null or i.leased_until <= clock_timestamp())
    for update skip locked
),
leased as (
    update publish.intent i set leased_until = clock_timestamp() + make_interval(secs => $6)
    from free where i.id = free.id returning i.id
)
select chosen.id, chosen.did, chosen.pds from chosen join leased on leased.id = chosen.id
