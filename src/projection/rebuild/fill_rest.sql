-- What follows from the rows that were loaded into schema calendar_next.

-- Accounts of which nothing is known but records.
insert into calendar_next.accounts (did)
select did from (select distinct did from calendar_next.words) as spoken
where not exists (select from calendar_next.accounts as a where a.did = spoken.did);

-- Effective RSVPs by status, as `settle` counts them.
insert into calendar_next.rsvp_counts (subject_uri, going, interested, notgoing, other)
select subject_uri, going, interested, notgoing, answers - going - interested - notgoing
from (
    select
        subject_uri,
        count(*) as answers,
        count(*) filter (where status in ('going', 'community.lexicon.calendar.rsvp#going')) as going,
        count(*) filter (where status in ('interested', 'community.lexicon.calendar.rsvp#interested')) as interested,
        count(*) filter (where status in ('notgoing', 'community.lexicon.calendar.rsvp#notgoing')) as notgoing
    from calendar_next.rsvps
    where effective and subject_uri is not null
    group by subject_uri
) as counted;
