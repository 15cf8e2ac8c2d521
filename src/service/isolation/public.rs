//! What this environment tells others of itself, as a settings file.

use toml::{Table, Value};

use super::facts::Facts;

/// What stands above it.
const HEAD: &str = "\
# What the operators of other environments may know of this one, for `almanac doctor isolation --other THIS_FILE`.
# No secret is in it. Fingerprints are the first 16 hexadecimal digits of SHA-256 over a fixed text and the secret: whoever
# can guess a secret can check his guess against them.
";

/// The text of the file. It is a settings file too, of which only facts are set.
///
/// # Errors
/// Text that TOML cannot hold; there is none.
pub fn public(facts: &Facts) -> anyhow::Result<String> {
    let mut top = Table::new();
    let mut set = |setting: &str, value: Value| {
        let (table, key) = match setting.split_once('.') {
            Some((table, key)) => (top.entry(table).or_insert_with(|| Value::Table(Table::new())), key),
            None => return drop(top.insert(setting.to_owned(), value)),
        };
        if let Value::Table(table) = table {
            table.insert(key.to_owned(), value);
        }
    };
    let text = |text: &str| Value::String(text.to_owned());
    set("environment", text(facts.environment.as_str()));
    set("environment_kind", text(facts.kind.as_str()));
    set("source.relays", list(&facts.relays));
    set("network.plc", text(&facts.plc_read));
    set("isolation.pds_hosts", list(&facts.pds_hosts));
    set("isolation.handle_domains", list(&facts.handles));
    for (setting, value) in [("isolation.plc", &facts.plc_written), ("isolation.database", &facts.database)] {
        if let Some(value) = value {
            set(setting, text(value));
        }
    }
    for (setting, values) in [
        ("isolation.crawlers", &facts.crawlers),
        ("isolation.webhook_hosts", &facts.webhook_hosts),
        ("isolation.mail_hosts", &facts.mail_hosts),
    ] {
        if let Some(values) = values {
            set(setting, list(values));
        }
    }
    let fingerprints: Vec<_> = facts.fingerprints.iter().map(|(name, digits)| format!("{name}={digits}")).collect();
    set("isolation.fingerprints", list(&fingerprints));
    Ok(format!("{HEAD}\n{}", toml::to_string_pretty(&top)?))
}

fn list<'a>(texts: impl IntoIterator<Item = &'a String>) -> Value {
    Value::Array(texts.into_iter().cloned().map(Value::String).collect())
}
