//! An event, from an app's input.

use serde_json::{Map, Value};

use super::super::EVENT;
use super::input::{Input, set};
use super::{location, time};

/// Characters of a name. The lexicon has no limit; pages and calendars that show it do.
const MAX_NAME: usize = 1_000;
/// Characters of a description.
const MAX_DESCRIPTION: usize = 20_000;
/// As many locations or links as an index of ours looks at.
const MAX_ITEMS: usize = 100;

const MODES: [&str; 3] = ["inperson", "virtual", "hybrid"];
const STATUSES: [&str; 5] = ["scheduled", "planned", "rescheduled", "postponed", "cancelled"];

pub(super) fn read(input: &mut Input<'_, '_>) -> Map<String, Value> {
    let mut record = Map::new();
    set(&mut record, "name", input.required_text("name", MAX_NAME));
    set(&mut record, "description", input.text("description", MAX_DESCRIPTION));
    set(&mut record, "createdAt", input.time("createdAt").map(time::written));
    let (starts, ends) = (input.time("startsAt"), input.time("endsAt"));
    if starts.zip(ends).is_some_and(|(starts, ends)| ends < starts) {
        input.fault("endsAt", "before startsAt");
    }
    set(&mut record, "startsAt", starts.map(time::written));
    set(&mut record, "endsAt", ends.map(time::written));
    set(&mut record, "mode", input.token("mode", EVENT, &MODES));
    set(&mut record, "status", input.token("status", EVENT, &STATUSES));
    set(&mut record, "rsvpExpected", input.bool("rsvpExpected"));
    set(&mut record, "locations", input.list("locations", MAX_ITEMS, location::read));
    set(&mut record, "uris", input.list("uris", MAX_ITEMS, location::link));
    record
}
