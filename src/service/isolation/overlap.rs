//! How two declared hosts or handles relate.

use crate::filter::Places;

/// What two entries have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Overlap {
    /// Nothing.
    None,
    /// The first is a part of the second.
    Inside,
    /// The second is a part of the first.
    Around,
    /// All.
    Same,
}

/// A host entry as [`Places`] has it: `host`, `host:port` or `*.suffix`. `None` when it is no such entry.
pub(super) fn host(entry: &str) -> Option<String> {
    let places = Places::parse([format!("{entry}=x")], []).ok().filter(|_| is_plain(entry))?;
    places.hosts().next().map(|(name, _)| name)
}

/// A handle or suffix of handles the same way, a suffix with its dot: `.dev.example.org`.
pub(super) fn handle(entry: &str) -> Option<String> {
    let name = host(entry)?;
    Some(name.strip_prefix('*').map_or(name.clone(), str::to_owned))
}

/// Text that another environment wrote is shown only when it cannot do anything to a terminal.
pub(super) fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.len() <= 300 && text.bytes().all(|b| b.is_ascii_graphic() || b == b' ')
}

/// A name that an entry stands for.
pub(super) fn probe(entry: &str) -> String {
    match entry.strip_prefix("*.").or_else(|| entry.strip_prefix('.')) {
        Some(suffix) => format!("somebody.{suffix}"),
        None => entry.to_owned(),
    }
}

/// How two entries relate, both as [`host`] or [`handle`] gives them.
pub(super) fn overlap(a: &str, b: &str) -> Overlap {
    if a == b {
        return Overlap::Same;
    }
    match (covers(b, a), covers(a, b)) {
        (true, true) => Overlap::Same,
        (true, false) => Overlap::Inside,
        (false, true) => Overlap::Around,
        (false, false) => Overlap::None,
    }
}

fn covers(wide: &str, narrow: &str) -> bool {
    Places::parse([format!("{wide}=x")], []).is_ok_and(|places| places.host(&probe(narrow)).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_relate_as_ingest_matches_them() {
        for (a, b, wanted) in [
            ("pds.example.org", "pds.example.org", Overlap::Same),
            ("pds.example.org:8443", "pds.example.org", Overlap::Inside),
            ("*.example.org", "pds.example.org", Overlap::Around),
            (".dev.example.org", ".example.org", Overlap::Inside),
            (".example.org", "anna.example.org", Overlap::Around),
            (".dev.example.org", ".devexample.org", Overlap::None),
            ("pds.example.org", "pds.example.com", Overlap::None),
            ("127.0.0.1:2583", "127.0.0.1:2584", Overlap::None),
        ] {
            assert_eq!(overlap(a, b), wanted, "{a} {b}");
        }
    }

    #[test]
    fn entries_have_one_form() {
        assert_eq!(host("LOCALHOST:2583").as_deref(), Some("127.0.0.1:2583"));
        assert_eq!(host(".Dev.example.org").as_deref(), Some("*.dev.example.org"));
        assert_eq!(handle("*.dev.example.org").as_deref(), Some(".dev.example.org"));
        assert_eq!(handle("boss.example.org").as_deref(), Some("boss.example.org"));
        for none in ["", "*", "a b", "https://a.example", "a\u{1b}[31m.example", "u@a.example"] {
            assert_eq!(host(none), None, "{none:?}");
        }
    }
}
