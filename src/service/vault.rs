//! The vault that the settings describe, and the refusal to begin without a key that stored secrets need.

use std::sync::Arc;

use anyhow::{Context, bail};
use sqlx::PgPool;

use crate::config::{ConfigError, Settings};
use crate::identity::credential;
use crate::identity::vault::{KeyRing, Vault};

/// The vault of this environment; `None` when the settings name no key.
///
/// # Errors
/// A key file that cannot be read, or a text that is no key: named by its id, never by its content.
pub fn vault(settings: &Settings) -> anyhow::Result<Option<Arc<Vault>>> {
    let mut keys = Vec::new();
    for (id, from) in &settings.identity.keys {
        keys.push((id.as_str(), from.read(from.setting("identity.keys", "identity.key_files"))?));
    }
    if keys.is_empty() {
        return Ok(None);
    }
    let ring = KeyRing::read(keys).map_err(|error| ConfigError::Value {
        name: "identity.keys",
        place: "or identity.key_files".to_owned(),
        why: error.to_string(),
    })?;
    Ok(Some(Arc::new(Vault::new(settings.environment.clone(), ring))))
}

/// The vault, for what cannot do without one.
///
/// # Errors
/// As [`vault`], and when the settings name no key.
pub fn vault_needed(settings: &Settings) -> anyhow::Result<Arc<Vault>> {
    vault(settings)?.context(
        "no key is set: give one in identity.key_files (ID=FILE) or identity.keys (ID=BASE64); `almanac identity key new` \
         makes one",
    )
}

/// The vault, with every key that stored secrets name: for what is going to act for accounts.
///
/// # Errors
/// As [`vault`] and [`check_keys`].
pub async fn checked(settings: &Settings, pool: &PgPool) -> anyhow::Result<Option<Arc<Vault>>> {
    let vault = vault(settings)?;
    check_keys(pool, vault.as_deref()).await?;
    Ok(vault)
}

/// Refuses to go on when stored secrets name keys that are not there: acting for those accounts would fail one by one, much
/// later.
///
/// # Errors
/// Keys are missing: which, and how many secrets name them. The database cannot be read.
pub async fn check_keys(pool: &PgPool, vault: Option<&Vault>) -> anyhow::Result<()> {
    let missing =
        credential::missing_keys(pool, vault).await.context("the keys of stored secrets cannot be checked")?;
    if missing.is_empty() {
        return Ok(());
    }
    let told = |each: &credential::KeyUse| match &each.key_id {
        Some(id) => format!("key {id:?} ({} secrets)", each.secrets),
        None => format!("any key ({} secrets of the older form, which name none)", each.secrets),
    };
    let told: Vec<String> = missing.iter().map(told).collect();
    bail!(
        "secrets of our users' accounts are sealed with keys that are not set: {}; give them back in identity.keys \
         (ID=BASE64) or identity.key_files (ID=FILE), with the same ids, behind the key that seals",
        told.join(", ")
    );
}
