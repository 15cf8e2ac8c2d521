//! What apps hand in, as the document describes it. What may stand in it and what may not is `calendar`'s business
//! ([`Draft::read`](crate::calendar::Draft::read)); a test holds the two together.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

/// An event. What is absent is not there; of an edit: goes.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventInput {
    /// `community.lexicon.calendar.event`, and need not be there.
    #[serde(rename = "$type", skip_serializing_if = "Option::is_none")]
    pub record_type: Option<String>,
    /// What it is called.
    #[schema(min_length = 1, max_length = 1000)]
    pub name: String,
    /// What it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 20000)]
    pub description: Option<String>,
    /// When it was made; absent: now, or as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    /// When it starts, with zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub starts_at: Option<DateTime<Utc>>,
    /// When it ends, with zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ends_at: Option<DateTime<Utc>>,
    /// inperson, virtual, hybrid, or another's whole name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "inperson")]
    pub mode: Option<String>,
    /// scheduled, planned, rescheduled, postponed, cancelled, or another's whole name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "scheduled")]
    pub status: Option<String>,
    /// Whether guests are asked to answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rsvp_expected: Option<bool>,
    /// Where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    pub locations: Option<Vec<LocationInput>>,
    /// Links about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(max_items = 100)]
    pub uris: Option<Vec<LinkInput>>,
    /// Only `public`: whatever is on the network is. Anything else is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "public")]
    pub visibility: Option<String>,
}

/// A place. Which fields it has depends on its `$type`: address, geo, fsq, hthree or uri, or the lexicon's whole name.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LocationInput {
    /// address, geo, fsq, hthree, uri.
    #[serde(rename = "$type")]
    pub kind: String,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Of an address, which must have one: ISO 3166, such as DE.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    /// Of an address: street and number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub street: Option<String>,
    /// Of an address: town.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality: Option<String>,
    /// Of an address: state or county.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Of an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postal_code: Option<String>,
    /// Of geo and fsq: degrees north.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latitude: Option<Decimal>,
    /// Of geo and fsq: degrees east.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longitude: Option<Decimal>,
    /// Of geo: metres.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub altitude: Option<Decimal>,
    /// Of fsq: Foursquare's name for it.
    #[serde(rename = "fsq_place_id", skip_serializing_if = "Option::is_none")]
    pub fsq_place_id: Option<String>,
    /// Of hthree: the cell, 15 hexadecimal digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Of uri: the link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

/// A number, or the same as text, as records hold it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Decimal {
    /// `52.52`
    Number(f64),
    /// `"52.52"`
    Text(String),
}

/// A link about an event.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct LinkInput {
    /// `community.lexicon.calendar.event#uri`, and need not be there.
    #[serde(rename = "$type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// With its scheme.
    pub uri: String,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// An answer to an event.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RsvpInput {
    /// `community.lexicon.calendar.rsvp`, and need not be there.
    #[serde(rename = "$type", skip_serializing_if = "Option::is_none")]
    pub record_type: Option<String>,
    /// The event.
    pub subject: SubjectInput,
    /// going, interested, notgoing, or another's whole name for it.
    #[schema(example = "going")]
    pub status: String,
    /// When it was made; absent: now, or as it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<DateTime<Utc>>,
    /// Only `public`: whatever is on the network is. Anything else is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "public")]
    pub visibility: Option<String>,
}

/// The event that an RSVP answers to.
#[derive(Clone, Debug, Default, Serialize, ToSchema)]
pub struct SubjectInput {
    /// `com.atproto.repo.strongRef`, and need not be there.
    #[serde(rename = "$type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Its AT-URI.
    #[schema(example = "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/community.lexicon.calendar.event/3l4z")]
    pub uri: String,
    /// The version that was seen; absent: the one that there is now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cid: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};
    use utoipa::PartialSchema;

    use super::*;
    use crate::calendar::{Draft, DraftKind};

    /// The fields that a refusal of an odd one lists.
    fn known(kind: DraftKind, at: &str, input: Value) -> BTreeSet<String> {
        let faults = Draft::read(kind, &input).unwrap_err();
        let odd = faults.iter().find(|fault| fault.field == at).unwrap_or_else(|| panic!("{faults:?}"));
        let (_, list) = odd.problem.split_once("known: ").unwrap_or_else(|| panic!("{}", odd.problem));
        list.split(", ").filter(|name| *name != "$type").map(str::to_owned).collect()
    }

    /// Without `$type`, which refusals do not list.
    fn described<T: PartialSchema>() -> BTreeSet<String> {
        let schema = serde_json::to_value(T::schema()).unwrap();
        let names = schema["properties"].as_object().unwrap_or_else(|| panic!("{schema}")).keys();
        names.filter(|name| *name != "$type").cloned().collect()
    }

    #[test]
    fn the_document_describes_what_is_read() {
        let list = |input| json!({ "name": "n", "locations": [input] });
        assert_eq!(described::<EventInput>(), known(DraftKind::Event, "zzz", json!({ "name": "n", "zzz": 1 })));
        assert_eq!(described::<RsvpInput>(), known(DraftKind::Rsvp, "zzz", json!({ "zzz": 1 })));
        assert_eq!(
            described::<SubjectInput>(),
            known(DraftKind::Rsvp, "subject.zzz", json!({ "subject": { "uri": "", "zzz": 1 } }))
        );
        assert_eq!(
            described::<LinkInput>(),
            known(DraftKind::Event, "uris[0].zzz", json!({ "name": "n", "uris": [{ "zzz": 1 }] }))
        );
        let kinds = ["address", "geo", "fsq", "hthree", "uri"];
        let read = kinds
            .into_iter()
            .flat_map(|kind| known(DraftKind::Event, "locations[0].zzz", list(json!({ "$type": kind, "zzz": 1 }))));
        assert_eq!(described::<LocationInput>(), read.collect());
    }

    #[test]
    fn what_is_described_can_be_sent() {
        let event = EventInput {
            name: "Meetup".into(),
            starts_at: Some("2026-12-01T18:00:00Z".parse().unwrap()),
            mode: Some("inperson".into()),
            locations: Some(vec![LocationInput {
                kind: "geo".into(),
                latitude: Some(Decimal::Number(52.5)),
                longitude: Some(Decimal::Text("13.4".into())),
                ..LocationInput::default()
            }]),
            uris: Some(vec![LinkInput { uri: "https://example.org".into(), ..LinkInput::default() }]),
            visibility: Some("public".into()),
            ..EventInput::default()
        };
        let draft = Draft::read(DraftKind::Event, &serde_json::to_value(event).unwrap()).unwrap();
        assert_eq!(draft.fields()["locations"][0]["latitude"], "52.5");
    }
}
