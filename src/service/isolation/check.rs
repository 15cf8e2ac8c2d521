//! The checks: what two environments share, and what one shows to everybody.

use std::collections::BTreeSet;

use serde::Serialize;

use super::database::{self, Same};
use super::facts::{Facts, MAIL, WEBHOOK_URL};
use super::overlap::{Overlap, overlap, probe};
use crate::event::{Environment, EnvironmentKind};
use crate::filter::Places;
use crate::network;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing is shared.
    Green,
    /// Something that is allowed, or that could not be compared.
    Yellow,
    /// A way from one environment into another, or out.
    Red,
}

impl Level {
    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Green => "green",
            Level::Yellow => "yellow",
            Level::Red => "red",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its name.
    pub check: &'static str,
    /// The environments that it is about: this one, another, or this one and another.
    pub environments: Vec<Environment>,
    /// How it came out.
    pub level: Level,
    /// What was compared, and what was found.
    pub compared: String,
    /// What to do, in one line; `None` when there is nothing to do.
    pub fix: Option<String>,
}

/// An outcome without its name.
type Outcome = (Level, String, Option<String>);

/// Checks an environment by itself and against each of the others, and the others by themselves. `places` is what this
/// environment's settings declare.
pub fn check(own: &Facts, places: &Places, others: &[Facts]) -> Vec<Check> {
    let mut checks = Vec::new();
    for facts in std::iter::once(own).chain(others) {
        let mut add = |check, (level, compared, fix): Outcome| {
            checks.push(Check { check, environments: vec![facts.environment.clone()], level, compared, fix });
        };
        add("plc", plc(facts));
        add("crawlers", crawlers(facts));
        if !facts.notes.is_empty() {
            let fix =
                "have its file printed where it runs (almanac config show --public), and compare what is left by hand"
                    .to_owned();
            add("settings", (Level::Yellow, some(&facts.notes), Some(fix)));
        }
    }
    for other in others {
        let mut add = |check, (level, compared, fix): Outcome| {
            let environments = vec![own.environment.clone(), other.environment.clone()];
            checks.push(Check { check, environments, level, compared, fix });
        };
        add("name", name(own, other));
        add("pds_hosts", shared(own, other, places, &HOSTS));
        add("handles", shared(own, other, places, &HANDLES));
        add("declared_hosts", declared(own, other, places, &HOSTS));
        add("declared_handles", declared(own, other, places, &HANDLES));
        add("relays", relays(own, other));
        add("database", database(own, other));
        add("webhooks", webhooks(own, other));
        add("mail", mail(own, other));
        add("secrets", secrets(own, other));
    }
    checks
}

fn green(compared: impl Into<String>) -> Outcome {
    (Level::Green, compared.into(), None)
}

fn yellow(compared: impl Into<String>, fix: impl Into<String>) -> Outcome {
    (Level::Yellow, compared.into(), Some(fix.into()))
}

fn red(compared: impl Into<String>, fix: impl Into<String>) -> Outcome {
    (Level::Red, compared.into(), Some(fix.into()))
}

/// A list for people; long ones are cut.
fn some<S: AsRef<str>>(items: impl IntoIterator<Item = S>) -> String {
    const SHOWN: usize = 6;
    let items: Vec<S> = items.into_iter().collect();
    let mut text = items.iter().take(SHOWN).map(AsRef::as_ref).collect::<Vec<_>>().join(", ");
    match items.len() {
        0 => "none".clone_into(&mut text),
        n if n > SHOWN => text.push_str(&format!(" and {} more", n - SHOWN)),
        _ => {}
    }
    text
}

fn is_public_directory(url: &str) -> bool {
    let url = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
    network::authority(&url).is_some_and(|host| {
        let name = host.split(':').next().unwrap_or_default();
        name == "plc.directory" || name.ends_with(".plc.directory")
    })
}

fn plc(facts: &Facts) -> Outcome {
    let written = facts.plc_written.as_deref();
    let compared =
        format!("reads {}, its PDSes write to {}", facts.plc_read, written.unwrap_or("a directory that nobody named"));
    if facts.kind == EnvironmentKind::Production {
        return green(compared);
    }
    match (written.is_some_and(is_public_directory), is_public_directory(&facts.plc_read)) {
        (true, _) => red(
            compared,
            "run a PLC directory of its own and set PDS_DID_PLC_URL and network.plc to it; DIDs that were written stay public",
        ),
        (false, true) => red(compared, "run a PLC directory of its own and set network.plc to it"),
        _ if written.is_none() && !facts.pds_hosts.is_empty() => {
            yellow(compared, "set pds.env_file, or isolation.plc to what the PDS has as PDS_DID_PLC_URL")
        }
        _ => green(compared),
    }
}

fn crawlers(facts: &Facts) -> Outcome {
    let compared = match &facts.crawlers {
        Some(crawlers) => format!("its PDSes ask to be crawled by: {}", some(crawlers)),
        None => "nobody says whom its PDSes ask to crawl them".to_owned(),
    };
    if facts.kind == EnvironmentKind::Production {
        return green(compared);
    }
    match &facts.crawlers {
        Some(crawlers) if !crawlers.is_empty() => red(compared, "set PDS_CRAWLERS to nothing and restart the PDS"),
        None if !facts.pds_hosts.is_empty() => {
            yellow(compared, "set pds.env_file, or isolation.crawlers to what the PDS has as PDS_CRAWLERS")
        }
        _ => green(compared),
    }
}

fn name(own: &Facts, other: &Facts) -> Outcome {
    let compared = format!("`{}` and `{}`", own.environment, other.environment);
    match own.environment == other.environment {
        true => {
            red(compared, "give each environment a name of its own (`environment`); a database keeps the one it has")
        }
        false => green(compared),
    }
}

/// One of the two kinds of places.
struct Kind {
    what: &'static str,
    setting: &'static str,
    of: fn(&Facts) -> &BTreeSet<String>,
    declared: for<'a> fn(&'a Places, &str) -> Option<&'a Environment>,
    /// What to do about one that both have.
    fix: &'static str,
}

const HOSTS: Kind = Kind {
    what: "PDS hosts",
    setting: "origin.hosts",
    of: |facts| &facts.pds_hosts,
    declared: |places, host| places.host(&probe(host)),
    fix: "run a PDS of its own for each environment, and declare each for one of them in origin.hosts",
};

const HANDLES: Kind = Kind {
    what: "handle domains",
    setting: "origin.handles",
    of: |facts| &facts.handles,
    declared: |places, handle| places.handle(&probe(handle)),
    fix: "give each environment a handle domain of its own (PDS_SERVICE_HANDLE_DOMAINS, origin.handles)",
};

fn shared(own: &Facts, other: &Facts, places: &Places, kind: &Kind) -> Outcome {
    let (ours, theirs) = ((kind.of)(own), (kind.of)(other));
    let counts = format!("{} and {} {}", ours.len(), theirs.len(), kind.what);
    for (facts, known) in [(own, ours), (other, theirs)] {
        if known.is_empty() {
            let compared = format!("{counts}: nothing is said of those of `{}`", facts.environment);
            return yellow(compared, format!("set pds.env_file or {} where it runs", kind.setting));
        }
    }
    let (mut same, mut inside) = (Vec::new(), Vec::new());
    for a in ours {
        for b in theirs {
            // One inside the other is told apart when the smaller one is declared for whose it is.
            let apart = |part: &str, of: &Facts| (kind.declared)(places, part) == Some(&of.environment);
            match overlap(a, b) {
                Overlap::None => {}
                Overlap::Inside if apart(a, own) => inside.push(format!("{a} in {b}")),
                Overlap::Around if apart(b, other) => inside.push(format!("{b} in {a}")),
                Overlap::Same => same.push(a.clone()),
                Overlap::Inside | Overlap::Around => same.push(format!("{a} and {b}")),
            }
        }
    }
    match (same.is_empty(), inside.is_empty()) {
        (true, true) => green(format!("{counts}, none in common")),
        (true, false) => yellow(
            format!("one lies inside the other, and is declared: {}", some(&inside)),
            "nothing must be done; domains beside each other leave less to get wrong",
        ),
        (false, _) => red(format!("in both environments: {}", some(&same)), kind.fix),
    }
}

fn declared(own: &Facts, other: &Facts, places: &Places, kind: &Kind) -> Outcome {
    let theirs = (kind.of)(other);
    let missing: Vec<_> =
        theirs.iter().filter(|place| (kind.declared)(places, place) != Some(&other.environment)).collect();
    if missing.is_empty() {
        return match theirs.len() {
            0 => green(format!("`{}` names no {}", other.environment, kind.what)),
            n => green(format!("{n} {} of `{}`, all declared for it", kind.what, other.environment)),
        };
    }
    let entries = missing.iter().map(|place| format!("\"{place}={}\"", other.environment));
    red(
        format!("not declared as `{}`'s: {}", other.environment, some(&missing)),
        format!("add to {} of `{}`: {}", kind.setting, own.environment, some(entries)),
    )
}

fn relays(own: &Facts, other: &Facts) -> Outcome {
    let common: Vec<_> = own.relays.intersection(&other.relays).collect();
    if common.is_empty() {
        return green(format!("{} and {} relays, none in common", own.relays.len(), other.relays.len()));
    }
    yellow(
        format!("both follow {}", some(&common)),
        "nothing must be done: what keeps the two apart there are the declared hosts, handles and directories",
    )
}

fn database(own: &Facts, other: &Facts) -> Outcome {
    let (Some(a), Some(b)) = (&own.database, &other.database) else {
        let compared = "nobody says where the other's database is";
        return yellow(compared, "have its file printed where it runs: almanac config show --public");
    };
    let compared = format!("{a} and {b}");
    let fix = "give each environment a database (database_url) or a data directory (data_dir) of its own";
    match database::same(a, b) {
        Same::No => green(compared),
        Same::Perhaps => yellow(format!("{compared}: one database if both run on one machine"), fix),
        Same::Yes => red(compared, fix),
    }
}

/// The fingerprints whose names are wanted.
fn digits(facts: &Facts, wanted: impl Fn(&str) -> bool) -> BTreeSet<&str> {
    facts.fingerprints.iter().filter(|(name, _)| wanted(name)).map(|(_, digits)| digits.as_str()).collect()
}

fn webhooks(own: &Facts, other: &Facts) -> Outcome {
    let (Some(ours), Some(theirs)) = (&own.webhook_hosts, &other.webhook_hosts) else {
        let compared = "nobody says whom the other's webhooks call";
        return yellow(compared, "have its file printed where it runs: almanac config show --public");
    };
    let common: Vec<_> = ours.intersection(theirs).collect();
    if common.is_empty() {
        return green(format!("{} and {} hosts, none in common", ours.len(), theirs.len()));
    }
    // The same host may serve both at different addresses, when it is known that they differ.
    let differ = |host: &str| {
        let of = |facts| digits(facts, |name| name.strip_prefix(WEBHOOK_URL) == Some(host));
        let (a, b) = (of(own), of(other));
        !a.is_empty() && !b.is_empty() && a.is_disjoint(&b)
    };
    let same: Vec<_> = common.iter().filter(|host| !differ(host)).collect();
    if same.is_empty() {
        return yellow(
            format!("both call {}, at different URLs", some(&common)),
            "make sure that the receiver keeps the two apart",
        );
    }
    red(format!("both call {}", some(&same)), "give each environment a receiver of its own (webhooks.NAME.url)")
}

fn mail(own: &Facts, other: &Facts) -> Outcome {
    let of = |facts| digits(facts, |name| MAIL.contains(&name));
    let (a, b) = (of(own), of(other));
    let fix = "give each environment an account of its own at the mail server (PDS_EMAIL_SMTP_URL), or none";
    if !a.is_disjoint(&b) {
        return red("both send mail by the same account", fix);
    }
    let (Some(ours), Some(theirs)) = (&own.mail_hosts, &other.mail_hosts) else {
        return yellow("nobody says how one of the two sends mail", "set pds.env_file, or isolation.mail_hosts");
    };
    let common: Vec<_> = ours.intersection(theirs).collect();
    match common.is_empty() {
        true => green(format!("{} and {} mail servers, none in common", ours.len(), theirs.len())),
        false if a.is_empty() || b.is_empty() => {
            yellow(format!("both send mail through {}, perhaps by one account", some(&common)), fix)
        }
        false => green(format!("both send mail through {}, by different accounts", some(&common))),
    }
}

fn secrets(own: &Facts, other: &Facts) -> Outcome {
    let is_secret = |name: &str| !name.starts_with(WEBHOOK_URL) && !MAIL.contains(&name);
    let of = |facts: &'_ Facts| -> Vec<(String, String)> {
        facts.fingerprints.iter().filter(|(name, _)| is_secret(name)).cloned().collect()
    };
    let (ours, theirs) = (of(own), of(other));
    let mut same = Vec::new();
    for (a, digits) in &ours {
        let twins = theirs.iter().filter(|(_, theirs)| theirs == digits);
        same.extend(twins.map(|(b, _)| if a == b { a.clone() } else { format!("{a} is the other's {b}") }));
    }
    let counts = format!("{} and {} fingerprints", ours.len(), theirs.len());
    if !same.is_empty() {
        return red(
            format!("{counts}, in common: {}", some(&same)),
            "make new ones where they were copied to; a shared rotation key lets either environment move the other's accounts",
        );
    }
    let without = |known: &[(String, String)], facts: &Facts| known.is_empty().then(|| facts.environment.to_string());
    let unknown: Vec<_> = without(&ours, own).into_iter().chain(without(&theirs, other)).collect();
    if !unknown.is_empty() {
        return yellow(
            format!("{counts}: nothing to compare of {}", some(&unknown)),
            "set pds.env_file, and have the file printed where it runs: almanac config show --public",
        );
    }
    if !own.too_short.is_empty() {
        return yellow(
            format!("{counts}, none in common; too short to have one: {}", some(&own.too_short)),
            "make these anew with at least 16 random characters, 32 are better",
        );
    }
    green(format!("{counts}, none in common"))
}
