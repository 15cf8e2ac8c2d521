//! What a table `[webhooks.NAME]` tells: whom it calls, and fingerprints of its URL and secrets.

use toml::{Table, Value};

use super::facts::Facts;
use super::overlap::is_plain;

/// Whose table it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// This environment's: the file of its secrets is opened.
    Us,
    /// Another's: no file is opened.
    Them,
}

impl Facts {
    /// Adds a webhook as its table has it: `url`; `secret`, `secrets` or `secret_file`. What else stands there is not looked
    /// at. Our own settings are checked elsewhere; here what is not understood becomes a note.
    pub fn add_webhook_table(&mut self, name: &str, table: &Table, of: Of) {
        let name = if is_plain(name) { name } else { "NAME" };
        let text = |key: &str| table.get(key).and_then(Value::as_str);
        match text("url") {
            Some(url) => self.add_webhook(name, url),
            None => self.note(&format!("webhooks.{name}.url")),
        }
        let listed = table.get("secrets").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        for secret in text("secret").into_iter().chain(listed) {
            self.add_webhook_secret(name, secret);
        }
        match (text("secret_file"), of) {
            (None, _) => {}
            (Some(file), Of::Us) => match std::fs::read_to_string(file) {
                Ok(lines) => {
                    let lines = lines.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
                    lines.for_each(|secret| self.add_webhook_secret(name, secret));
                }
                Err(_) => self.notes.push(format!("the file of `webhooks.{name}.secret_file` cannot be read")),
            },
            (Some(_), Of::Them) => self.note_file(&format!("webhooks.{name}.secret_file")),
        }
    }

    fn add_webhook_secret(&mut self, name: &str, secret: &str) {
        // One key can be written with and without what ends base64.
        self.add_secret(&format!("webhook_secret.{name}"), secret.trim().trim_end_matches('='));
    }
}
