//! The executable over settings files: `doctor isolation` between environments, and that no secret is ever printed.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

/// Every secret of both environments holds it.
const SECRET: &str = "hunter2";
const JWT: &str = "hunter2-jwt-0123456789abcdef";
const MAIL: &str = "smtps://post:hunter2-mail-0123456789@smtp.example.org:465/";

const PRODUCTION: &str = r#"
environment = "production"
database_url = "postgres://almanac:hunter2-database@db.example.org/almanac"
[source]
relays = ["relay.example.org"]
[origin]
hosts = ["pds.example.org=production", "*.dev.example.org=dev"]
handles = [".pds.example.org=production", ".users.dev.example.org=dev"]
[pds]
env_file = "production.env"
[listen]
admin_token = "hunter2-admin-token-0123"
[webhooks.app]
url = "https://hooks.example.org/almanac?token=hunter2-0123456789"
secret = "whsec_hunter2aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
"#;

const DEV: &str = r#"
environment = "dev"
database_url = "postgres://almanac:hunter2-database@db.example.org/almanac_dev"
[source]
relays = ["relay.dev.example.org"]
[network]
plc = "https://plc.dev.example.org"
[origin]
hosts = ["pds.dev.example.org=dev", "pds.example.org=production"]
handles = [".users.dev.example.org=dev", ".pds.example.org=production"]
[pds]
env_file = "dev.env"
"#;

fn production_env() -> String {
    format!(
        "PDS_HOSTNAME=pds.example.org\nPDS_CRAWLERS=https://bsky.network\nPDS_JWT_SECRET={JWT}\n\
         PDS_ADMIN_PASSWORD=hunter2\nPDS_PLC_ROTATION_KEY_K256_PRIVATE_KEY_HEX=hunter2-rotation-aaaaaaaaaaaa\n\
         PDS_EMAIL_SMTP_URL={MAIL}\n"
    )
}

fn dev_env() -> String {
    "PDS_HOSTNAME=pds.dev.example.org\nPDS_SERVICE_HANDLE_DOMAINS=.users.dev.example.org\nPDS_CRAWLERS=\n\
     PDS_DID_PLC_URL=https://plc.dev.example.org\nPDS_JWT_SECRET=hunter2-jwt-of-dev-0123456789\n\
     PDS_ADMIN_PASSWORD=hunter2-password-of-dev\n"
        .to_owned()
}

/// A folder with both environments' files.
fn folder(dev: &str, dev_env: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("production.toml", PRODUCTION),
        ("production.env", &production_env()),
        ("dev.toml", dev),
        ("dev.env", dev_env),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// Runs it in the folder, with no settings but those of the arguments. What it prints holds no secret.
fn almanac(folder: &Path, args: &[&str]) -> (Output, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_almanac"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ALMANAC_")) {
        command.env_remove(name);
    }
    let output = command.args(args).current_dir(folder).output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!said.contains(SECRET), "almanac {args:?} prints a secret:\n{said}");
    (output, said)
}

/// Prints what an environment tells of itself into a file.
fn publish(folder: &Path, environment: &str) -> String {
    let (output, said) = almanac(folder, &["config", "show", "--public", "--config", &format!("{environment}.toml")]);
    assert!(output.status.success(), "{said}");
    std::fs::write(folder.join(format!("{environment}.public.toml")), &output.stdout).unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The report of one environment on the other, and the exit code.
fn doctor(folder: &Path, own: &str, other: &str) -> (Value, Option<i32>) {
    let args = ["doctor", "isolation", "--json", "--config", &format!("{own}.toml"), "--other", other];
    let (output, said) = almanac(folder, &args);
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {said}"));
    (report, output.status.code())
}

/// Names of the checks with this outcome.
fn of<'r>(report: &'r Value, level: &str) -> Vec<&'r str> {
    let checks = report["checks"].as_array().unwrap().iter().filter(|check| check["level"] == level);
    checks.map(|check| check["check"].as_str().unwrap()).collect()
}

#[test]
fn two_environments_apart_are_so_from_both_sides() {
    let folder = folder(DEV, &dev_env());
    publish(folder.path(), "production");
    publish(folder.path(), "dev");
    let (report, code) = doctor(folder.path(), "production", "dev.public.toml");
    assert_eq!((code, &report["isolated"], of(&report, "red").len()), (Some(0), &Value::Bool(true), 0), "{report:#}");
    assert_eq!((&report["environment"], &report["environment_kind"]), (&"production".into(), &"production".into()));
    // Production's admin password is too short to be compared.
    assert_eq!(of(&report, "yellow"), ["secrets"], "{report:#}");
    let (report, code) = doctor(folder.path(), "dev", "production.public.toml");
    assert_eq!((code, of(&report, "red").len(), of(&report, "yellow").len()), (Some(0), 0, 0), "{report:#}");

    let args = ["doctor", "isolation", "--config", "dev.toml", "--other", "production.public.toml"];
    let (output, said) = almanac(folder.path(), &args);
    assert!(output.status.success() && said.contains("dev (development): 0 red, 0 yellow, 14 green"), "{said}");
}

#[test]
fn a_dev_environment_copied_from_production_is_red_with_every_repair() {
    let dev = PRODUCTION
        .replace("environment = \"production\"", "environment = \"dev\"")
        .replace(
            "hosts = [\"pds.example.org=production\", \"*.dev.example.org=dev\"]",
            "hosts = [\"pds.example.org=dev\"]",
        )
        .replace("handles = [\".pds.example.org=production\", \".users.dev.example.org=dev\"]", "handles = []")
        .replace("production.env", "dev.env");
    let folder = folder(&dev, &production_env());
    publish(folder.path(), "production");
    publish(folder.path(), "dev");
    for (own, other) in [("production", "dev"), ("dev", "production")] {
        let (report, code) = doctor(folder.path(), own, &format!("{other}.public.toml"));
        assert_eq!(code, Some(1), "{report:#}");
        let mut red = of(&report, "red");
        red.sort_unstable();
        let shared = [
            "crawlers",
            "database",
            "declared_handles",
            "declared_hosts",
            "handles",
            "mail",
            "pds_hosts",
            "plc",
            "secrets",
            "webhooks",
        ];
        assert_eq!(red, shared, "{report:#}");
        assert_eq!(of(&report, "yellow"), ["relays"]);
        assert!(report["checks"].as_array().unwrap().iter().all(|c| (c["level"] == "green") == c["fix"].is_null()));
        // The worst stands above.
        assert_eq!(report["checks"][0]["level"], "red");
    }
    let args = ["doctor", "isolation", "--config", "production.toml", "--other", "dev.public.toml"];
    let (output, said) = almanac(folder.path(), &args);
    assert_eq!(output.status.code(), Some(1));
    // A narrow table breaks lines between words, so single words are looked for.
    for word in ["PDS_CRAWLERS", "database_url", "pds_jwt_secret", "plc.directory", "PDS_EMAIL_SMTP_URL"] {
        assert!(said.contains(word), "{word}: {said}");
    }
}

#[test]
fn the_public_file_holds_facts_and_fingerprints_and_is_a_settings_file() {
    let folder = folder(DEV, &dev_env());
    let text = publish(folder.path(), "production");
    let file: toml::Table = text.parse().unwrap();
    let isolation = &file["isolation"];
    assert_eq!(file["environment_kind"].as_str(), Some("production"));
    assert_eq!(isolation["pds_hosts"], toml::Value::from(vec!["pds.example.org"]));
    assert_eq!(isolation["crawlers"], toml::Value::from(vec!["bsky.network"]));
    assert_eq!(isolation["database"].as_str(), Some("postgres://db.example.org:5432/almanac"));
    assert_eq!(isolation["mail_hosts"], toml::Value::from(vec!["smtp.example.org:465"]));
    let names = isolation["fingerprints"].as_array().unwrap().iter().map(|entry| entry.as_str().unwrap());
    let names: Vec<_> = names.map(|entry| entry.split_once('=').unwrap().0).collect();
    // The admin password has seven letters: it gets none, and the operator is told so.
    let wanted = [
        "admin_token",
        "pds_jwt_secret",
        "pds_mail",
        "pds_plc_rotation_key",
        "webhook_secret.app",
        "webhook_url.hooks.example.org",
    ];
    assert_eq!(names, wanted);
    assert_eq!(isolation["webhook_hosts"], toml::Value::from(vec!["hooks.example.org"]));
    let (_, said) = almanac(folder.path(), &["config", "show", "--public", "--config", "production.toml"]);
    assert!(said.contains("no fingerprint of pds_admin_password: it has fewer than 16 characters"), "{said}");

    let (output, said) = almanac(folder.path(), &["config", "check", "--config", "production.public.toml"]);
    assert!(output.status.success(), "{said}");
    // Printed again from the public file alone it says the same.
    let args = ["config", "show", "--public", "--config", "production.public.toml"];
    let again = almanac(folder.path(), &args).0.stdout;
    assert_eq!(String::from_utf8(again).unwrap(), text);
}

#[test]
fn no_secret_is_printed_whatever_is_asked_and_wherever_it_stands() {
    let folder = folder(DEV, &dev_env());
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    // `almanac` looks at each output.
    for args in
        [&["config", "show"][..], &["config", "show", "--json"], &["config", "show", "--public"], &["config", "check"]]
    {
        for file in ["production.toml", "dev.toml"] {
            assert!(almanac(folder.path(), &[args, &["--config", file]].concat()).0.status.success());
        }
        for (i, broken) in [
            "environment = \"dev\"\ndatabase_url = postgres://u:hunter2@h/d",
            "environment = \"dev\"\ndatabase_url = \"postgres://u:hunter2@h:port/d\"",
            "environment = \"dev\"\nnetwork.plc = \"https://u:hunter2@plc.test\"",
            "environment = \"dev\"\nsource.pdses = [\"wss://u:hunter2@pds.test\"]",
            "environment = \"dev\"\nisolation.database = \"postgres://u:hunter2@h/d\"",
            "environment = \"dev\"\nisolation.crawlers = [\"https://u:hunter2@relay.test\"]",
            "environment = \"dev\"\nisolation.fingerprints = [\"pds_jwt_secret=hunter2\"]",
        ]
        .iter()
        .enumerate()
        {
            write("broken.toml", broken);
            let (output, said) = almanac(folder.path(), &[args, &["--config", "broken.toml"]].concat());
            assert_eq!(output.status.code(), Some(2), "{args:?}, broken file {i}: {said}");
        }
    }
    // Another's whole settings file, with its secrets, in both forms of the report.
    write(
        "whole.toml",
        "environment = \"staging\"\ndatabase_url = \"postgres://u:hunter2@db.example.org/almanac\"\n\
         listen.admin_token = \"hunter2-admin-token-0123\"\nhunter = 2\nisolation.crawlers = \"https://u:hunter2@x.test\"\n\
         [webhooks.team]\nurl = \"https://hooks.example.org/hunter2-0123456789\"\nsecret = \"whsec_hunter2-0123456789\"\n",
    );
    for json in [&["--json"][..], &[]] {
        let args = ["doctor", "isolation", "--config", "production.toml", "--other", "whole.toml", "dev.toml"];
        let (output, said) = almanac(folder.path(), &[&args[..], json].concat());
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("staging") && said.contains("isolation.crawlers"), "{said}");
    }
}

#[test]
fn files_that_cannot_be_used_are_named_with_what_to_do() {
    let folder = folder(DEV, &dev_env());
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let doctor =
        |other: &str| almanac(folder.path(), &["doctor", "isolation", "--config", "production.toml", "--other", other]);
    write("nameless.toml", "network.plc = \"https://plc.test\"");
    write("broken.toml", "environment = \"dev\"\nkey = hunter2\n");
    for (file, words) in [
        ("nowhere.toml", &["nowhere.toml"][..]),
        ("nameless.toml", &["nameless.toml", "config show --public"]),
        ("broken.toml", &["broken.toml", "line 2"]),
    ] {
        let (output, said) = doctor(file);
        assert_eq!(output.status.code(), Some(2), "{said}");
        words.iter().for_each(|word| assert!(said.contains(word), "{word}: {said}"));
    }
    write("production.env", "PDS_HOSTNAME=pds.example.org\nhunter2\n");
    let (output, said) = doctor("dev.toml");
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("production.env: line 2 is not NAME=VALUE"), "{said}");
    // Without anybody to compare with there is no answer.
    let (output, said) = almanac(folder.path(), &["doctor", "isolation", "--config", "production.toml"]);
    assert_eq!(output.status.code(), Some(2), "{said}");
}
