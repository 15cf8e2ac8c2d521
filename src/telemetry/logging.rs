//! Log lines: one format for people, one for machines, both on stderr.

use std::str::FromStr;

use tracing_subscriber::EnvFilter;

/// What log lines look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(format!("{text:?} is not a log format: use `text` or `json`")),
        }
    }
}

/// Without a filter of the operator's: our own lines from `info`, of the libraries only warnings.
const DEFAULT_FILTER: &str = "warn,almanac=info";

/// Sends this process's log lines to stderr from here on. `filter` is in the language of
/// [`EnvFilter`](https://docs.rs/tracing-subscriber/0.3/tracing_subscriber/filter/struct.EnvFilter.html), for example
/// `almanac=debug,sqlx=warn`.
///
/// # Errors
/// The filter is not valid, or the process already has a logger.
pub fn init_logging(format: LogFormat, filter: Option<&str>) -> Result<(), String> {
    let filter = filter.unwrap_or(DEFAULT_FILTER);
    let filter = EnvFilter::builder().parse(filter).map_err(|e| format!("log filter {filter:?} is not valid: {e}"))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let done = match format {
        LogFormat::Text => {
            lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).with_target(false).try_init()
        }
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).try_init(),
    };
    done.map_err(|e| format!("logging cannot be set up twice: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_filters_are_checked() {
        assert_eq!("json".parse(), Ok(LogFormat::Json));
        assert!("yaml".parse::<LogFormat>().unwrap_err().contains("yaml"));
        assert!(init_logging(LogFormat::Text, Some("almanac=shout")).unwrap_err().contains("almanac=shout"));
    }
}
