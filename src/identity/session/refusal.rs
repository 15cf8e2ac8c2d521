//! What a host's refusal says of the tokens and of the account: the one table of this room.

use crate::event::Did;
use crate::identity::Account;
use crate::network::{HostError, HostErrorKind};

/// What a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// The token: another one may do. Nothing was carried out.
    Token,
    /// The account: no token does.
    Account,
    /// Something else: the call, or the host's own trouble.
    Other,
}

/// What a refusal of a call is about.
pub(super) fn about(error: &HostError) -> About {
    let HostErrorKind::Status { code, name, .. } = &error.kind else { return About::Other };
    match (code, name.as_deref().unwrap_or_default()) {
        (400 | 401, "ExpiredToken" | "InvalidToken") => About::Token,
        // Hosts with nothing more to say than that nobody is signed in.
        (401, "AuthMissing" | "AuthenticationRequired" | "AuthRequired" | "Unauthorized" | "") => About::Token,
        (400 | 401 | 403, "AccountTakedown" | "AccountDeactivated" | "AccountSuspended" | "AccountNotFound") => {
            About::Account
        }
        _ => About::Other,
    }
}

/// Whether a host that was given a password says no, rather than that it cannot answer now.
pub(super) fn refuses_password(error: &HostError) -> bool {
    matches!(&error.kind, HostErrorKind::Status { code: 400..=404, .. })
}

/// Why an account lets us in no more and what to do, in one line.
pub(super) fn advice(account: &Account, error: &HostError) -> String {
    let said = &error.detail;
    let Account { user_id, pds, .. } = account;
    match error.xrpc_name().unwrap_or_default() {
        "AccountTakedown" | "AccountSuspended" => {
            format!("{pds} has taken the account down ({said}); the PDS's operator can lift that")
        }
        "AccountDeactivated" => deactivated(account),
        "AccountNotFound" => {
            format!("{pds} has no such account any more ({said}); `almanac identity unlink` forgets it")
        }
        _ => format!(
            "{pds} refuses the password that is kept for user {user_id} ({said}); if the owner changed it, the account is \
             the owner's own by now: `almanac identity release`; else store the right one: `almanac identity import`"
        ),
    }
}

/// The same of one that its owner switched off.
pub(super) fn deactivated(account: &Account) -> String {
    format!("the account is deactivated on {}; its owner or the PDS's operator can activate it", account.pds)
}

/// The account of a row.
pub(super) fn did(account: &Account) -> Result<Did, super::ActError> {
    Did::parse(&account.did).map_err(|error| super::ActError::Ours(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_about_the_token_the_account_or_the_call() {
        let refusal = |code, name: &str| HostError {
            kind: HostErrorKind::Status { code, name: Some(name.into()), message: None },
            host: "pds.example".into(),
            detail: "".into(),
            not_before: None,
            never_sent: false,
        };
        for (code, name, wanted) in [
            (400, "ExpiredToken", About::Token),
            (401, "InvalidToken", About::Token),
            (401, "AuthMissing", About::Token),
            (401, "AccountTakedown", About::Account),
            (401, "AccountDeactivated", About::Account),
            (403, "AccountNotFound", About::Account),
            (400, "InvalidSwap", About::Other),
            (400, "InvalidRequest", About::Other),
            (403, "ScopeMissingError", About::Other),
            (500, "InvalidToken", About::Other),
        ] {
            assert_eq!(about(&refusal(code, name)), wanted, "{code} {name}");
        }
    }
}
