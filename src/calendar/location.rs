//! Where an event takes place: the five forms of the lexicons `community.lexicon.location.*` and `calendar.event#uri`.

use serde_json::Value;

use super::lenient::{Fields, Problem, kind};

/// One location of an event, as far as it can be read.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Location {
    /// `address`, `geo`, `fsq`, `hthree`, `uri`, or the `$type` as given.
    pub kind: String,
    /// Display name.
    pub name: Option<String>,
    /// Street address.
    pub street: Option<String>,
    /// City.
    pub locality: Option<String>,
    /// State or the like.
    pub region: Option<String>,
    /// Postal code.
    pub postal_code: Option<String>,
    /// Country, as given.
    pub country: Option<String>,
    /// Degrees north, -90 to 90.
    pub latitude: Option<f64>,
    /// Degrees east, -180 to 180.
    pub longitude: Option<f64>,
    /// An H3 cell, as given.
    pub h3: Option<String>,
    /// A place of the Foursquare open data set.
    pub fsq_place_id: Option<String>,
    /// An address on the web.
    pub link: Option<String>,
    /// The location as the record has it.
    pub raw: Value,
}

impl Location {
    /// Reads one item of `locations`. Anything at all gives a location; what is odd is listed.
    pub(super) fn read(value: &Value, path: &str, problems: &mut Vec<Problem>) -> Location {
        let mut location = Location { raw: value.clone(), kind: "unknown".to_owned(), ..Location::default() };
        let Value::Object(map) = value else {
            problems.push(Problem { field: path.to_owned(), problem: format!("{} instead of an object", kind(value)) });
            return location;
        };
        let mut fields = Fields::new(map, path, problems);
        let declared = fields.required_text("$type");
        location.kind = match declared.as_deref() {
            Some("community.lexicon.location.address") => "address",
            Some("community.lexicon.location.geo") => "geo",
            Some("community.lexicon.location.fsq") => "fsq",
            Some("community.lexicon.location.hthree") => "hthree",
            Some("community.lexicon.calendar.event#uri") => "uri",
            Some(other) => other,
            None => "unknown",
        }
        .to_owned();
        location.name = fields.text("name");
        match location.kind.as_str() {
            "address" => {
                location.street = fields.text("street");
                location.locality = fields.text("locality");
                location.region = fields.text("region");
                location.postal_code = fields.text("postalCode");
                location.country = fields.required_text("country");
            }
            "geo" | "fsq" => {
                location.latitude = fields.degrees("latitude", 90.0);
                location.longitude = fields.degrees("longitude", 180.0);
                if location.kind == "fsq" {
                    location.fsq_place_id = fields.required_text("fsq_place_id");
                } else if fields.get("latitude").is_none() || fields.get("longitude").is_none() {
                    fields.note("latitude", "a point needs latitude and longitude");
                }
            }
            "hthree" => location.h3 = fields.required_text("value"),
            "uri" => location.link = fields.required_text("uri"),
            _ => {}
        }
        location
    }
}
