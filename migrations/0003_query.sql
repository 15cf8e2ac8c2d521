-- Indices for the questions that may be asked over HTTP. Owner: room projection.

-- "Ongoing or later", without walking through everything that is over. An event without an end is over when it starts.
create index events_by_end on calendar.events (greatest(starts_at, ends_at), uri);

-- RSVPs of an event or of an account, by the time that decides between them.
create index rsvps_by_subject_time on calendar.rsvps (subject_uri, decided_at, uri);
create index rsvps_by_author_time on calendar.rsvps (did, decided_at, uri);
