//! Where an account lives, as people write it.

use url::Url;

/// Reads the endpoint of a PDS: scheme and host, nothing behind it.
///
/// # Errors
/// What is wrong with it, and what would fit.
pub fn endpoint(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is not the endpoint of a PDS; write it like https://pds.example.org");
    let url = Url::parse(text).map_err(|_| wrong())?;
    let plain = matches!(url.scheme(), "http" | "https") && url.path() == "/" && url.query().is_none();
    if !plain || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(wrong());
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::endpoint;

    #[test]
    fn an_endpoint_is_a_host_and_nothing_behind_it() {
        assert_eq!(endpoint("https://PDS.example.org/"), Ok("https://pds.example.org".to_owned()));
        assert_eq!(endpoint("http://127.0.0.1:2583"), Ok("http://127.0.0.1:2583".to_owned()));
        for odd in ["pds.example.org", "ws://pds.example.org", "https://a.example/xrpc", "https://u@a.example", ""] {
            assert!(endpoint(odd).is_err(), "{odd}");
        }
    }
}
