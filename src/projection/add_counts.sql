-- Adds what changed to the counts of effective RSVPs by status.
insert into rsvp_counts as old (subject_uri, going, interested, notgoing, other)
select * from unnest($1::text[], $2::integer[], $3::integer[], $4::integer[], $5::integer[])
on conflict (subject_uri) do update set
    going = old.going + excluded.going, interested = old.interested + excluded.interested,
    notgoing = old.notgoing + excluded.notgoing, other = old.other + excluded.other
