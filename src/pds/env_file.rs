//! The env file of the official PDS (`pds.env`): its name, what it tells whom, and its secrets.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

/// An env file is a few kilobytes.
const BYTES_MAX: u64 = 1_000_000;

/// Variables that hold a secret, with the names under which they are spoken of.
const SECRETS: &[(&str, &str)] = &[
    ("pds_plc_rotation_key", "PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX"),
    ("pds_jwt_secret", "PDS_JWT_SECRET"),
    ("pds_dpop_secret", "PDS_DPOP_SECRET"),
    ("pds_admin_password", "PDS_ADMIN_PASSWORD"),
];

/// Variables that hold the address of a mail server with its account.
const MAIL: &[(&str, &str)] =
    &[("pds_mail", "PDS_EMAIL_SMTP_URL"), ("pds_moderation_mail", "PDS_MODERATION_EMAIL_SMTP_URL")];

/// An env file that cannot be used: which, and why. What stands in the file is not repeated.
#[derive(Debug, thiserror::Error)]
#[error("PDS env file {}: {why}", path.display())]
pub struct EnvFileError {
    path: PathBuf,
    why: String,
}

/// What an env file says, with the defaults of the PDS where it says nothing. `Debug` shows no value.
#[derive(Clone, PartialEq, Eq)]
pub struct PdsEnv(BTreeMap<String, String>);

impl PdsEnv {
    /// Reads a file.
    ///
    /// # Errors
    /// One that cannot be read, is larger than 1 MB, has a line that is not `NAME=VALUE`, or names no host.
    pub fn read(path: &Path) -> Result<Self, EnvFileError> {
        let wrong = |why: String| EnvFileError { path: path.to_owned(), why };
        let file = std::fs::File::open(path).map_err(|e| wrong(e.to_string()))?;
        let mut text = String::new();
        file.take(BYTES_MAX + 1).read_to_string(&mut text).map_err(|e| wrong(e.to_string()))?;
        if text.len() as u64 > BYTES_MAX {
            return Err(wrong(format!("it is larger than {BYTES_MAX} bytes")));
        }
        Self::parse(&text).map_err(wrong)
    }

    /// Reads the text of a file: `NAME=VALUE` lines, `#` comments, `export` and quotes as shells and containers take them.
    ///
    /// # Errors
    /// A line that is something else, by its number, and a file without `PDS_HOSTNAME`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut values = BTreeMap::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let line = line.strip_prefix("export ").unwrap_or(line);
            let (name, value) = line.split_once('=').ok_or_else(|| format!("line {} is not NAME=VALUE", i + 1))?;
            // As everywhere, the last one counts.
            values.insert(name.trim().to_owned(), unquoted(value.trim()).to_owned());
        }
        let env = PdsEnv(values);
        if env.get("PDS_HOSTNAME").is_none() {
            return Err("it does not set PDS_HOSTNAME".to_owned());
        }
        Ok(env)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The host under which the PDS is known; with its port on `localhost`, where the PDS names itself so.
    pub fn host(&self) -> String {
        match self.get("PDS_HOSTNAME").unwrap_or_default() {
            "localhost" => format!("localhost:{}", self.get("PDS_PORT").unwrap_or("2583")),
            host => host.to_ascii_lowercase(),
        }
    }

    /// Suffixes of the handles that it gives out, each beginning with a dot.
    pub fn handle_domains(&self) -> Vec<String> {
        match self.list("PDS_SERVICE_HANDLE_DOMAINS") {
            listed if !listed.is_empty() => listed,
            _ if self.get("PDS_HOSTNAME") == Some("localhost") => vec![".test".to_owned()],
            _ => vec![format!(".{}", self.host())],
        }
    }

    /// Relays that it asks to crawl it.
    pub fn crawlers(&self) -> Vec<String> {
        self.list("PDS_CRAWLERS")
    }

    /// The directory to which it writes its accounts.
    pub fn plc(&self) -> &str {
        self.get("PDS_DID_PLC_URL").unwrap_or("https://plc.directory")
    }

    /// `host[:port]` of the servers through which it sends mail.
    pub fn mail_hosts(&self) -> Vec<String> {
        let hosts = MAIL.iter().filter_map(|(_, variable)| self.get(variable)).filter_map(|url| {
            let (_, host) = account_and_host(url)?;
            Some(host.to_ascii_lowercase())
        });
        let mut hosts: Vec<_> = hosts.filter(|host| !host.is_empty()).collect();
        hosts.sort();
        hosts.dedup();
        hosts
    }

    /// Its secrets by name: keys, passwords, and the accounts (`user:password`) with which it sends mail. Keys in hexadecimal
    /// digits are in lower case, so that one key is one text.
    pub fn secrets(&self) -> Vec<(&'static str, String)> {
        let keys = SECRETS.iter().filter_map(|(name, variable)| Some((*name, self.get(variable)?)));
        let keys = keys.map(|(name, value)| match name {
            "pds_plc_rotation_key" => (name, value.to_ascii_lowercase()),
            _ => (name, value.to_owned()),
        });
        let mail = MAIL.iter().filter_map(|(name, variable)| {
            let (account, _) = account_and_host(self.get(variable)?)?;
            Some((*name, account?.to_owned()))
        });
        keys.chain(mail).collect()
    }

    fn list(&self, name: &str) -> Vec<String> {
        let entries = self.get(name).unwrap_or_default().split(',').map(str::trim);
        entries.filter(|entry| !entry.is_empty()).map(str::to_owned).collect()
    }
}

impl fmt::Debug for PdsEnv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PdsEnv({} values)", self.0.len())
    }
}

/// `smtps://user:password@host:465/?x` as `user:password` and `host:465`.
fn account_and_host(url: &str) -> Option<(Option<&str>, &str)> {
    let (_, rest) = url.split_once("://")?;
    // A password may hold a slash that nobody escaped, a host may not hold an @.
    let (account, rest) = rest.rsplit_once('@').map_or((None, rest), |(account, rest)| (Some(account), rest));
    Some((account, rest.split(['/', '?', '#']).next().unwrap_or_default()))
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if let Some(rest) = value.strip_prefix(quote)
            && let Some((inner, _)) = rest.split_once(quote)
        {
            return inner;
        }
    }
    value.split_once(" #").map_or(value, |(value, _)| value.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_file_says_counts() {
        let env = PdsEnv::parse(
            "# the PDS\n\nexport PDS_HOSTNAME=\"PDS.dev.example.org\"\nPDS_SERVICE_HANDLE_DOMAINS=.a.example, .b.example\n\
             PDS_CRAWLERS='https://bsky.network,https://relay.example' # both\nPDS_DID_PLC_URL=http://plc.dev:2582 # ours\n\
             PDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX=ABCDEF\nPDS_JWT_SECRET=one\nPDS_JWT_SECRET=jwt#secret\n\
             PDS_EMAIL_SMTP_URL=smtps://post:p/w@Smtp.example.org:465/?x=1\nPDS_MODERATION_EMAIL_SMTP_URL=smtp://smtp.example.org:465\n",
        )
        .unwrap();
        assert_eq!(env.host(), "pds.dev.example.org");
        assert_eq!(env.handle_domains(), [".a.example", ".b.example"]);
        assert_eq!(env.crawlers(), ["https://bsky.network", "https://relay.example"]);
        assert_eq!(env.plc(), "http://plc.dev:2582");
        assert_eq!(env.mail_hosts(), ["smtp.example.org:465"]);
        let secrets: Vec<_> = env.secrets();
        let secrets: Vec<_> = secrets.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(
            secrets,
            [("pds_plc_rotation_key", "abcdef"), ("pds_jwt_secret", "jwt#secret"), ("pds_mail", "post:p/w")]
        );
        assert_eq!(format!("{env:?}"), "PdsEnv(8 values)");
    }

    #[test]
    fn what_it_does_not_say_is_as_the_pds_has_it() {
        let env = PdsEnv::parse("PDS_HOSTNAME=pds.example.org\nPDS_CRAWLERS=").unwrap();
        assert_eq!((env.host().as_str(), env.plc()), ("pds.example.org", "https://plc.directory"));
        assert_eq!(env.handle_domains(), [".pds.example.org"]);
        assert!(env.crawlers().is_empty() && env.mail_hosts().is_empty() && env.secrets().is_empty());
        let env = PdsEnv::parse("PDS_HOSTNAME=localhost\nPDS_PORT=3000").unwrap();
        assert_eq!((env.host().as_str(), env.handle_domains()), ("localhost:3000", vec![".test".to_owned()]));
    }

    #[test]
    fn a_file_that_is_none_is_refused_without_its_text() {
        assert_eq!(PdsEnv::parse("PDS_HOSTNAME=x\nhunter2").unwrap_err(), "line 2 is not NAME=VALUE");
        assert!(PdsEnv::parse("PDS_JWT_SECRET=hunter2").unwrap_err().contains("PDS_HOSTNAME"));
        let error = PdsEnv::read(Path::new("nowhere/pds.env")).unwrap_err().to_string();
        assert!(error.contains("nowhere/pds.env"), "{error}");
    }
}
