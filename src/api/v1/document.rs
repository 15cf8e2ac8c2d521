//! The description of these addresses for programs: OpenAPI 3.1, made from the handlers and the types of their answers.

use axum::Json;
use axum::response::{IntoResponse, Response};
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use super::{grants, intents, record, users, write};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Almanac",
        description = "Publishes calendar events and RSVPs to the PDSes of an app's users. A request answers when the record is \
            on the PDS, or when it is safe here and will get there; the same request again is the same wish. The user in the \
            path is the record's owner; the app has authenticated whoever acts.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0"),
    ),
    tags(
        (name = "publish", description = "Write and delete. Scope `publish`."),
        (name = "records", description = "What was written, and how far it is. Scope `read`."),
        (name = "users", description = "Users and how acting for them goes. Scope `read`."),
        (name = "grants", description = "Who may write in another's name, and who did. Scope `grants`."),
        (name = "document", description = "This document. No token."),
    ),
    security(("token" = [])),
    modifiers(&Token),
    paths(
        serve,
        users::get_user,
        record::list_events,
        write::put_event,
        write::delete_event,
        record::get_event,
        record::list_rsvps,
        write::put_rsvp,
        write::delete_rsvp,
        record::get_rsvp,
        grants::list_grants,
        grants::create_grant,
        grants::revoke_grant,
        grants::list_audit,
        intents::get_intent,
    ),
)]
struct Api;

struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut Document) {
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("As `almanac tokens create` prints it."))
            .build();
        document.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(scheme));
    }
}

/// The document.
pub fn openapi() -> serde_json::Value {
    serde_json::to_value(Api::openapi()).expect("a document has no keys but text")
}

/// This document.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "document", security(()), responses(
    (status = 200, description = "OpenAPI 3.1", content_type = "application/json"),
))]
pub(super) async fn serve() -> Response {
    Json(openapi()).into_response()
}
