//! A calendar event as the index shows it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::lenient::{Fields, Problem};
use super::location::Location;

/// More locations or links than any real event has; the rest stays in the raw record.
const MAX_ITEMS: usize = 100;

/// A link of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Where it leads, as given.
    pub uri: String,
    /// Display name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// What can be read of a `community.lexicon.calendar.event` record.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct EventView {
    /// Its name.
    pub name: Option<String>,
    /// Its description.
    pub description: Option<String>,
    /// When its author says it was created.
    pub created_at: Option<DateTime<Utc>>,
    /// When it starts.
    pub starts_at: Option<DateTime<Utc>>,
    /// When it ends.
    pub ends_at: Option<DateTime<Utc>>,
    /// The token as given; unknown ones are legal.
    pub mode: Option<String>,
    /// The token as given; unknown ones are legal.
    pub status: Option<String>,
    /// Whether an answer is asked for.
    pub rsvp_expected: Option<bool>,
    /// Links.
    pub uris: Vec<Link>,
    /// Places.
    pub locations: Vec<Location>,
    /// What could not be read, or only with doubt.
    pub problems: Vec<Problem>,
}

impl EventView {
    /// Reads a record in JSON form.
    pub fn read(record: &Value) -> EventView {
        let mut view = EventView::default();
        let mut problems = Vec::new();
        let Value::Object(map) = record else { return view };
        let mut fields = Fields::new(map, "", &mut problems);
        view.name = fields.required_text("name");
        view.description = fields.text("description");
        if fields.get("createdAt").is_none() {
            fields.note("createdAt", "missing");
        }
        view.created_at = fields.time("createdAt");
        view.starts_at = fields.time("startsAt");
        view.ends_at = fields.time("endsAt");
        if let (Some(start), Some(end)) = (view.starts_at, view.ends_at)
            && end < start
        {
            fields.note("endsAt", "before startsAt");
        }
        view.mode = fields.token("mode");
        view.status = fields.token("status");
        view.rsvp_expected = fields.bool("rsvpExpected");
        let uris = fields.list("uris", MAX_ITEMS);
        let locations = fields.list("locations", MAX_ITEMS);
        for (i, item) in uris.iter().enumerate() {
            let path = format!("uris[{i}]");
            let Value::Object(map) = item else {
                problems.push(Problem { field: path, problem: "not an object".to_owned() });
                continue;
            };
            let mut fields = Fields::new(map, &path, &mut problems);
            let name = fields.text("name");
            view.uris.extend(fields.required_text("uri").map(|uri| Link { uri, name }));
        }
        for (i, item) in locations.iter().enumerate() {
            view.locations.push(Location::read(item, &format!("locations[{i}]"), &mut problems));
        }
        view.problems = problems;
        view
    }
}
