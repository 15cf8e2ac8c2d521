//! Settings: from defaults, a TOML file, `ALMANAC_*` variables and flags, the later winning.
//!
//! In: text from those four. Out: [`Settings`], typed and checked, and for each key where its value came from. Always
//! true: a key that nobody knows is refused by name; a secret is never shown. Never: IO beyond reading the files that are
//! named, a guess.

mod age;
mod backfill;
mod did_docs;
mod elsewhere;
mod identity;
mod isolation;
mod key;
mod layers;
mod network;
mod publish;
mod settings;
mod token;
mod webhooks;

pub use age::{age_text, parse_age};
pub use backfill::BackfillSettings;
pub use did_docs::{DidDocs, DidDocsError};
pub use identity::{IdentitySettings, OwnPds, SecretFrom};
pub use isolation::{IsolationSettings, fingerprint};
pub use key::{KEYS, Key};
pub use layers::{ConfigError, Layers, Shown, Source, parse_toml};
pub use publish::PublishSettings;
pub use settings::Settings;
pub use webhooks::EffectsSettings;

#[cfg(test)]
mod tests;
