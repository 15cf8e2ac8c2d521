//! The token that opens the admin listener's writing side.

use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::api::xrpc::XrpcError;

/// The shortest token, in characters: what can be guessed protects nothing.
const CHARACTERS_MIN: usize = 16;

/// What an operator's machinery must show. Kept as a hash: it cannot be printed, and comparing two takes the same time wherever
/// they differ.
#[derive(Clone, PartialEq, Eq)]
pub struct AdminToken([u8; 32]);

impl AdminToken {
    /// Reads a token: 16 characters or more, of those that a `Bearer` header can carry
    /// ([RFC 6750](https://datatracker.ietf.org/doc/html/rfc6750#section-2.1)).
    ///
    /// # Errors
    /// What is wrong with it, without the token.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.chars().count() < CHARACTERS_MIN {
            return Err(format!(
                "is shorter than {CHARACTERS_MIN} characters; `openssl rand -hex 32` makes a good one"
            ));
        }
        let body = text.trim_end_matches('=');
        if body.is_empty() || !body.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b)) {
            return Err(
                "has characters that a Bearer header cannot carry: letters, digits and -._~+/ can be used, and \
                        = at the end"
                    .to_owned(),
            );
        }
        Ok(AdminToken(Sha256::digest(text).into()))
    }

    /// Whether this is the token. What differs are hashes: how far they agree tells nothing about the token.
    fn is(&self, given: &str) -> bool {
        let given: [u8; 32] = Sha256::digest(given).into();
        self.0.iter().zip(given).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
    }
}

impl fmt::Debug for AdminToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AdminToken(…)")
    }
}

/// Lets a request through that shows the token. Without a token in the settings none is let through.
pub(super) async fn guard(State(token): State<Option<Arc<AdminToken>>>, request: Request, next: Next) -> Response {
    let Some(token) = token else {
        return XrpcError::forbidden(
            "this address needs a token, and none is set: set listen.admin_token or listen.admin_token_file",
        )
        .into_response();
    };
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given =
        given.and_then(|value| value.split_once(' ')).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
    match given {
        Some((_, given)) if token.is(given.trim()) => next.run(request).await,
        Some(_) => XrpcError::unauthorized("this is not the token in listen.admin_token").into_response(),
        None => XrpcError::unauthorized("send the token as `Authorization: Bearer TOKEN`").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_was_set_and_nothing_near_it() {
        let token = AdminToken::parse("0123456789abcdef").unwrap();
        assert!(token.is("0123456789abcdef"));
        for other in ["", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef0", " 0123456789abcdef"] {
            assert!(!token.is(other), "{other:?}");
        }
        assert!(!format!("{token:?}").contains("0123"));
    }

    #[test]
    fn a_token_that_protects_nothing_or_cannot_be_sent_is_refused_without_being_told() {
        for odd in ["", "secret", "0123456789 abcdef", "0123456789abcdé0", "================", "0123456789ab\u{7f}cdef"]
        {
            let error = AdminToken::parse(odd).unwrap_err();
            assert!(odd.is_empty() || !error.contains(odd), "{error}");
        }
        assert!(AdminToken::parse("YWJjZGVmZ2hpamtsbW5vcA==").is_ok());
    }
}
