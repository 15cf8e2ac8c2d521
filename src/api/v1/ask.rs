//! What stands in the address and the headers of a request.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use sqlx::PgPool;
use utoipa::IntoParams;

use super::refusal::Refusal;
use crate::api::params::Params;
use crate::event::{AtUri, Cid, Did};
use crate::identity::{self, Account};

/// The longest name of a user or record, in characters.
const NAME_MAX: usize = 256;

/// The header that says who acts, when it is not the record's owner.
const ACTING_USER: &str = "acting-user";

/// Whose.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct UserPath {
    /// The app's name for the user: 1 to 256 visible characters, percent-encoded.
    pub user: String,
}

/// Which record.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct RecordPath {
    /// The app's name for the record's owner: 1 to 256 visible characters, percent-encoded.
    pub user: String,
    /// The app's own name for the record, with the same rules. The same user and name are the same record for ever.
    pub client_key: String,
}

/// Which thing of a user's, by number.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct NumberedPath {
    /// The app's name for the user: 1 to 256 visible characters, percent-encoded.
    pub user: String,
    /// Its number.
    pub id: i64,
}

/// Which intent.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct IntentPath {
    /// Its number.
    pub id: i64,
}

/// On what condition, and who asks.
#[derive(Debug, Default, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Header)]
pub(super) struct WriteHeaders {
    /// The version that was edited or looked at: its CID in double quotes. What others wrote since is merged, or a conflict.
    #[param(rename = "If-Match", value_type = Option<String>)]
    pub if_match: Option<String>,
    /// The app's name for the user who acts, percent-encoded; needed when he is not the owner. He needs a grant of the owner's.
    #[param(rename = "Acting-User", value_type = Option<String>)]
    pub acting_user: Option<String>,
}

/// What a put may say in its query.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct PutQuery {
    /// A record of the owner's that is there already and shall have this client key from now on.
    #[param(value_type = Option<String>, example = "at://did:plc:ewvi7nxzyoun6zhxrhs64oiz/community.lexicon.calendar.event/3l4z")]
    pub adopt: Option<AtUri>,
}

impl PutQuery {
    pub fn read(query: Option<&str>) -> Result<Self, Refusal> {
        Ok(PutQuery { adopt: uri(&Params::parse(query, &["adopt"])?, "adopt")? })
    }
}

/// A record's address among the parameters.
pub(super) fn uri(params: &Params, name: &'static str) -> Result<Option<AtUri>, Refusal> {
    let uri = params.text(name).map(str::parse::<AtUri>).transpose();
    uri.map_err(|e| Refusal::invalid(format!("`{name}`: {e}")))
}

impl<S: Send + Sync> FromRequestParts<S> for UserPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path(user) = path::<String, S>(parts, state).await?;
        Ok(UserPath { user: visible("user", user)? })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RecordPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path((user, client_key)) = path::<(String, String), S>(parts, state).await?;
        Ok(RecordPath { user: visible("user", user)?, client_key: visible("client_key", client_key)? })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NumberedPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path((user, id)) = path::<(String, String), S>(parts, state).await?;
        Ok(NumberedPath { user: visible("user", user)?, id: number(&id)? })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for IntentPath {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Path(id) = path::<String, S>(parts, state).await?;
        Ok(IntentPath { id: number(&id)? })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for WriteHeaders {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Refusal> {
        let if_match = header(parts, "if-match")?.map(version).transpose()?;
        let acting_user = header(parts, ACTING_USER)?.map(|text| visible("Acting-User", decode(text)?)).transpose()?;
        Ok(WriteHeaders { if_match, acting_user })
    }
}

async fn path<T, S>(parts: &mut Parts, state: &S) -> Result<Path<T>, Refusal>
where
    T: serde::de::DeserializeOwned + Send,
    S: Send + Sync,
{
    Path::from_request_parts(parts, state)
        .await
        .map_err(|e: PathRejection| Refusal::invalid(format!("the address cannot be read: {}", e.body_text())))
}

fn header<'a>(parts: &'a Parts, name: &'static str) -> Result<Option<&'a str>, Refusal> {
    let mut values = parts.headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::invalid(format!("the header {name} is given more than once")));
    }
    let text = value.to_str().map_err(|_| {
        Refusal::invalid(format!("the header {name} has other characters than ASCII's visible ones: percent-encode it"))
    })?;
    Ok(Some(text.trim()))
}

/// The CID in `If-Match: "CID"`; the quotes may be left out, as nothing else looks like one. `*`, lists and weak tags say
/// something else than which version was edited.
fn version(text: &str) -> Result<String, Refusal> {
    let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let cid = bare.parse::<Cid>().ok();
    let wanted = "If-Match must be the CID of one version in double quotes: If-Match: \"bafyrei…\"";
    cid.map(|cid| cid.to_string()).ok_or_else(|| Refusal::invalid(wanted))
}

fn number(text: &str) -> Result<i64, Refusal> {
    let plain = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| plain).ok_or_else(|| Refusal::invalid(format!("`id` is no number: {text:.40?}")))
}

fn visible(what: &str, text: String) -> Result<String, Refusal> {
    let seen = text.chars().count();
    if !(1..=NAME_MAX).contains(&seen) || text.chars().any(char::is_control) || text.trim().is_empty() {
        return Err(Refusal::invalid(format!("`{what}` must be 1 to {NAME_MAX} visible characters")));
    }
    Ok(text)
}

/// The link of a user, who must be one of ours.
pub(super) async fn account(pool: &PgPool, user: &str) -> Result<(Account, Did), Refusal> {
    let account = identity::of_user(pool, user).await?.ok_or_else(|| Refusal::no_user(user))?;
    let did = Did::parse(&account.did).expect("identity stores only what was parsed as a DID");
    Ok((account, did))
}

/// Takes percent-encoding away.
fn decode(text: &str) -> Result<String, Refusal> {
    let wrong = || Refusal::invalid("Acting-User is not percent-encoded UTF-8 text");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, tail @ ..] = rest else { return Err(wrong()) };
        let digit = |b: u8| char::from(b).to_digit(16).ok_or_else(wrong);
        bytes.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).map_err(|_| wrong())?);
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CID: &str = "bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a";

    #[test]
    fn a_version_is_one_cid_in_quotes() {
        assert_eq!(version(&format!("\"{CID}\"")).unwrap(), CID);
        assert_eq!(version(CID).unwrap(), CID, "nothing else looks like one");
        for odd in [format!("W/\"{CID}\""), format!("\"{CID}\", \"{CID}\""), "*".into(), "\"x\"".into()] {
            assert!(version(&odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn names_are_visible_and_short() {
        for good in ["a", "user-1", "anna@example.org", "Jörg Müller", &"x".repeat(256)] {
            assert_eq!(visible("user", good.to_owned()).unwrap(), good);
        }
        for odd in ["", " ", "a\0b", "a\nb", &"x".repeat(257)] {
            assert!(visible("user", odd.to_owned()).is_err(), "{odd:?}");
        }
    }

    #[test]
    fn what_is_percent_encoded_is_decoded_once() {
        assert_eq!(decode("a%20b%C3%A9%2541").unwrap(), "a bé%41");
        for odd in ["%", "%4", "%zz", "%ff"] {
            assert!(decode(odd).is_err(), "{odd}");
        }
    }
}
