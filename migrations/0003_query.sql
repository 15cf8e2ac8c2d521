-- Indices for the questions that may be asked over HTTP. Owner: room projection.

-- Carries what lists of events are filtered by, so that passing over an event that does not match costs no visit to the
-- table. Takes the place of the index that orders alone.
drop index calendar.events_by_start;
create index events_by_start on calendar.events (starts_at, uri) include (ends_at, mode, status);

-- "Ongoing or later" when little is. An event without an end is over when it starts.
create index events_by_end on calendar.events (greatest(starts_at, ends_at), uri);

-- RSVPs of an event or of an account, by the time that decides between them.
create index rsvps_by_subject_time on calendar.rsvps (subject_uri, decided_at, uri);
create index rsvps_by_author_time on calendar.rsvps (did, decided_at, uri);
