//! The places and links of an event, from an app's input.

use serde_json::{Map, Value};

use super::input::{Input, set};

/// Characters of each text of a place.
const MAX_TEXT: usize = 1_000;
/// Metres: the highest that anybody was, twice over, is less.
const MAX_ALTITUDE: f64 = 1_000_000.0;

/// The kinds of place: the short word, and the `$type` that records have.
const KINDS: [(&str, &str); 5] = [
    ("address", "community.lexicon.location.address"),
    ("geo", "community.lexicon.location.geo"),
    ("fsq", "community.lexicon.location.fsq"),
    ("hthree", "community.lexicon.location.hthree"),
    ("uri", LINK),
];
const LINK: &str = "community.lexicon.calendar.event#uri";

pub(super) fn read(input: &mut Input<'_, '_>) -> Option<Map<String, Value>> {
    let declared = input.required_text("$type", 400)?;
    let Some((kind, full)) = KINDS.iter().find(|(short, full)| declared == *short || declared == *full) else {
        let words: Vec<_> = KINDS.iter().map(|(short, _)| *short).collect();
        input.fault("$type", format!("can be one of {}, or its whole name", words.join(", ")));
        return None;
    };
    let mut place = Map::new();
    set(&mut place, "$type", Some(*full));
    set(&mut place, "name", input.text("name", MAX_TEXT));
    match *kind {
        "address" => address(input, &mut place),
        "geo" => {
            point(input, &mut place, true);
            set(&mut place, "altitude", input.decimal("altitude", MAX_ALTITUDE));
        }
        "fsq" => {
            let id = input.required_text("fsq_place_id", 100);
            if id.is_some_and(|id| !id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))) {
                input.fault("fsq_place_id", "not a Foursquare place id: letters and digits only");
            }
            set(&mut place, "fsq_place_id", id);
            point(input, &mut place, false);
        }
        "hthree" => {
            // An index of a cell is 63 bits that begin with the mode 1, written as 15 digits.
            let cell = input.required_text("value", 100);
            if cell.is_some_and(|c| c.len() != 15 || !c.starts_with('8') || !c.bytes().all(|b| b.is_ascii_hexdigit())) {
                input.fault("value", "not an H3 cell: 15 hexadecimal digits that begin with 8");
            }
            set(&mut place, "value", cell);
        }
        _ => set(&mut place, "uri", input.required_uri("uri")),
    }
    Some(place)
}

fn address(input: &mut Input<'_, '_>, place: &mut Map<String, Value>) {
    for field in ["street", "locality", "region", "postalCode"] {
        set(place, field, input.text(field, MAX_TEXT));
    }
    let country = input.required_text("country", MAX_TEXT);
    if country.is_some_and(|country| !(2..=10).contains(&country.len())) {
        input.fault("country", "not a country's code of 2 to 10 characters (ISO 3166; DE, US)");
    }
    set(place, "country", country);
}

/// Half a point is none.
fn point(input: &mut Input<'_, '_>, place: &mut Map<String, Value>, required: bool) {
    let given = ["latitude", "longitude"].map(|field| (field, input.get(field).is_some()));
    for (field, _) in given.iter().filter(|(_, there)| !there && (required || given.iter().any(|(_, there)| *there))) {
        input.fault(field, "missing");
    }
    set(place, "latitude", input.decimal("latitude", 90.0));
    set(place, "longitude", input.decimal("longitude", 180.0));
}

/// One of an event's links.
pub(super) fn link(input: &mut Input<'_, '_>) -> Option<Map<String, Value>> {
    let mut link = Map::new();
    // A reference needs no `$type`; who writes one keeps it, so that reading and writing back changes nothing.
    if input.get("$type").is_some() {
        input.declared(LINK);
        set(&mut link, "$type", Some(LINK));
    }
    set(&mut link, "uri", input.required_uri("uri"));
    set(&mut link, "name", input.text("name", MAX_TEXT));
    Some(link)
}
