-- What follows from the rows that were loaded into schema calendar_next.

-- Accounts of which nothing is known but records.
insert into calendar_next.accounts (did)
select did from (select distinct did from calendar_next.words) as spoken
where not exists (select from calendar_next.accounts as a where a.did = spoken.did);

-- Effective RSVPs by status, as `settle` counts them.
insert into calendar_next.rsvp_counts (subject_uri, going, interested, notgoing, other)
select
    subject_uri,
    count(*) filter (where word = 'going'),
    count(*) filter (where word = 'interested'),
    count(*) filter (where word = 'notgoing'),
    count(*) filter (where word is null or word not in ('going', 'interested', 'notgoing'))
from (
    select subject_uri, regexp_replace(status, '^community\.lexicon\.calendar\.rsvp#', '') as word
    from calendar_next.rsvps
    where effective and subject_uri is not null
) as answers
group by subject_uri;
