//! The settings `listen.admin_token` and `listen.admin_token_file`.

use std::path::{Path, PathBuf};

use super::layers::{ConfigError, Layers};
use crate::api::admin::AdminToken;

/// Where the token is.
#[derive(Clone, Debug)]
pub(super) enum TokenFrom {
    Setting(AdminToken),
    File(PathBuf),
}

impl TokenFrom {
    /// Reads them.
    pub fn settings(layers: &Layers) -> Result<Option<Self>, ConfigError> {
        match (layers.text("listen.admin_token"), layers.text("listen.admin_token_file")) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => {
                Err(layers.refuse("listen.admin_token", "listen.admin_token_file is set too; set one of them"))
            }
            (Some(token), None) => match AdminToken::parse(token) {
                Ok(token) => Ok(Some(TokenFrom::Setting(token))),
                Err(why) => Err(layers.refuse("listen.admin_token", format!("the token {why}"))),
            },
            (None, Some(path)) => Ok(Some(TokenFrom::File(Path::new(path).to_owned()))),
        }
    }

    /// The token.
    pub fn token(&self) -> Result<AdminToken, ConfigError> {
        match self {
            TokenFrom::Setting(token) => Ok(token.clone()),
            TokenFrom::File(path) => {
                let refuse = |why: String| ConfigError::Value {
                    name: "listen.admin_token_file",
                    place: path.display().to_string(),
                    why,
                };
                let text = std::fs::read_to_string(path).map_err(|e| refuse(format!("cannot be read: {e}")))?;
                AdminToken::parse(text.trim()).map_err(|why| refuse(format!("the token in it {why}")))
            }
        }
    }
}
