//! The settings under `effects.`, and one table `[webhooks.NAME]` for every receiver.

use std::path::PathBuf;
use std::sync::Arc;

use super::age::parse_pause;
use super::layers::{ConfigError, Layers, unknown};
use crate::effects::{Kind, Retry, Secret, Subscription, Wanted};
use crate::event::{Did, Environment, Origin};
use crate::filter::{CollectionSet, Places};
use crate::network::PostUrl;

/// What such a table may say, in the order in which it is shown.
const FIELDS: [&str; 8] = ["url", "secret", "secrets", "secret_file", "collections", "origins", "kinds", "dids"];
const HELP: [&str; 8] = [
    "where events are posted to",
    "what deliveries are signed with: whsec_ and base64 of 24 to 64 bytes",
    "the same while secrets are exchanged: every one signs",
    "file of such secrets, one a line",
    "collections to tell of, or prefixes such as community.lexicon.calendar.*; unset: all that are followed",
    "whose records to tell of: own, network, own_host_stranger; unset: own and network",
    "put, delete; unset: both",
    "accounts to tell of; unset: all",
];

/// Who is told of what, and when what failed is tried again.
#[derive(Clone, Debug)]
pub struct EffectsSettings {
    /// Receivers, by name.
    pub webhooks: Arc<[Subscription]>,
    /// When what failed is tried again.
    pub retry: Retry,
}

/// The tables `[webhooks.NAME]` as they stand in the file.
#[derive(Clone, Default)]
pub(super) struct Tables {
    file: PathBuf,
    tables: Vec<(String, toml::Table)>,
}

impl std::fmt::Debug for Tables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.tables.iter().map(|(name, _)| name)).finish()
    }
}

impl Tables {
    /// Takes `webhooks` out of the file's tables.
    pub fn take(file: PathBuf, root: &mut toml::Table) -> Result<Self, ConfigError> {
        let refuse = |why: String| ConfigError::File { path: file.clone(), why };
        let mut tables = Vec::new();
        match root.remove("webhooks") {
            None => {}
            Some(toml::Value::Table(all)) => {
                for (name, table) in all {
                    let toml::Value::Table(table) = table else {
                        return Err(refuse(format!(
                            "`webhooks.{name}` is no table; write [webhooks.NAME] and url = …"
                        )));
                    };
                    let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
                    if name.is_empty() || name.len() > 60 || !name.chars().all(known) {
                        let wanted = "up to 60 letters, digits, - and _";
                        return Err(refuse(format!("`webhooks.{name}`: the name of a webhook has {wanted}")));
                    }
                    if let Some(field) = table.keys().find(|field| !FIELDS.contains(&field.as_str())) {
                        let place = format!("{}: [webhooks.{name}]", file.display());
                        return Err(unknown(&place, field, FIELDS.into_iter()));
                    }
                    tables.push((name, table));
                }
            }
            Some(other) => {
                return Err(refuse(format!("`webhooks` is {}; write [webhooks.NAME]", other.type_str())));
            }
        }
        Ok(Tables { file, tables })
    }

    /// Each with its name.
    pub fn all(&self) -> impl Iterator<Item = (&str, &toml::Table)> {
        self.tables.iter().map(|(name, table)| (name.as_str(), table))
    }

    /// Every field that is set, as name, value and help; secrets are withheld.
    pub fn shown(&self) -> impl Iterator<Item = (String, String, String, &'static str)> {
        self.tables.iter().flat_map(move |(name, table)| {
            FIELDS.iter().zip(HELP).filter_map(move |(field, help)| {
                let value = table.get(*field)?;
                let text = match *field {
                    "secret" | "secrets" => "(set, not shown)".to_owned(),
                    "url" => {
                        value.as_str().and_then(|url| PostUrl::parse(url).ok()).map_or("?".into(), |url| url.shown())
                    }
                    _ => words(value).unwrap_or_default().join(", "),
                };
                Some((format!("webhooks.{name}.{field}"), text, self.file.display().to_string(), help))
            })
        })
    }
}

/// One text, or a list of texts.
fn words(value: &toml::Value) -> Option<Vec<String>> {
    match value {
        toml::Value::String(text) => Some(vec![text.clone()]),
        toml::Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// Reads them, and the files of secrets.
pub(super) fn settings(
    layers: &Layers,
    environment: &Environment,
    places: &Places,
) -> Result<EffectsSettings, ConfigError> {
    let first = layers.text("effects.retry_first").unwrap_or_default();
    let attempts = layers.text("effects.attempts_max").unwrap_or_default();
    let attempts_max =
        attempts.parse().ok().filter(|number| (1..=Retry::ATTEMPTS).contains(number)).ok_or_else(|| {
            layers.refuse(
                "effects.attempts_max",
                format!("{attempts:?} is no whole number from 1 to {}", Retry::ATTEMPTS),
            )
        })?;
    let first = parse_pause(first).map_err(|e| layers.refuse("effects.retry_first", e))?;
    let tables = layers.webhooks();
    let webhooks = tables.tables.iter().map(|(name, table)| {
        let one = One { tables, name, table };
        one.subscription(environment, places)
    });
    Ok(EffectsSettings {
        webhooks: webhooks.collect::<Result<Vec<_>, _>>()?.into(),
        retry: Retry { first, attempts_max },
    })
}

/// One table.
struct One<'a> {
    tables: &'a Tables,
    name: &'a str,
    table: &'a toml::Table,
}

impl One<'_> {
    fn refuse(&self, field: &'static str, why: impl std::fmt::Display) -> ConfigError {
        ConfigError::Webhook {
            webhook: self.name.to_owned(),
            field,
            place: self.tables.file.display().to_string(),
            why: why.to_string(),
        }
    }

    /// The texts of a field; none when it is not set.
    fn words(&self, field: &'static str) -> Result<Vec<String>, ConfigError> {
        let Some(value) = self.table.get(field) else { return Ok(Vec::new()) };
        words(value).ok_or_else(|| {
            self.refuse(field, format!("it is {}, but must be text or a list of texts", value.type_str()))
        })
    }

    fn subscription(&self, environment: &Environment, places: &Places) -> Result<Subscription, ConfigError> {
        let url = match self.words("url")?.as_slice() {
            [url] => PostUrl::parse(url).map_err(|e| self.refuse("url", e))?,
            _ => return Err(self.refuse("url", "one address is needed, such as https://app.example.org/hooks/almanac")),
        };
        if let Some(other) = places.host(&url.authority()).filter(|other| *other != environment) {
            let why = format!(
                "{} is declared for environment `{other}` (origin.hosts), but this process runs as `{environment}`: nothing \
                 of this environment may be told there",
                url.authority()
            );
            return Err(self.refuse("url", why));
        }
        let collections = self.words("collections")?;
        if !collections.is_empty() {
            CollectionSet::parse(&collections).map_err(|e| self.refuse("collections", e))?;
        }
        let origin = |word: &String| {
            let words = Origin::ALL.map(Origin::as_str).join(", ");
            Origin::from_word(word).ok_or_else(|| self.refuse("origins", format!("{word:?} is none of {words}")))
        };
        let kind = |word: &String| {
            Kind::from_word(word).ok_or_else(|| self.refuse("kinds", format!("{word:?} is neither put nor delete")))
        };
        let did = |word: &String| Did::parse(word).map_err(|e| self.refuse("dids", e));
        let mut wanted = Wanted {
            collections: collections.into_iter().map(Into::into).collect(),
            dids: self.words("dids")?.iter().map(did).collect::<Result<_, _>>()?,
            ..Wanted::default()
        };
        // An empty list would tell of nothing, or of everything: whoever writes one is asked what is meant.
        for field in ["collections", "origins", "kinds", "dids"] {
            if self.table.contains_key(field) && self.words(field)?.is_empty() {
                return Err(self.refuse(field, "the list is empty; leave it out for the default"));
            }
        }
        if self.table.contains_key("origins") {
            wanted.origins = self.words("origins")?.iter().map(origin).collect::<Result<_, _>>()?;
        }
        if self.table.contains_key("kinds") {
            wanted.kinds = self.words("kinds")?.iter().map(kind).collect::<Result<_, _>>()?;
        }
        Ok(Subscription { name: self.name.into(), url, secrets: self.secrets()?, wanted })
    }

    fn secrets(&self) -> Result<Vec<Secret>, ConfigError> {
        let given: Vec<&str> =
            ["secret", "secrets", "secret_file"].into_iter().filter(|f| self.table.contains_key(*f)).collect();
        let (field, texts) = match given.as_slice() {
            ["secret"] => ("secret", self.words("secret")?),
            ["secrets"] => ("secrets", self.words("secrets")?),
            ["secret_file"] => {
                let path = self.words("secret_file")?.join("");
                let text = std::fs::read_to_string(&path)
                    .map_err(|e| self.refuse("secret_file", format!("{path} cannot be read: {e}")))?;
                let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
                ("secret_file", lines.map(str::to_owned).collect())
            }
            _ => return Err(self.refuse("secret", "exactly one of secret, secrets and secret_file must be set")),
        };
        if texts.is_empty() {
            return Err(self.refuse(field, "there is no secret in it"));
        }
        texts.iter().map(|text| Secret::parse(text).map_err(|e| self.refuse(field, e))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use crate::config::{ConfigError, Layers, Settings};
    use crate::effects::{Kind, Wanted};
    use crate::event::Origin;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const OTHER: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

    fn layers(file: &str) -> Result<Layers, ConfigError> {
        let mut toml = tempfile::NamedTempFile::new().unwrap();
        toml.write_all(file.as_bytes()).unwrap();
        Layers::read(Some(toml.path()), [], [])
    }

    fn read(file: &str) -> Result<Settings, ConfigError> {
        Settings::check(&layers(file)?)
    }

    #[test]
    fn a_webhook_is_read_with_its_wishes() {
        let file = format!(
            "environment = 'prod'\n[effects]\nretry_first = '10ms'\nattempts_max = '3'\n[webhooks.app]\n\
             url = 'https://app.example.org/hook'\nsecrets = ['{SECRET}', '{OTHER}']\norigins = ['own']\nkinds = ['put']\n\
             collections = ['community.lexicon.calendar.*']\ndids = ['did:plc:aaaaaaaaaaaaaaaaaaaaaaaa']\n\
             [webhooks.all]\nurl = 'http://127.0.0.1:3000/'\nsecret = '{SECRET}'\n"
        );
        let effects = read(&file).unwrap().effects;
        assert_eq!((effects.retry.first.as_millis(), effects.retry.attempts_max), (10, 3));
        let find = |name: &str| effects.webhooks.iter().find(|webhook| &*webhook.name == name).unwrap();
        let app = find("app");
        assert_eq!((app.secrets.len(), app.url.shown().as_str()), (2, "https://app.example.org/…"));
        assert_eq!((&app.wanted.origins[..], &app.wanted.kinds[..]), (&[Origin::Own][..], &[Kind::Put][..]));
        assert_eq!((app.wanted.collections.len(), app.wanted.dids.len()), (1, 1));
        assert_eq!(find("all").wanted, Wanted::default());
        assert!(read("").unwrap().effects.webhooks.is_empty());
    }

    #[test]
    fn secrets_come_out_of_a_file_and_are_never_shown() {
        let mut secrets = tempfile::NamedTempFile::new().unwrap();
        writeln!(secrets, "# old and new\n{SECRET}\n\n{OTHER}").unwrap();
        let path = secrets.path().display();
        let file = format!("[webhooks.app]\nurl = 'https://a.example/?token=hunter2'\nsecret_file = '{path}'");
        assert_eq!(read(&file).unwrap().effects.webhooks[0].secrets.len(), 2);
        let inline = format!("[webhooks.app]\nurl = 'https://a.example/?token=hunter2'\nsecret = '{SECRET}'");
        let layers = layers(&inline).unwrap();
        let shown = format!("{:?} {:?} {layers:?}", layers.shown(), Settings::check(&layers).unwrap());
        assert!(shown.contains("webhooks.app.url") && shown.contains("(set, not shown)"), "{shown}");
        assert!(!shown.contains("MfKQ") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn what_does_not_fit_is_refused_and_says_where() {
        let hook = |more: &str| {
            format!(
                "environment = 'dev'\n[origin]\nhosts = ['*.prod.example.org=prod', 'x.dev.example=dev']\n[webhooks.app]\n{more}\n"
            )
        };
        let good = format!("url = 'https://x.dev.example/'\nsecret = '{SECRET}'");
        assert!(read(&hook(&good)).is_ok());
        for (more, words) in [
            (good.replace("x.dev.example", "app.prod.example.org"), ["environment `prod`", "app.prod.example.org"]),
            (good.replace("https", "ftp"), ["`url`", "scheme"]),
            (good.replace("secret =", "secert ="), ["secert", "did you mean `secret`"]),
            (good.replace("whsec_", ""), ["`secret`", "openssl rand"]),
            (format!("{good}\nsecret_file = '/nowhere'"), ["exactly one", "secret_file"]),
            ("url = 'https://x.dev.example/'\nsecret_file = '/nowhere'".to_owned(), ["/nowhere", "cannot be read"]),
            ("url = 'https://x.dev.example/'".to_owned(), ["exactly one", "secret"]),
            (format!("secret = '{SECRET}'"), ["`url`", "https://"]),
            (format!("{good}\norigins = ['foreign']"), ["foreign", "own_host_stranger"]),
            (format!("{good}\norigins = []"), ["`origins`", "empty"]),
            (format!("{good}\nkinds = ['update']"), ["update", "delete"]),
            (format!("{good}\ncollections = ['calendar']"), ["`collections`", "calendar"]),
            (format!("{good}\ndids = ['anna']"), ["`dids`", "anna"]),
            (format!("{good}\nkinds = 7"), ["`kinds`", "integer"]),
        ] {
            let message = read(&hook(&more)).unwrap_err().to_string();
            assert!(message.contains("app") && !message.contains("MfKQ"), "{message}");
            for word in words {
                assert!(message.contains(word), "{message:?} does not say {word:?}");
            }
        }
        assert!(read("webhooks = 7").is_err() && read("[webhooks]\nurl = 'x'").is_err());
        assert!(read("[effects]\nattempts_max = '11'").unwrap_err().to_string().contains("1 to 10"));
        assert!(read("[effects]\nretry_first = '0s'").is_err());
    }
}
