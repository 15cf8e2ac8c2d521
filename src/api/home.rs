//! The page at `/`: what is here, with examples to try.

use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{Html, IntoResponse, Response};

use super::state::PublicState;

/// Address, and what it answers.
const EXAMPLES: [(&str, &str); 7] = [
    ("/xrpc/events.almanac.listEvents", "Events, the earliest start first."),
    ("/xrpc/events.almanac.listEvents?q=rust%20or%20music&mode=inperson&limit=10", "Found by words, held in person."),
    (
        "/xrpc/events.almanac.listEvents?startsAfter=2026-01-01T00:00:00Z&startsBefore=2026-02-01T00:00:00Z",
        "Those that start in one month.",
    ),
    ("/xrpc/events.almanac.getEvent?uri=at://DID/community.lexicon.calendar.event/KEY", "One event with its counts."),
    (
        "/xrpc/events.almanac.listRsvps?subject=at://DID/community.lexicon.calendar.event/KEY&status=going",
        "Who answered to an event.",
    ),
    ("/xrpc/events.almanac.getStatus", "How far this index is."),
    ("/v1/openapi.json", "What apps with a token can publish in their users' names."),
];

pub(super) async fn home(State(state): State<PublicState>, headers: HeaderMap) -> Response {
    let environment = state.environment.as_str();
    let title = format!("Almanac: calendar events of the AT Protocol network (environment {environment})");
    let html = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).is_some_and(|v| v.contains("text/html"));
    if !html {
        let lines: String = EXAMPLES.iter().map(|(address, what)| format!("{what}\n  {address}\n")).collect();
        return format!("{title}\n\n{lines}").into_response();
    }
    let items: String = EXAMPLES
        .iter()
        .map(|(address, what)| {
            let address = address.replace('&', "&amp;");
            format!("<dt>{what}</dt><dd><a href=\"{address}\"><code>{address}</code></a></dd>\n")
        })
        .collect();
    Html(format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>Almanac</title></head>\n\
         <body><h1>Almanac</h1><p>{title}</p>\n<dl>\n{items}</dl></body></html>\n"
    ))
    .into_response()
}
