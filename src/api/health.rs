//! Whether this process can do its work: a shared board on which each part of it reports.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// One line on the board.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What is checked.
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The board. A check that was announced counts as failing until it reports, so a process is not ready before every
/// part of it is.
#[derive(Debug)]
pub struct Health {
    checks: Mutex<BTreeMap<String, Result<(), String>>>,
}

impl Health {
    /// A board that waits for `checks`.
    pub fn new<'a>(checks: impl IntoIterator<Item = &'a str>) -> Self {
        let waiting = |name: &str| (name.to_owned(), Err("has not reported yet".to_owned()));
        Health { checks: Mutex::new(checks.into_iter().map(waiting).collect()) }
    }

    /// Reports: `Ok`, or what is wrong. A check that was not announced is added.
    pub fn set(&self, check: &str, result: Result<(), String>) {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        match checks.get_mut(check) {
            Some(known) => *known = result,
            None => drop(checks.insert(check.to_owned(), result)),
        }
    }

    /// Every check, by name.
    pub fn checks(&self) -> Vec<Check> {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks
            .iter()
            .map(|(name, result)| Check { name: name.clone(), ok: result.is_ok(), reason: result.clone().err() })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announced_check_fails_until_it_reports() {
        let health = Health::new(["log", "source"]);
        assert!(health.checks().iter().all(|c| !c.ok));
        health.set("log", Ok(()));
        health.set("source", Err("relay.test: refused".to_owned()));
        let checks = health.checks();
        assert!(checks[0].ok && !checks[1].ok);
        assert_eq!(checks[1].reason.as_deref(), Some("relay.test: refused"));
        health.set("source", Ok(()));
        assert!(health.checks().iter().all(|c| c.ok));
    }
}
