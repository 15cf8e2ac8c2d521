//! Every setting there is.

/// What a setting holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One text.
    Text,
    /// A list of texts; in a variable or flag separated by commas.
    List,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name in the file, with dots for tables.
    pub name: &'static str,
    /// Its environment variable.
    pub variable: &'static str,
    /// Its form.
    pub form: Form,
    /// What it is when nobody says; commas separate a list. `None`: unset.
    pub default: Option<&'static str>,
    /// Whether its value is withheld from people.
    pub secret: bool,
    /// One line for people.
    pub help: &'static str,
}

const fn text(name: &'static str, variable: &'static str, default: Option<&'static str>, help: &'static str) -> Key {
    Key { name, variable, form: Form::Text, default, secret: false, help }
}

const fn list(name: &'static str, variable: &'static str, default: Option<&'static str>, help: &'static str) -> Key {
    Key { name, variable, form: Form::List, default, secret: false, help }
}

/// Every setting, in the order in which they are shown.
pub const KEYS: &[Key] = &[
    text("environment", "ALMANAC_ENVIRONMENT", Some("local"), "stamped on the database and on every event"),
    text(
        "environment_kind",
        "ALMANAC_ENVIRONMENT_KIND",
        None,
        "production or development; unset: production when the environment is called production or prod",
    ),
    text("data_dir", "ALMANAC_DATA_DIR", None, "where the private database, dumps and keys live"),
    Key {
        secret: true,
        ..text("database_url", "ALMANAC_DATABASE_URL", None, "postgres://…; without it Almanac runs a private Postgres")
    },
    text("log.format", "ALMANAC_LOG_FORMAT", Some("text"), "text or json, on stderr"),
    text("log.filter", "ALMANAC_LOG", None, "such as almanac=debug,sqlx=warn"),
    text("listen.public", "ALMANAC_LISTEN", Some("127.0.0.1:8600"), "address of the XRPC queries"),
    text("listen.admin", "ALMANAC_ADMIN_LISTEN", Some("127.0.0.1:8601"), "address of health and metrics"),
    Key {
        secret: true,
        ..text(
            "listen.admin_token",
            "ALMANAC_ADMIN_TOKEN",
            None,
            "opens /admin/origin to `Authorization: Bearer TOKEN`; without one it is closed",
        )
    },
    text("listen.admin_token_file", "ALMANAC_ADMIN_TOKEN_FILE", None, "file that holds that token, instead"),
    list("source.relays", "ALMANAC_RELAYS", None, "relays to follow: host, wss://host or ws://host:port"),
    list("source.pdses", "ALMANAC_PDSES", None, "PDSes to follow directly, the same way"),
    text("source.ca_file", "ALMANAC_CA_FILE", None, "PEM file of further certificate authorities to trust"),
    text(
        "verify.level",
        "ALMANAC_VERIFY",
        None,
        "how much of commits is checked: full, signature or none [serve: full; replay: full with documents, else none]",
    ),
    text(
        "verify.did_docs",
        "ALMANAC_DID_DOCS",
        None,
        "JSON file (or .zst) of DID to DID document: used instead of looking documents up",
    ),
    text("network.plc", "ALMANAC_PLC", Some("https://plc.directory"), "directory of did:plc"),
    text(
        "network.allow_private",
        "ALMANAC_ALLOW_PRIVATE",
        Some("false"),
        "true: hosts that accounts name may be at private addresses and without TLS (development)",
    ),
    list(
        "network.host_overrides",
        "ALMANAC_HOST_OVERRIDES",
        None,
        "where hosts under a suffix really are: *.test=127.0.0.1:2583 (development)",
    ),
    list("network.dns", "ALMANAC_DNS", None, "name servers, as IP or IP:port; unset: those of the system"),
    text("network.host_concurrency", "ALMANAC_HOST_CONCURRENCY", Some("4"), "requests at once to one host"),
    text(
        "network.host_requests_per_second",
        "ALMANAC_HOST_REQUESTS_PER_SECOND",
        Some("6"),
        "requests per second to one host in the long run; 200 seconds' worth may come at once",
    ),
    text(
        "network.did_document_hours",
        "ALMANAC_DID_DOCUMENT_HOURS",
        Some("24"),
        "how long a DID document is believed unless an event says it changed",
    ),
    text(
        "backfill.mode",
        "ALMANAC_BACKFILL",
        Some("auto"),
        "auto: fetch what no stream brings (first start, gaps, new accounts); off: only when asked",
    ),
    text("backfill.strategy", "ALMANAC_BACKFILL_STRATEGY", Some("auto"), "auto, sparse, car or list"),
    text("backfill.workers", "ALMANAC_BACKFILL_WORKERS", Some("24"), "repositories compared or fetched at once"),
    text("backfill.per_host", "ALMANAC_BACKFILL_PER_HOST", Some("4"), "of these, at once on one host"),
    text(
        "backfill.coverage_every",
        "ALMANAC_COVERAGE_EVERY",
        Some("6h"),
        "how often all accounts are compared with their hosts, such as 6h; off: never",
    ),
    text(
        "backfill.repo_bytes_max",
        "ALMANAC_REPO_BYTES_MAX",
        Some("2000000000"),
        "repositories larger than this many bytes are not fetched whole",
    ),
    text(
        "backfill.host_pause",
        "ALMANAC_HOST_PAUSE",
        Some("2s"),
        "how long a host is left alone after its first failure; each further one waits four times as long, up to 1h",
    ),
    list(
        "filter.collections",
        "ALMANAC_COLLECTIONS",
        Some("community.lexicon.calendar.event,community.lexicon.calendar.rsvp"),
        "collections to keep: names, or prefixes such as community.lexicon.calendar.*",
    ),
    text(
        "filter.dids",
        "ALMANAC_DIDS",
        None,
        "network (everybody but the denied) or allowlist; unset: allowlist when one is given, else network",
    ),
    list("filter.allow", "ALMANAC_ALLOW", None, "allowlist: DIDs"),
    text(
        "filter.allow_file",
        "ALMANAC_ALLOW_FILE",
        None,
        "allowlist: file of one DID a line, read again when it changes",
    ),
    list("filter.deny", "ALMANAC_DENY", None, "deny list: DIDs"),
    text(
        "filter.deny_file",
        "ALMANAC_DENY_FILE",
        None,
        "deny list: file of one DID a line, read again when it changes",
    ),
    list(
        "origin.hosts",
        "ALMANAC_ORIGIN_HOSTS",
        None,
        "which environment a relay, PDS or directory belongs to: HOST=ENVIRONMENT, such as *.dev.example.org=dev",
    ),
    list(
        "origin.handles",
        "ALMANAC_ORIGIN_HANDLES",
        None,
        "which environment handles belong to: SUFFIX=ENVIRONMENT, such as .dev.example.org=dev",
    ),
    text(
        "pds.env_file",
        "ALMANAC_PDS_ENV_FILE",
        None,
        "env file of this environment's PDS (pds.env), for `doctor isolation` and `config show --public`",
    ),
    text(
        "pds.url",
        "ALMANAC_PDS_URL",
        None,
        "the PDS on which `identity create` makes accounts: https://pds.example.org",
    ),
    Key {
        secret: true,
        ..text("pds.admin_password", "ALMANAC_PDS_ADMIN_PASSWORD", None, "its admin password, to mint invite codes")
    },
    text("pds.admin_password_file", "ALMANAC_PDS_ADMIN_PASSWORD_FILE", None, "file that holds that password, instead"),
    Key {
        secret: true,
        ..text(
            "pds.invite_code",
            "ALMANAC_PDS_INVITE_CODE",
            None,
            "an invite code for all new accounts; unset: one is minted for each",
        )
    },
    text(
        "pds.handle_domain",
        "ALMANAC_PDS_HANDLE_DOMAIN",
        None,
        "what new accounts' handles end in, such as .users.example.org; unset: what the PDS names first",
    ),
    Key {
        secret: true,
        ..list(
            "identity.keys",
            "ALMANAC_IDENTITY_KEYS",
            None,
            "keys that seal our users' credentials: ID=BASE64 of 32 bytes; the first seals, all open",
        )
    },
    list("identity.key_files", "ALMANAC_IDENTITY_KEY_FILES", None, "the same from files: ID=FILE; after identity.keys"),
    text(
        "publish.wait",
        "ALMANAC_PUBLISH_WAIT",
        Some("10s"),
        "how long an app waits for the PDS before it is told that its wish is safe and goes on",
    ),
    text(
        "publish.retry_first",
        "ALMANAC_PUBLISH_RETRY_FIRST",
        Some("1s"),
        "the pause after a write's first failure; it doubles",
    ),
    text("publish.retry_max", "ALMANAC_PUBLISH_RETRY_MAX", Some("5m"), "the longest pause between attempts"),
    text(
        "publish.unseen_after",
        "ALMANAC_PUBLISH_UNSEEN_AFTER",
        Some("60s"),
        "when a write that the PDS took and our stream does not show is told",
    ),
    text(
        "publish.points_per_hour",
        "ALMANAC_PUBLISH_POINTS_PER_HOUR",
        Some("5000"),
        "an account's budget: create 3, put 2, delete 1",
    ),
    text("publish.points_per_day", "ALMANAC_PUBLISH_POINTS_PER_DAY", Some("35000"), "the same in a day"),
    text("publish.workers", "ALMANAC_PUBLISH_WORKERS", Some("8"), "writes at once"),
    list("isolation.pds_hosts", "ALMANAC_ISOLATION_PDS_HOSTS", None, "further PDSes of this environment, by host"),
    list(
        "isolation.handle_domains",
        "ALMANAC_ISOLATION_HANDLE_DOMAINS",
        None,
        "further suffixes of its accounts' handles, such as .dev.example.org",
    ),
    list(
        "isolation.crawlers",
        "ALMANAC_ISOLATION_CRAWLERS",
        None,
        "relays that its PDSes ask to crawl them, where pds.env_file is not at hand",
    ),
    text("isolation.plc", "ALMANAC_ISOLATION_PLC", None, "directory to which its PDSes write, the same"),
    text(
        "isolation.database",
        "ALMANAC_ISOLATION_DATABASE",
        None,
        "what others are told of where the database is; unset: host, port and name, or machine and data directory",
    ),
    list(
        "isolation.webhook_hosts",
        "ALMANAC_ISOLATION_WEBHOOK_HOSTS",
        None,
        "further hosts that are told of what happens in it",
    ),
    list("isolation.mail_hosts", "ALMANAC_ISOLATION_MAIL_HOSTS", None, "further hosts through which it sends mail"),
    list(
        "isolation.fingerprints",
        "ALMANAC_ISOLATION_FINGERPRINTS",
        None,
        "fingerprints of further secrets, NAME=16 hex digits, as `config show --public` prints them",
    ),
    text(
        "quarantine.keep",
        "ALMANAC_QUARANTINE_KEEP",
        Some("30d"),
        "how long refused records are kept for people to look at: a number and d, h, m or s",
    ),
    text(
        "quarantine.bytes_max",
        "ALMANAC_QUARANTINE_BYTES_MAX",
        Some("1000000000"),
        "beyond this many bytes the oldest refused records go",
    ),
    text(
        "effects.retry_first",
        "ALMANAC_RETRY_FIRST",
        Some("5s"),
        "how long after its first failure a webhook is sent again; the later pauses grow with it, from 5s to about a day in all",
    ),
    text(
        "effects.attempts_max",
        "ALMANAC_ATTEMPTS_MAX",
        Some("10"),
        "how often a webhook is sent before it is a dead letter, 1 to 10",
    ),
    text(
        "accounts.purge_after",
        "ALMANAC_PURGE_AFTER",
        Some("30d"),
        "how long after an account was deleted its records leave the log: a number and d, h, m or s",
    ),
];

/// Variables under our prefix that are read elsewhere: where the Postgres binaries are, and what tests are told.
pub(super) const OTHER_VARIABLES: &[&str] = &[
    "ALMANAC_CONFIG",
    "ALMANAC_CRASH_AT",
    "ALMANAC_PG_BIN",
    "ALMANAC_TEST_CACHE",
    "ALMANAC_VECTORS",
    "ALMANAC_REQUIRE_VECTORS",
    "ALMANAC_BENCH_FULL",
];
