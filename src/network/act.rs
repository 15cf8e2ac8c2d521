//! Calls with rights: those of an account, by its token, or those of a host's operator, by the admin password.
//!
//! Each goes once to the host that it is for. Whether one that got no answer was carried out is not known; the error says
//! when it certainly was not ([`HostError::never_sent`]). A token never stands in an error.
//!
//! <https://atproto.com/specs/xrpc#authentication>

use data_encoding::BASE64;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::xrpc::{ask, read_json};
use super::{Call, HostError, Network};

/// In whose name something is asked.
#[derive(Clone, Copy, Debug)]
pub enum Rights<'a> {
    /// Nobody's.
    None,
    /// An account's: an access or refresh token.
    Token(&'a SecretString),
    /// Those of the host's operator: its admin password.
    Admin(&'a SecretString),
}

impl Network {
    /// Asks once. `body` is sent by procedures only ([`Call::is_procedure`]); an answer without content is an empty object.
    ///
    /// # Errors
    /// [`HostError`]. Its kind [`Status`](super::HostErrorKind::Status) has the XRPC error's name.
    pub async fn act(
        &self,
        call: Call,
        endpoint: &str,
        rights: Rights<'_>,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value, HostError> {
        let never_sent = |error: HostError| HostError { never_sent: true, ..error };
        let ask = ask(call, endpoint, query).map_err(never_sent)?;
        let authorization = match rights {
            Rights::None => None,
            Rights::Token(token) => Some(format!("Bearer {}", token.expose_secret())),
            Rights::Admin(password) => {
                Some(format!("Basic {}", BASE64.encode(format!("admin:{}", password.expose_secret()).as_bytes())))
            }
        };
        let authorization = authorization.map(|text| {
            let mut value = reqwest::header::HeaderValue::from_str(&text).unwrap_or(UNSENDABLE);
            value.set_sensitive(true);
            value
        });
        let body = body.map(Value::to_string);
        let answer = self
            .inner
            .http
            .act(ask, |client, url| {
                let mut request = match call.is_procedure() {
                    true => client.post(url.clone()),
                    false => client.get(url.clone()),
                };
                if let Some(value) = &authorization {
                    request = request.header(reqwest::header::AUTHORIZATION, value);
                }
                if let Some(body) = &body {
                    request = request.header(reqwest::header::CONTENT_TYPE, "application/json").body(body.clone());
                }
                request
            })
            .await?;
        if answer.body.is_empty() {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        Ok(read_json(call, answer)?.value)
    }
}

/// In place of a token that no header can carry: the host refuses it in its own words.
const UNSENDABLE: reqwest::header::HeaderValue = reqwest::header::HeaderValue::from_static("Bearer unsendable");
