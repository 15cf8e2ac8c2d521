use std::io::Write;

use super::*;
use crate::filter::DidRule;

fn read(
    file: &str,
    variables: &[(&str, &str)],
    flags: &[(&'static str, &'static str, &str)],
) -> Result<Layers, ConfigError> {
    let mut toml = tempfile::NamedTempFile::new().unwrap();
    toml.write_all(file.as_bytes()).unwrap();
    let variables: Vec<_> = variables.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
    Layers::read(Some(toml.path()), variables, flags.iter().map(|(k, f, v)| (*k, *f, vec![v.to_string()])))
}

#[track_caller]
fn refused(result: Result<impl std::fmt::Debug, ConfigError>, words: &[&str]) {
    let message = result.unwrap_err().to_string();
    for word in words {
        assert!(message.contains(word), "{message:?} does not say {word:?}");
    }
}

#[test]
fn later_layers_win_and_say_where_they_come_from() {
    let layers = read(
        "environment = 'staging'\n[filter]\ncollections = ['a.b.c']\ndids = 'allowlist'\nallow = ['did:plc:a']",
        &[("ALMANAC_ENVIRONMENT", "production"), ("ALMANAC_DENY", "did:plc:x, did:plc:y"), ("HOME", "/")],
        &[("environment", "environment", "dev")],
    )
    .unwrap();
    let settings = Settings::check(&layers).unwrap();
    let policy = settings.policy().unwrap();
    assert_eq!(settings.environment.as_str(), "dev");
    assert_eq!(policy.collections.names(), ["a.b.c"]);
    assert_eq!((policy.dids, policy.allowed.len(), policy.denied.len()), (DidRule::Allowlist, 1, 2));
    let source = |key: &str| layers.shown().into_iter().find(|s| s.key == key).unwrap().source;
    assert_eq!(source("environment"), "--environment");
    assert_eq!(source("filter.deny"), "$ALMANAC_DENY");
    assert!(source("filter.dids").ends_with(&tempfile_suffix(&source("filter.collections"))));
    assert_eq!(source("listen.public"), "default");
}

#[test]
fn an_allowlist_alone_shuts_everybody_else_out() {
    let rule = |variables: &[(&str, &str)]| {
        Settings::check(&read("", variables, &[]).unwrap()).unwrap().policy().unwrap().dids
    };
    assert_eq!(rule(&[]), DidRule::Network);
    assert_eq!(rule(&[("ALMANAC_ALLOW", "did:plc:a")]), DidRule::Allowlist);
    assert_eq!(rule(&[("ALMANAC_ALLOW", "did:plc:a"), ("ALMANAC_DIDS", "network")]), DidRule::Network);
}

fn tempfile_suffix(path: &str) -> String {
    path.rsplit('/').next().unwrap().to_owned()
}

#[test]
fn what_nobody_knows_is_refused_by_name() {
    refused(
        read("[filter]\ncolections = ['a.b.c']", &[], &[]),
        &["filter.colections", "did you mean `filter.collections`"],
    );
    refused(read("", &[("ALMANAC_ENVIROMENT", "x")], &[]), &["ALMANAC_ENVIROMENT", "ALMANAC_ENVIRONMENT"]);
    refused(read("environment = ['a']", &[], &[]), &["environment", "array"]);
    refused(read("environment = ", &[], &[]), &["not valid TOML"]);
    assert!(read("", &[("ALMANAC_PG_BIN", "/x")], &[]).is_ok());
}

#[test]
fn what_does_not_fit_is_refused_with_its_origin() {
    let check = |variable: &str, value: &str| Settings::check(&read("", &[(variable, value)], &[]).unwrap());
    refused(check("ALMANAC_ENVIRONMENT", "Prod!"), &["environment", "$ALMANAC_ENVIRONMENT", "Prod!"]);
    refused(check("ALMANAC_LISTEN", "8600"), &["listen.public", "127.0.0.1:8600"]);
    refused(check("ALMANAC_DIDS", "some"), &["filter.dids", "allowlist"]);
    refused(check("ALMANAC_COLLECTIONS", "calendar"), &["filter.collections", "calendar"]);
    refused(check("ALMANAC_RELAYS", "ftp://x"), &["source.relays", "ftp"]);
    refused(check("ALMANAC_ALLOW", "anna"), &["filter.allow", "anna"]);
    refused(check("ALMANAC_PURGE_AFTER", "30"), &["accounts.purge_after", "\"30\"", "30d"]);
}

#[test]
fn secrets_are_not_shown() {
    let layers = read("", &[("ALMANAC_DATABASE_URL", "postgres://u:hunter2@h/d")], &[]).unwrap();
    let settings = Settings::check(&layers).unwrap();
    assert!(!format!("{:?} {:?}", layers.shown(), settings).contains("hunter2"));
}

#[test]
fn the_admin_token_is_read_from_the_setting_or_a_file_and_never_shown() {
    let check = |set: &[(&str, &str)]| {
        let layers = read("", set, &[]).unwrap();
        let settings = Settings::check(&layers)?;
        let token = settings.admin_token()?;
        assert!(!format!("{:?} {settings:?} {token:?}", layers.shown()).contains("0123456789abcdef"));
        Ok(token)
    };
    let file = |text: &str| {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    };
    let set = check(&[("ALMANAC_ADMIN_TOKEN", "0123456789abcdef")]).unwrap();
    let held = file("0123456789abcdef\n");
    let path = held.path().to_str().unwrap();
    assert!(set.is_some());
    assert_eq!(check(&[("ALMANAC_ADMIN_TOKEN_FILE", path)]).unwrap(), set, "the line's end is no part of it");
    assert_eq!(check(&[]).unwrap(), None);
    let both = [("ALMANAC_ADMIN_TOKEN", "0123456789abcdef"), ("ALMANAC_ADMIN_TOKEN_FILE", path)];
    refused(check(&both), &["listen.admin_token", "one of them"]);
    let short = check(&[("ALMANAC_ADMIN_TOKEN", "hunter2")]);
    assert!(!short.as_ref().unwrap_err().to_string().contains("hunter2"));
    refused(short, &["listen.admin_token", "$ALMANAC_ADMIN_TOKEN", "16 characters"]);
    refused(check(&[("ALMANAC_ADMIN_TOKEN_FILE", "nowhere/token")]), &["listen.admin_token_file", "nowhere/token"]);
    let empty = file("\n");
    refused(check(&[("ALMANAC_ADMIN_TOKEN_FILE", empty.path().to_str().unwrap())]), &["listen.admin_token_file", "16"]);
}

#[test]
fn what_is_asked_of_hosts_is_read_and_checked() {
    let set = [
        ("ALMANAC_PLC", "http://localhost:2582"),
        ("ALMANAC_RELAYS", "relay.example,ws://localhost:2583"),
        ("ALMANAC_PDSES", "wss://pds.example:8443"),
        ("ALMANAC_ALLOW_PRIVATE", "true"),
        ("ALMANAC_HOST_OVERRIDES", "*.test=127.0.0.1:2583"),
        ("ALMANAC_DNS", "127.0.0.1:5353,::1"),
    ];
    let network = Settings::check(&read("", &set, &[]).unwrap()).unwrap().network;
    assert_eq!(network.plc.as_str(), "http://localhost:2582");
    assert_eq!(
        network.named.iter().map(|name| &**name).collect::<Vec<_>>(),
        ["relay.example", "localhost:2583", "pds.example:8443"]
    );
    assert_eq!((network.allow_private, network.host_overrides.len()), (true, 1));
    assert_eq!(network.dns, ["127.0.0.1:5353".parse().unwrap(), "[::1]:53".parse().unwrap()]);
    let network = Settings::check(&read("", &[], &[]).unwrap()).unwrap().network;
    assert_eq!((network.plc.as_str(), network.allow_private), ("https://plc.directory", false));
    assert_eq!(network.host, crate::network::NetworkOptions::default().host);
    for (variable, value, words) in [
        ("ALMANAC_PLC", "ftp://plc.example", ["network.plc", "https"]),
        ("ALMANAC_PLC", "https://u:hunter2@plc.example", ["network.plc", "user name"]),
        ("ALMANAC_PLC", "https://plc.example/did", ["network.plc", "path"]),
        ("ALMANAC_ALLOW_PRIVATE", "yes", ["network.allow_private", "true"]),
        ("ALMANAC_HOST_OVERRIDES", "test=127.0.0.1:1", ["network.host_overrides", "*.test=127.0.0.1:2583"]),
        ("ALMANAC_DNS", "dns.example", ["network.dns", "1.1.1.1"]),
        ("ALMANAC_HOST_CONCURRENCY", "0", ["network.host_concurrency", "1 to 1000"]),
        ("ALMANAC_HOST_REQUESTS_PER_SECOND", "NaN", ["network.host_requests_per_second", "0.01"]),
    ] {
        refused(Settings::check(&read("", &[(variable, value)], &[]).unwrap()), &words);
    }
}

#[test]
fn what_is_no_text_in_the_file_is_read_as_if_it_were() {
    let layers = read("[network]\nallow_private = true\n[backfill]\nworkers = 7", &[], &[]).unwrap();
    let settings = Settings::check(&layers).unwrap();
    assert!(settings.network.allow_private);
    assert_eq!(settings.backfill.workers, 7);
    refused(read("[backfill]\nworkers = 7.5", &[], &[]), &["backfill.workers", "float"]);
}
