//! What an intent and its record are, to people and apps.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::event::AtUri;

/// What we publish: what drafts are of.
pub use crate::calendar::DraftKind as Kind;

/// What shall happen to a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It shall be there, with these fields.
    Put,
    /// It shall not be there.
    Delete,
}

impl Action {
    /// The word as stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Put => "put",
            Action::Delete => "delete",
        }
    }

    /// Reads a stored word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Action::Put, Action::Delete].into_iter().find(|action| action.as_str() == word)
    }
}

/// How far an intent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum IntentState {
    /// Stored. Nothing was sent, or what was sent certainly did not arrive.
    Wanted,
    /// Sent at least once, without an answer that settles it.
    Attempted,
    /// The PDS has it.
    Acknowledged,
    /// Our own stream showed it.
    Confirmed,
    /// Both sides changed the same: the PDS's version stays, ours is kept here.
    Conflict,
    /// It will not be: somebody must change something and wish anew.
    Refused,
    /// A later wish of the same record took its place before it was sent.
    Superseded,
}

impl IntentState {
    /// Every state.
    pub const ALL: [IntentState; 7] = [
        IntentState::Wanted,
        IntentState::Attempted,
        IntentState::Acknowledged,
        IntentState::Confirmed,
        IntentState::Conflict,
        IntentState::Refused,
        IntentState::Superseded,
    ];

    /// The word as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            IntentState::Wanted => "wanted",
            IntentState::Attempted => "attempted",
            IntentState::Acknowledged => "acknowledged",
            IntentState::Confirmed => "confirmed",
            IntentState::Conflict => "conflict",
            IntentState::Refused => "refused",
            IntentState::Superseded => "superseded",
        }
    }

    /// Reads a stored word.
    pub fn from_word(word: &str) -> Option<Self> {
        IntentState::ALL.into_iter().find(|state| state.as_str() == word)
    }

    /// Whether attempts go on.
    pub fn is_open(self) -> bool {
        matches!(self, IntentState::Wanted | IntentState::Attempted)
    }
}

/// A field that both sides changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Conflict {
    /// Its name in the record.
    pub field: String,
    /// What we wanted; null: that it goes.
    pub ours: Value,
    /// What the PDS holds, and keeps; null: nothing.
    pub theirs: Value,
}

/// An intent as apps see it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct IntentView {
    /// Its number.
    pub id: i64,
    /// The record that it is about.
    #[serde(serialize_with = "text")]
    #[schema(value_type = String)]
    pub uri: AtUri,
    /// What shall happen to it.
    pub action: Action,
    /// How far it is.
    pub state: IntentState,
    /// The version that it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cid: Option<String>,
    /// The revision that wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rev: Option<String>,
    /// Why it is not done: a word of the retry table.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
    /// The fields that both sides changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflict: Option<Value>,
    /// Attempts so far.
    pub attempts: i32,
    /// When the next is due, while they go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_at: Option<DateTime<Utc>>,
    /// When it was wished.
    pub created_at: DateTime<Utc>,
    /// When the PDS took it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acknowledged_at: Option<DateTime<Utc>>,
    /// When our stream showed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed_at: Option<DateTime<Utc>>,
    /// Where in the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confirmed_position: Option<i64>,
}

/// A record that we publish, as apps see it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct RecordView {
    /// Whose.
    pub user: String,
    /// The app's name for it; null while it was only found on the PDS.
    pub client_key: Option<String>,
    /// Its address.
    #[serde(serialize_with = "text")]
    #[schema(value_type = String)]
    pub uri: AtUri,
    /// The version on the PDS, as far as known.
    pub cid: Option<String>,
    /// Its revision.
    pub rev: Option<String>,
    /// It is known not to be there any more.
    pub deleted: bool,
    /// When somebody changed or deleted it otherwise than through us.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub edited_elsewhere_at: Option<DateTime<Utc>>,
    /// The last wish.
    pub intent: Option<IntentView>,
}

fn text<T: std::fmt::Display, S: serde::Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
