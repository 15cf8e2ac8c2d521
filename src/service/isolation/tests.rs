//! Each check over facts: what turns it red, yellow and green, and that the repair is named.

use toml::Table;

use super::*;
use crate::event::Environment;
use crate::filter::Places;

const OURS: &str = r#"
environment = "production"
source.relays = ["relay.example"]
network.plc = "https://plc.directory"
isolation.pds_hosts = ["pds.example.org"]
isolation.handle_domains = [".example.org"]
isolation.plc = "plc.directory"
isolation.crawlers = ["relay.example"]
isolation.database = "postgres://db.internal:5432/almanac"
isolation.webhook_hosts = ["hooks.example.org"]
isolation.mail_hosts = ["smtp.example.org"]
isolation.fingerprints = ["pds_jwt_secret=0000000000000001", "webhook_url.hooks.example.org=0000000000000002",
  "pds_mail=0000000000000003"]
"#;

const THEIRS: &str = r#"
environment = "dev"
source.relays = ["relay.dev.test"]
network.plc = "http://plc.dev.test"
isolation.pds_hosts = ["pds.example.net", "127.0.0.1:2583"]
isolation.handle_domains = [".example.net"]
isolation.plc = "plc.dev.test"
isolation.crawlers = []
isolation.database = "postgres://db.internal:5432/almanac_dev"
isolation.webhook_hosts = ["hooks.example.net"]
isolation.mail_hosts = ["smtp.example.net"]
isolation.fingerprints = ["pds_jwt_secret=0000000000000011", "webhook_url.hooks.example.net=0000000000000012",
  "pds_mail=0000000000000013"]
"#;

const DECLARED_HOSTS: [&str; 3] = ["pds.example.org=production", "pds.example.net=dev", "localhost:2583=dev"];
const DECLARED_HANDLES: [&str; 2] = [".example.org=production", ".example.net=dev"];

fn table(text: &str) -> Table {
    text.parse().unwrap()
}

/// Facts of a text in which the lines of `changed` replace those of the same setting; `-setting` takes one away.
fn facts_of(text: &str, changed: &str) -> Facts {
    let mut all = table(text);
    for line in changed.lines() {
        match line.strip_prefix('-') {
            Some(setting) => {
                let (outer, inner) = setting.split_once('.').unwrap();
                all[outer].as_table_mut().unwrap().remove(inner).unwrap();
            }
            None => merge(&mut all, table(line)),
        }
    }
    other::facts(&all).unwrap()
}

fn merge(into: &mut Table, from: Table) {
    for (key, value) in from {
        match (into.get_mut(&key), value) {
            (Some(toml::Value::Table(into)), toml::Value::Table(from)) => merge(into, from),
            (_, value) => drop(into.insert(key, value)),
        }
    }
}

fn places(more: &[&str]) -> Places {
    let (handles, hosts): (Vec<&str>, Vec<&str>) = more.iter().copied().partition(|entry| entry.starts_with('.'));
    let hosts = DECLARED_HOSTS.into_iter().chain(hosts);
    Places::parse(hosts, DECLARED_HANDLES.into_iter().chain(handles)).unwrap()
}

fn run(ours: &str, theirs: &str, declared: &[&str]) -> Vec<Check> {
    check(&facts_of(OURS, ours), &places(declared), &[facts_of(THEIRS, theirs)])
}

/// That the check `name` over these changes comes out so, and says these words; all other checks stay green, but `beside`.
#[track_caller]
fn comes_out(name: &str, (ours, theirs): (&str, &str), level: Level, compared: &str, fix: &str, beside: &[&str]) {
    let checks = run(ours, theirs, &[]);
    let is = |check: &&Check| check.check == name && check.level == level && check.compared.contains(compared);
    let found = checks.iter().find(is).unwrap_or_else(|| panic!("{name} is not {level:?} of {compared}: {checks:#?}"));
    match level {
        Level::Green => assert_eq!(found.fix, None),
        _ => assert!(found.fix.as_deref().is_some_and(|text| text.contains(fix) && !text.contains('\n')), "{found:?}"),
    }
    for other in checks.iter().filter(|check| check.check != name && !beside.contains(&check.check)) {
        assert_eq!(other.level, Level::Green, "{other:?}");
    }
}

#[track_caller]
fn red(name: &str, changed: (&str, &str), compared: &str, fix: &str, beside: &[&str]) {
    comes_out(name, changed, Level::Red, compared, fix, beside);
}

#[track_caller]
fn yellow(name: &str, changed: (&str, &str), compared: &str, fix: &str, beside: &[&str]) {
    comes_out(name, changed, Level::Yellow, compared, fix, beside);
}

#[track_caller]
fn green(name: &str, changed: (&str, &str), compared: &str) {
    comes_out(name, changed, Level::Green, compared, "", &[]);
}

#[test]
fn two_environments_that_share_nothing_are_green() {
    let checks = run("", "", &[]);
    assert!(checks.iter().all(|check| check.level == Level::Green && check.fix.is_none()), "{checks:#?}");
    let names: Vec<_> = checks.iter().map(|check| check.check).collect();
    assert_eq!(
        names,
        [
            "plc",
            "crawlers",
            "plc",
            "crawlers",
            "name",
            "pds_hosts",
            "handles",
            "declared_hosts",
            "declared_handles",
            "relays",
            "database",
            "webhooks",
            "mail",
            "secrets",
        ]
    );
}

#[test]
fn one_name_for_two_is_red() {
    let changed = "environment = \"production\"\nenvironment_kind = \"development\"";
    red(
        "name",
        ("", changed),
        "`production` and `production`",
        "a name of its own",
        &["declared_hosts", "declared_handles"],
    );
}

#[test]
fn a_shared_pds_is_red() {
    let both = "isolation.pds_hosts = [\"PDS.example.org:443\", \"pds.example.net\"]";
    red("pds_hosts", ("", both), "pds.example.org", "a PDS of its own", &["declared_hosts"]);
    // The other's suffix holds ours, and ours is not declared for us there.
    let around = "isolation.pds_hosts = [\"*.example.org\"]";
    red("declared_hosts", ("", around), "*.example.org", "\"*.example.org=dev\"", &["pds_hosts"]);
}

#[test]
fn a_pds_of_which_nobody_says_anything_is_yellow() {
    let none = "isolation.pds_hosts = []";
    yellow("pds_hosts", ("", none), "nothing is said of those of `dev`", "pds.env_file", &[]);
    yellow("pds_hosts", (none, ""), "nothing is said of those of `production`", "origin.hosts", &[]);
}

#[test]
fn hosts_beside_each_other_are_green() {
    green("pds_hosts", ("", "isolation.pds_hosts = [\"127.0.0.1:2583\"]"), "1 and 1 PDS hosts, none in common");
}

#[test]
fn a_shared_handle_suffix_is_red() {
    let both = "isolation.handle_domains = [\".example.org\"]";
    red("handles", ("", both), ".example.org", "a handle domain of its own", &["declared_handles"]);
}

#[test]
fn a_suffix_inside_the_others_is_red_until_it_is_declared() {
    let theirs = "isolation.handle_domains = [\".dev.example.org\"]";
    red("handles", ("", theirs), ".example.org and .dev.example.org", "a handle domain", &["declared_handles"]);
    let declared = run("", theirs, &[".dev.example.org=dev"]);
    let found = declared.iter().find(|check| check.check == "handles").unwrap();
    assert_eq!(found.level, Level::Yellow, "{found:?}");
    assert!(declared.iter().all(|check| check.level < Level::Red));
    // The other way round: ours is the smaller one.
    let (ours, theirs) = ("isolation.handle_domains = [\".a.example.net\"]", "");
    red("handles", (ours, theirs), ".a.example.net and .example.net", "a handle domain", &[]);
    let declared = run(ours, theirs, &[".a.example.net=production"]);
    assert!(declared.iter().all(|check| check.level < Level::Red), "{declared:#?}");
}

#[test]
fn a_host_that_is_not_declared_as_the_others_is_red() {
    let more = "isolation.pds_hosts = [\"pds.example.net\", \"new.example.net\", \"localhost:2583\"]";
    red("declared_hosts", ("", more), "`dev`'s: new.example.net", "of `production`: \"new.example.net=dev\"", &[]);
    // Declared, but for a third one.
    let declared = run("", more, &["new.example.net=staging"]);
    let red = declared.iter().find(|check| check.level == Level::Red).unwrap();
    assert_eq!(red.check, "declared_hosts");
    let declared = run("", more, &["new.example.net=dev"]);
    assert!(declared.iter().all(|check| check.level == Level::Green), "{declared:#?}");
}

#[test]
fn a_handle_that_is_not_declared_as_the_others_is_red() {
    let more = "isolation.handle_domains = [\".example.net\", \".new.test\"]";
    red("declared_handles", ("", more), ".new.test", "add to origin.handles of `production`: \".new.test=dev\"", &[]);
}

#[test]
fn a_shared_relay_is_told_and_allowed() {
    let both = "source.relays = [\"wss://relay.example\", \"relay.dev.test\"]";
    yellow("relays", ("", both), "both follow relay.example", "nothing must be done", &[]);
}

#[test]
fn the_public_directory_is_for_production_alone() {
    red("plc", ("", "network.plc = \"https://plc.directory\""), "reads https://plc.directory", "network.plc", &[]);
    red("plc", ("", "isolation.plc = \"plc.directory\""), "write to plc.directory", "PDS_DID_PLC_URL", &[]);
    // As it is when nobody says.
    red("plc", ("", "-network.plc"), "plc.directory", "a PLC directory of its own", &[]);
    yellow("plc", ("", "-isolation.plc"), "nobody named", "isolation.plc", &[]);
    green("plc", ("", "isolation.plc = \"plc.directory.dev.test\""), "plc.directory.dev.test");
    // What an environment is for counts, not what it is called.
    let kind = "environment_kind = \"development\"";
    red("plc", (kind, ""), "plc.directory", "PLC directory of its own", &["crawlers"]);
    green("plc", ("", "environment_kind = \"production\"\nnetwork.plc = \"https://plc.directory\""), "plc.directory");
}

#[test]
fn only_productions_pds_asks_to_be_crawled() {
    red("crawlers", ("", "isolation.crawlers = [\"bsky.network\"]"), "bsky.network", "PDS_CRAWLERS", &[]);
    yellow("crawlers", ("", "-isolation.crawlers"), "nobody says", "isolation.crawlers", &[]);
    green("crawlers", ("", ""), "crawled by: relay.example");
}

#[test]
fn a_shared_database_is_red() {
    let same = "isolation.database = \"postgres://db.internal:5432/almanac\"";
    red("database", ("", same), "postgres://db.internal:5432/almanac", "database_url", &[]);
    let perhaps = "database_url = \"postgres://anna:hunter2@localhost/almanac\"\n-isolation.database";
    yellow("database", ("", perhaps), "postgres://localhost:5432/almanac: one database if both", "data_dir", &[]);
    yellow("database", ("", "-isolation.database"), "nobody says", "config show --public", &[]);
    let folder = "isolation.database = \"private://machine/var/lib/almanac\"";
    red("database", (folder, folder), "private://machine/var/lib/almanac", "data_dir", &[]);
}

#[test]
fn a_shared_receiver_of_webhooks_is_red() {
    let host = "isolation.webhook_hosts = [\"hooks.example.org\"]";
    red("webhooks", ("", host), "both call hooks.example.org", "webhooks.NAME.url", &[]);
    let fingerprint = |digits: &str| {
        format!("{host}\nisolation.fingerprints = [\"a=0000000000000099\", \"webhook_url.hooks.example.org={digits}\"]")
    };
    red("webhooks", ("", &fingerprint("0000000000000002")), "hooks.example.org", "a receiver of its own", &[]);
    yellow("webhooks", ("", &fingerprint("0000000000000022")), "at different URLs", "the receiver", &[]);
    yellow("webhooks", ("", "-isolation.webhook_hosts"), "nobody says", "config show --public", &[]);
}

#[test]
fn a_shared_mail_account_is_red() {
    let same = "isolation.fingerprints = [\"a=0000000000000099\", \"pds_moderation_mail=0000000000000003\"]";
    red("mail", ("", same), "the same account", "PDS_EMAIL_SMTP_URL", &[]);
    let host = "isolation.mail_hosts = [\"smtp.example.org\"]";
    green("mail", ("", host), "by different accounts");
    let unknown = "isolation.mail_hosts = [\"smtp.example.org\"]\nisolation.fingerprints = [\"a=0000000000000099\"]";
    yellow("mail", ("", unknown), "perhaps by one account", "an account of its own", &[]);
    yellow("mail", ("", "-isolation.mail_hosts"), "nobody says", "isolation.mail_hosts", &[]);
}

#[test]
fn a_shared_secret_is_red_under_whatever_name() {
    let same = |name: &str| format!("isolation.fingerprints = [\"{name}=0000000000000001\"]");
    red("secrets", ("", &same("pds_jwt_secret")), "in common: pds_jwt_secret", "make new ones", &[]);
    red("secrets", ("", &same("admin_token")), "pds_jwt_secret is the other's admin_token", "rotation key", &[]);
    let none = "isolation.fingerprints = []";
    yellow("secrets", ("", none), "nothing to compare of dev", "config show --public", &[]);
}

#[test]
fn what_is_not_understood_is_a_note_and_its_value_is_not_told() {
    let newer = "isolation.moon_phase = \"hunter2\"\nlisten.admin_token = \"hunter2\"\nisolation.handle_domains = [7]\n\
                 isolation.fingerprints = [\"pds_jwt_secret=hunter2\", \"a=0000000000000099\"]\n\
                 environment_kind = \"hunter2\"\nfuture.hunter3 = 7";
    let checks = run("", newer, &[]);
    let note = checks.iter().find(|check| check.check == "settings").unwrap();
    assert_eq!(note.level, Level::Yellow);
    for word in [
        "`isolation.moon_phase` is no setting",
        "isolation.fingerprints",
        "isolation.handle_domains",
        "environment_kind",
    ] {
        assert!(note.compared.contains(word), "{word}: {note:?}");
    }
    assert!(!format!("{checks:?}").contains("hunter2"));
    assert!(!note.compared.contains("admin_token"), "{note:?}");
}

#[test]
fn another_environments_settings_file_will_do() {
    let text = r#"
        environment = "dev"
        database_url = "postgres://anna:hunter2hunter2hunter2@db.dev/almanac"
        source.relays = ["ws://relay.dev:2584"]
        source.pdses = ["ws://pds.dev:2583"]
        origin.hosts = ["*.pds.dev = dev", "ws.dev=dev", "relay.dev:2584=dev", "pds.example.org=production"]
        origin.handles = [".dev=dev", ".example.org=production"]
        network.plc = "http://plc.dev:2582"
        listen.admin_token = "hunter2hunter2hunter2"
        pds.env_file = "/nowhere/pds.env"
        [webhooks.team]
        url = "https://hooks.dev/x?token=hunter2hunter2"
        secret = "whsec_hunter2hunter2hunter2"
        events = ["all"]
        [webhooks.filed]
        url = "https://hooks.dev/x?token=hunter2hunter2"
        secret_file = "/nowhere/secret"
        [webhooks.two]
        url = "https://hooks.dev:8443/y"
        secrets = ["whsec_hunter2hunter2hunter2=", "whsec_hunter3hunter3hunter3"]
        [webhooks.short]
        url = "https://a.b"
        secret = "hunter2"
    "#;
    let facts = other::facts(&table(text)).unwrap();
    assert_eq!(facts.notes, ["the file of `webhooks.filed.secret_file` is not looked for here"]);
    let all = |set: &std::collections::BTreeSet<String>| set.iter().cloned().collect::<Vec<_>>();
    assert_eq!(all(&facts.pds_hosts), ["*.pds.dev", "pds.dev:2583", "ws.dev"]);
    assert_eq!(all(&facts.handles), [".dev"]);
    assert_eq!(all(&facts.relays), ["relay.dev:2584"]);
    assert_eq!(facts.database.as_deref(), Some("postgres://db.dev:5432/almanac"));
    assert_eq!(
        facts.webhook_hosts.as_ref().map(all),
        Some(vec!["a.b".to_owned(), "hooks.dev".to_owned(), "hooks.dev:8443".to_owned()])
    );
    let names: Vec<_> = facts.fingerprints.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "admin_token",
            "webhook_secret.team",
            "webhook_secret.two",
            "webhook_secret.two",
            "webhook_url.hooks.dev",
            "webhook_url.hooks.dev:8443",
        ]
    );
    // What ends base64 makes no other key.
    let of = |name: &str| facts.fingerprints.iter().filter(|(n, _)| n == name).map(|(_, d)| d).collect::<Vec<_>>();
    assert!(of("webhook_secret.two").contains(&of("webhook_secret.team")[0]));
    assert_eq!(facts.too_short, ["webhook_secret.short"]);
    assert!(!format!("{facts:?}").contains("hunter2"));
}

#[test]
fn a_file_without_an_environment_is_refused() {
    assert!(other::facts(&table("network.plc = \"https://plc.directory\"")).unwrap_err().contains("--public"));
    assert!(other::facts(&table("environment = \"No Name\"")).is_err());
}

#[test]
fn what_is_printed_is_read_back_the_same() {
    for facts in [facts_of(OURS, ""), facts_of(THEIRS, "-isolation.crawlers\n-isolation.database")] {
        let printed = public(&facts).unwrap();
        assert_eq!(other::facts(&table(&printed)).unwrap(), facts, "{printed}");
    }
    let empty =
        Facts::new(Environment::parse("dev").unwrap(), crate::event::EnvironmentKind::Development, "https://p.test");
    assert_eq!(other::facts(&table(&public(&empty).unwrap())).unwrap(), empty);
}

#[test]
fn our_own_file_of_secrets_is_opened_and_theirs_is_not() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "# old\nwhsec_hunter2hunter2hunter2\n\n").unwrap();
    let text = format!("url = \"https://hooks.dev\"\nsecret_file = \"{}\"", file.path().display());
    for (of, secrets, notes) in [(Of::Us, 1, 0), (Of::Them, 0, 1)] {
        let mut facts = facts_of("environment = \"dev\"", "");
        facts.add_webhook_table("app", &table(&text), of);
        let found = facts.fingerprints.iter().filter(|(name, _)| name == "webhook_secret.app").count();
        assert_eq!((found, facts.notes.len()), (secrets, notes), "{of:?}");
    }
}
