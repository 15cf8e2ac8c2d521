//! Where accounts are looked up: a PLC directory, the hosts of did:web accounts and of handles, all one server on loopback.
//! PDSes are not there: whoever asks one is told to come again.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use tokio::net::TcpListener;

use super::network::Documents;

/// The server. Dropped: gone.
pub struct Directory {
    /// `127.0.0.1:PORT`.
    pub authority: String,
    serving: tokio::task::JoinHandle<()>,
}

impl Directory {
    /// Serves `documents`.
    pub async fn start(documents: Documents) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let authority = listener.local_addr().expect("it is bound").to_string();
        let router = axum::Router::new().fallback(answer).with_state(Arc::new(documents));
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("loopback stays");
        });
        Directory { authority, serving }
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(State(documents): State<Arc<Documents>>, uri: Uri, headers: HeaderMap) -> (StatusCode, String) {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    let found = match uri.path() {
        "/.well-known/did.json" => documents.by_did.get(&format!("did:web:{host}")),
        "/.well-known/atproto-did" => documents.by_handle.get(host),
        path if path.starts_with("/xrpc/") => return (StatusCode::SERVICE_UNAVAILABLE, String::new()),
        path => documents.by_did.get(&path[1..].replace("%3A", ":")),
    };
    match found {
        Some(text) => (StatusCode::OK, text.clone()),
        None => (StatusCode::NOT_FOUND, String::new()),
    }
}
