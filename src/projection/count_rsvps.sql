-- For the events $1: effective RSVPs by status. An event that nobody answers to any more has no row.
with counted as (
    select
        subject_uri,
        count(*) filter (where word = 'going') as going,
        count(*) filter (where word = 'interested') as interested,
        count(*) filter (where word = 'notgoing') as notgoing,
        count(*) filter (where word is null or word not in ('going', 'interested', 'notgoing')) as other
    from (
        select subject_uri, regexp_replace(status, '^community\.lexicon\.calendar\.rsvp#', '') as word
        from rsvps
        where effective and subject_uri = any($1)
    ) as answers
    group by subject_uri
),
gone as (
    delete from rsvp_counts
    where subject_uri = any($1) and subject_uri not in (select subject_uri from counted)
)
insert into rsvp_counts as old (subject_uri, going, interested, notgoing, other)
select subject_uri, going, interested, notgoing, other from counted
on conflict (subject_uri) do update set
    going = excluded.going, interested = excluded.interested, notgoing = excluded.notgoing, other = excluded.other
where (old.going, old.interested, old.notgoing, old.other)
    is distinct from (excluded.going, excluded.interested, excluded.notgoing, excluded.other)
