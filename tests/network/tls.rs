//! Whom we trust over TLS: the web's authorities, and those that the operator adds.

use std::path::Path;
use std::sync::Arc;

use almanac::network::{HostErrorKind, Network, NetworkOptions};
use almanac::source::relay::ExtraCa;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::support::plc;

fn file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

/// Refuses every repository, over TLS.
async fn host() -> u16 {
    let certificates = vec![CertificateDer::from_pem_file(file("host.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(file("host.key")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut tls) = acceptor.accept(socket).await else { continue };
            let _ = tls.read(&mut [0; 4_096]).await;
            let body = r#"{"error":"RepoNotFound"}"#;
            let head = "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n";
            let _ = tls.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await;
            let _ = tls.shutdown().await;
        }
    });
    port
}

#[tokio::test]
async fn an_authority_of_the_operator_s_own_is_trusted_beside_the_web_s() {
    let port = host().await;
    let named = vec![format!("localhost:{port}").into()];
    let stranger = NetworkOptions { named, ..NetworkOptions::default() };
    let extra_roots = ExtraCa::load(&file("ca.pem")).unwrap().certificates().to_vec();
    let own = NetworkOptions { extra_roots, ..stranger.clone() };
    let url = format!("https://localhost:{port}");
    let error = Network::new(stranger).unwrap().latest_commit(&url, &plc(1)).await.unwrap_err();
    assert_eq!(error.kind, HostErrorKind::Unreachable, "{error}");
    assert!(error.detail.contains("certificate"), "{error}");
    let error = Network::new(own).unwrap().latest_commit(&url, &plc(1)).await.unwrap_err();
    assert_eq!(error.xrpc_name(), Some("RepoNotFound"), "{error}");
}
