//! The parameters of a query string, each read once and by name.

use chrono::{DateTime, Utc};
use url::form_urlencoded;

use super::xrpc::XrpcError;
use crate::projection::query::{Limit, Order};

/// The longest query string, in bytes as sent.
const QUERY_MAX_BYTES: usize = 16_000;

/// What was asked, checked against what may be asked.
#[derive(Debug)]
pub(super) struct Params {
    given: Vec<(&'static str, String)>,
}

impl Params {
    /// Reads a query string. `declared` are the names that the query's lexicon has.
    ///
    /// # Errors
    /// An undeclared name, a name given twice, text that is not UTF-8 or has a NUL, a query string that is too long.
    pub(super) fn parse(query: Option<&str>, declared: &'static [&'static str]) -> Result<Self, XrpcError> {
        let query = query.unwrap_or_default();
        if query.len() > QUERY_MAX_BYTES {
            return Err(XrpcError::invalid(format!("the query string is longer than {QUERY_MAX_BYTES} bytes")));
        }
        let mut given: Vec<(&'static str, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let Some(&name) = declared.iter().find(|&&d| d == name) else {
                let shown: String = name.chars().take(60).collect();
                let known = if declared.is_empty() { "none".to_owned() } else { declared.join(", ") };
                return Err(XrpcError::invalid(format!("unknown parameter {shown:?}; known: {known}")));
            };
            if given.iter().any(|(n, _)| *n == name) {
                return Err(XrpcError::invalid(format!("`{name}` is given more than once")));
            }
            if value.contains(['\0', char::REPLACEMENT_CHARACTER]) {
                return Err(XrpcError::invalid(format!("`{name}` is not UTF-8 text without NUL characters")));
            }
            given.push((name, value.into_owned()));
        }
        Ok(Params { given })
    }

    /// The value of `name`, if it was given.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.given.iter().find(|(n, _)| *n == name).map(|(_, value)| value.as_str())
    }

    /// A value that `read` understands.
    pub(super) fn read<T, E: Into<XrpcError>>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, XrpcError> {
        self.text(name).map(read).transpose().map_err(Into::into)
    }

    /// An instant in RFC 3339, with zone.
    pub(super) fn time(&self, name: &str) -> Result<Option<DateTime<Utc>>, XrpcError> {
        self.read(name, |text| match DateTime::parse_from_rfc3339(text) {
            Ok(time) => Ok(time.with_timezone(&Utc)),
            Err(_) => {
                // An unescaped `+02:00` arrives as ` 02:00`: the mistake is common and hard to see.
                let hint = if text.contains(' ') { " (write the `+` of a zone as `%2B`)" } else { "" };
                Err(XrpcError::invalid(format!(
                    "`{name}` must be a time with zone, such as `2026-11-22T18:00:00Z`{hint}"
                )))
            }
        })
    }

    /// `limit`: 1 to 100, 50 unless given.
    pub(super) fn limit(&self) -> Result<Limit, XrpcError> {
        let wrong = || XrpcError::invalid(format!("`limit` must be a whole number from 1 to {}", Limit::MAX));
        let limit = self.read("limit", |text| text.parse().ok().and_then(Limit::new).ok_or_else(wrong))?;
        Ok(limit.unwrap_or_default())
    }

    /// `order`: `asc` or `desc`.
    pub(super) fn order(&self) -> Result<Option<Order>, XrpcError> {
        self.read("order", |text| match text {
            "asc" => Ok(Order::Asc),
            "desc" => Ok(Order::Desc),
            _ => Err(XrpcError::invalid("`order` must be `asc` or `desc`")),
        })
    }

    /// `true` or `false`, `false` unless given.
    pub(super) fn flag(&self, name: &str) -> Result<bool, XrpcError> {
        let flag = self.read(name, |text| match text {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(XrpcError::invalid(format!("`{name}` must be `true` or `false`"))),
        })?;
        Ok(flag.unwrap_or(false))
    }
}
