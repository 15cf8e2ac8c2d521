//! Invite codes of a PDS: minted and counted with its operator's rights.
//!
//! `available` of a code is what it was made for and never goes down: what is left is that, less its uses.
//!
//! <https://docs.bsky.app/docs/api/com-atproto-admin-get-invite-codes>

use secrecy::SecretString;
use serde::Serialize;
use serde_json::{Value, json};

use crate::network::{Call, HostError, HostErrorKind, Network, Rights};
use crate::telemetry::register_gauge;

const LEFT: &str = "almanac_pds_invite_uses_left";
/// Codes of a page: the most that the method allows.
const PAGE: &str = "500";
/// More pages are not read: what is wanted is how much is left, and that is enough then.
const PAGES_MAX: usize = 200;
/// The most codes, and the most uses of one, that are minted at once.
pub const MINT_MAX: u32 = 1_000;

/// A code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct InviteCode {
    /// The code itself: whoever has it can make an account.
    pub code: String,
    /// For how many accounts it was made.
    pub available: u64,
    /// How many were made with it.
    pub used: u64,
    /// It was switched off.
    pub disabled: bool,
    /// Whose it is: an account, or `admin`.
    pub for_account: String,
    /// When it was made, in the PDS's words.
    pub created_at: String,
}

impl InviteCode {
    /// For how many accounts it is good still.
    pub fn left(&self) -> u64 {
        if self.disabled { 0 } else { self.available.saturating_sub(self.used) }
    }

    fn read(value: &Value) -> Option<Self> {
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        Some(InviteCode {
            code: text("code")?,
            available: value["available"].as_u64().or_else(|| value["availableUses"].as_u64())?,
            used: value["uses"].as_array().map_or(0, |uses| uses.len() as u64),
            disabled: value["disabled"].as_bool().unwrap_or(false),
            for_account: text("forAccount").unwrap_or_default(),
            created_at: text("createdAt").unwrap_or_default(),
        })
    }
}

/// A PDS, and the right to run it.
#[derive(Clone, Copy, Debug)]
pub struct Operator<'a> {
    /// The way to it.
    pub network: &'a Network,
    /// Its address.
    pub pds: &'a str,
    /// Its admin password.
    pub password: &'a SecretString,
}

impl Operator<'_> {
    /// Mints `count` codes for `uses` accounts each, in the name of an account or of the operator. Both 1 to 1,000.
    ///
    /// # Errors
    /// [`HostError`].
    pub async fn mint(&self, count: u32, uses: u32, for_account: Option<&str>) -> Result<Vec<SecretString>, HostError> {
        let mut body = json!({ "codeCount": count, "useCount": uses });
        if let Some(account) = for_account {
            body["forAccounts"] = json!([account]);
        }
        let rights = Rights::Admin(self.password);
        let answer = self.network.act(Call::CreateInviteCodes, self.pds, rights, &[], Some(&body)).await?;
        let groups = answer["codes"].as_array().into_iter().flatten();
        let codes = groups.flat_map(|group| group["codes"].as_array().into_iter().flatten());
        let codes: Vec<SecretString> = codes.filter_map(|code| Some(code.as_str()?.into())).collect();
        if codes.is_empty() { Err(self.malformed("answers without a code")) } else { Ok(codes) }
    }

    /// Every code, the latest first.
    ///
    /// # Errors
    /// [`HostError`].
    pub async fn codes(&self) -> Result<Vec<InviteCode>, HostError> {
        let mut codes = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES_MAX {
            let mut query = vec![("sort", "recent"), ("limit", PAGE)];
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let rights = Rights::Admin(self.password);
            let answer = self.network.act(Call::InviteCodes, self.pds, rights, &query, None).await?;
            let page = answer["codes"].as_array().ok_or_else(|| self.malformed("answers without codes"))?;
            codes.extend(page.iter().filter_map(InviteCode::read));
            let next = answer["cursor"].as_str().filter(|next| Some(*next) != cursor.as_deref());
            match next {
                Some(next) if !page.is_empty() => cursor = Some(next.to_owned()),
                _ => break,
            }
        }
        Ok(codes)
    }

    fn malformed(&self, detail: &str) -> HostError {
        HostError {
            kind: HostErrorKind::Malformed,
            host: crate::network::authority(self.pds).unwrap_or_default(),
            detail: detail.into(),
            not_before: None,
            never_sent: false,
        }
    }
}

/// Describes the metric of this room. Nothing is known at first.
pub fn register_metrics() {
    register_gauge(LEFT, "Accounts that the PDS's invite codes are good for still; NaN while that is not known.", &[]);
    metrics::gauge!(LEFT).set(f64::NAN);
}

/// Puts into the gauge what is left; `None`: it is not known.
pub fn set_left(left: Option<u64>) {
    metrics::gauge!(LEFT).set(left.map_or(f64::NAN, |left| left as f64));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_what_was_made_less_what_was_used() {
        let left = |value: Value| InviteCode::read(&value).map(|code| code.left());
        let uses = json!([{ "usedBy": "did:plc:a", "usedAt": "2026-11-22T08:00:00.000Z" }]);
        assert_eq!(left(json!({ "code": "a-b", "available": 3, "uses": uses, "disabled": false })), Some(2));
        assert_eq!(left(json!({ "code": "a-b", "available": 1, "uses": uses, "disabled": false })), Some(0));
        assert_eq!(left(json!({ "code": "a-b", "available": 0, "uses": uses })), Some(0));
        assert_eq!(left(json!({ "code": "a-b", "available": 3, "uses": [], "disabled": true })), Some(0));
        assert_eq!(left(json!({ "available": 3 })), None);
    }
}
