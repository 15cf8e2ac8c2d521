-- What writes have to bear, and no more. Owner of schema `calendar`: room projection. Of `ingest`: room ingest.

-- An account's answer to an event is found by rsvps_by_subject, its answers by rsvps_by_author_time.
drop index calendar.rsvps_by_author;

-- Rows that change again and again: room on their page lets the new version stay there, and no index hears of it.
alter table calendar.rsvp_counts set (fillfactor = 70);
alter table calendar.accounts set (fillfactor = 90);
alter table ingest.repo set (fillfactor = 70);
