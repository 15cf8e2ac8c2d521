//! Where a database is, in a form that two environments can compare.

use std::path::Path;

use super::overlap::is_plain;
use crate::db::{DatabaseUrl, Target};

/// Stands for a machine of which nobody knows which one it is.
const SOME_MACHINE: &str = "localhost";

/// What two places of databases have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Same {
    /// They are apart.
    No,
    /// They are one if both are on the same machine.
    Perhaps,
    /// They are one.
    Yes,
}

/// Our own: `postgres://host:port/database`, or `private://machine/folder` for the one in a data directory.
pub(super) fn own(target: &Target) -> String {
    let machine = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
    let machine = machine.filter(|name| is_plain(name) && !name.contains('/')).unwrap_or_default().to_ascii_lowercase();
    let machine = if machine.is_empty() { SOME_MACHINE } else { &machine };
    match target {
        Target::Url(url) => at_url(url, machine),
        Target::Embedded { data_dir } => {
            let folder = data_dir.canonicalize().unwrap_or_else(|_| data_dir.clone());
            in_folder(&folder, machine)
        }
    }
}

/// That of a file that was written elsewhere, by its `database_url`.
pub(super) fn of_url(text: &str) -> Option<String> {
    let place = at_url(&text.parse().ok()?, SOME_MACHINE);
    is_plain(&place).then_some(place)
}

/// And by its `data_dir`.
pub(super) fn of_folder(text: &str) -> Option<String> {
    let place = in_folder(Path::new(text), SOME_MACHINE);
    is_plain(&place).then_some(place)
}

fn at_url(url: &DatabaseUrl, machine: &str) -> String {
    let (host, port, database) = url.place();
    let host = if matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1" | "[::1]") { machine } else { &host };
    format!("postgres://{host}:{port}/{database}")
}

fn in_folder(folder: &Path, machine: &str) -> String {
    format!("private://{machine}/{}", folder.display().to_string().trim_matches('/'))
}

/// Compares two of these.
pub(super) fn same(a: &str, b: &str) -> Same {
    if a == b {
        return if parts(a).1 == SOME_MACHINE { Same::Perhaps } else { Same::Yes };
    }
    let (a, b) = (parts(a), parts(b));
    let somewhere = a.1 == SOME_MACHINE || b.1 == SOME_MACHINE;
    if somewhere && a.0 == b.0 && a.2 == b.2 { Same::Perhaps } else { Same::No }
}

/// Scheme, machine, and the rest.
fn parts(place: &str) -> (&str, &str, &str) {
    let (scheme, rest) = place.split_once("://").unwrap_or(("", place));
    let (machine, rest) = rest.find([':', '/']).map_or((rest, ""), |at| rest.split_at(at));
    (scheme, machine, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_database_is_known_by_machine_port_and_name() {
        for (a, b, wanted) in [
            ("postgres://db.internal:5432/almanac", "postgres://db.internal:5432/almanac", Same::Yes),
            ("postgres://db.internal:5432/almanac", "postgres://db.internal:5432/almanac_dev", Same::No),
            ("postgres://db.internal:5432/almanac", "postgres://db.internal:5433/almanac", Same::No),
            ("postgres://db.internal:5432/almanac", "postgres://localhost:5432/almanac", Same::Perhaps),
            ("postgres://localhost:5432/almanac", "postgres://localhost:5432/almanac", Same::Perhaps),
            ("private://one/var/lib/almanac", "private://one/var/lib/almanac", Same::Yes),
            ("private://one/var/lib/almanac", "private://two/var/lib/almanac", Same::No),
            ("private://one/var/lib/almanac", "private://localhost/var/lib/almanac", Same::Perhaps),
            ("private://one/var/lib/almanac", "private://one/var/lib/almanac-dev", Same::No),
            ("private://one/var/lib/almanac", "postgres://one/var/lib/almanac", Same::No),
        ] {
            assert_eq!((same(a, b), same(b, a)), (wanted, wanted), "{a} {b}");
        }
    }

    #[test]
    fn a_place_holds_no_account() {
        let place = of_url("postgres://anna:hunter2@DB.internal/almanac?sslmode=require").unwrap();
        assert_eq!(place, "postgres://db.internal:5432/almanac");
        assert_eq!(of_url("postgres://anna:hunter2@[::1]:7/almanac").unwrap(), "postgres://localhost:7/almanac");
        assert_eq!(of_url("postgres:///almanac?host=/run/postgresql").unwrap(), "postgres://localhost:5432/almanac");
        assert_eq!((of_url("hunter2"), of_folder("/var/lib/\u{7}")), (None, None));
        let folder = own(&Target::Embedded { data_dir: "/nowhere/almanac".into() });
        assert!(folder.starts_with("private://") && folder.ends_with("/nowhere/almanac"), "{folder}");
    }
}
