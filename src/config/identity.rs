//! The settings under `identity.` and those under `pds.` with which accounts are made.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::layers::{ConfigError, Layers};
use crate::network::ServiceUrl;

/// Where a secret is.
#[derive(Clone, Debug)]
pub enum SecretFrom {
    /// In the settings.
    Setting(SecretString),
    /// In a file, read when it is needed: only the process that needs it must be able to read it.
    File(PathBuf),
}

impl SecretFrom {
    /// Of two settings that exclude each other.
    fn either(layers: &Layers, setting: &'static str, file: &'static str) -> Result<Option<Self>, ConfigError> {
        match (layers.text(setting), layers.text(file)) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(layers.refuse(setting, format!("{file} is set too; set one of them"))),
            (Some(secret), None) => Ok(Some(SecretFrom::Setting(secret.into()))),
            (None, Some(path)) => Ok(Some(SecretFrom::File(Path::new(path).to_owned()))),
        }
    }

    /// Of the two settings that may hold it, the one that does: for errors.
    pub fn setting(&self, setting: &'static str, file: &'static str) -> &'static str {
        match self {
            SecretFrom::Setting(_) => setting,
            SecretFrom::File(_) => file,
        }
    }

    /// The secret, without white space around it. `name` is the setting that an error names.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn read(&self, name: &'static str) -> Result<SecretString, ConfigError> {
        match self {
            SecretFrom::Setting(secret) => Ok(secret.clone()),
            SecretFrom::File(path) => {
                let refuse = |why: String| ConfigError::Value { name, place: path.display().to_string(), why };
                let text = std::fs::read_to_string(path).map_err(|e| refuse(format!("cannot be read: {e}")))?;
                Ok(text.trim().into())
            }
        }
    }
}

/// What seals the secrets of our users' accounts.
#[derive(Clone, Debug, Default)]
pub struct IdentitySettings {
    /// Keys by id, as they stand in the settings or in files. The first seals, all open.
    pub keys: Vec<(String, SecretFrom)>,
}

/// The PDS on which accounts are made for our users.
#[derive(Clone, Debug, Default)]
pub struct OwnPds {
    /// Its address.
    pub url: Option<String>,
    /// What its accounts' handles end in, with the dot before it; `None`: the first that the PDS itself names.
    pub handle_domain: Option<String>,
    /// Its admin password.
    pub admin_password: Option<SecretFrom>,
    /// An invite code to be used for every account; `None`: one is minted for each.
    pub invite_code: Option<SecretString>,
}

/// Reads the settings of the key ring.
pub(super) fn identity(layers: &Layers) -> Result<IdentitySettings, ConfigError> {
    let mut keys: Vec<(String, SecretFrom)> = Vec::new();
    for name in ["identity.keys", "identity.key_files"] {
        for entry in layers.list(name) {
            // Nothing of a key may stand in an error.
            let Some((id, from)) = entry.split_once('=').filter(|(_, from)| !from.is_empty()) else {
                let wanted = if name == "identity.keys" { "ID=BASE64" } else { "ID=FILE" };
                return Err(layers.refuse(name, format!("an entry is not {wanted}")));
            };
            let plain = id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
            if id.is_empty() || id.len() > 64 || !plain {
                return Err(layers.refuse(name, "a key's id has 1 to 64 letters, digits, `-`, `_` or `.`"));
            }
            if keys.iter().any(|(known, _)| known == id) {
                return Err(layers.refuse(name, format!("the id {id:?} is there twice")));
            }
            let from = match name {
                "identity.keys" => SecretFrom::Setting(from.into()),
                _ => SecretFrom::File(Path::new(from).to_owned()),
            };
            keys.push((id.to_owned(), from));
        }
    }
    Ok(IdentitySettings { keys })
}

/// Reads the settings of our own PDS.
pub(super) fn own_pds(layers: &Layers) -> Result<OwnPds, ConfigError> {
    let domain = match layers.text("pds.handle_domain") {
        Some(domain) if domain.starts_with('.') && domain.len() > 2 => Some(domain.to_owned()),
        None => None,
        Some(other) => {
            let why = format!("{other:?} is no handle domain; write it with its dot, like .users.example.org");
            return Err(layers.refuse("pds.handle_domain", why));
        }
    };
    let url = layers.text("pds.url").map(ServiceUrl::parse).transpose().map_err(|e| layers.refuse("pds.url", e))?;
    Ok(OwnPds {
        url: url.map(|url| url.as_str().to_owned()),
        handle_domain: domain,
        admin_password: SecretFrom::either(layers, "pds.admin_password", "pds.admin_password_file")?,
        invite_code: layers.text("pds.invite_code").map(Into::into),
    })
}
