//! From an address to an open websocket, with an error that says which step failed.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::USER_AGENT;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{Connector, MaybeTlsStream, WebSocketStream, client_async_tls_with_config};

use super::failure::{DisconnectReason, Failure};
use super::{RelayOptions, RelayUrl};
use crate::event::Seq;

pub(super) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens a websocket that resumes after `cursor`, within `connect_timeout`.
pub(super) async fn dial(
    url: &RelayUrl,
    cursor: Option<Seq>,
    options: &RelayOptions,
    tls: Arc<ClientConfig>,
    message_bytes_max: usize,
) -> Result<Socket, Failure> {
    let upgrade = async {
        let stream = connect(url, options).await?;
        let mut request = url.subscribe(cursor).into_client_request().map_err(Failure::websocket)?;
        let agent = HeaderValue::from_static(concat!("almanac/", env!("CARGO_PKG_VERSION")));
        request.headers_mut().insert(USER_AGENT, agent);
        let config = WebSocketConfig::default()
            .max_message_size(Some(message_bytes_max))
            .max_frame_size(Some(message_bytes_max));
        let connector = if url.is_tls() { Connector::Rustls(tls) } else { Connector::Plain };
        let (socket, _) = client_async_tls_with_config(request, stream, Some(config), Some(connector))
            .await
            .map_err(Failure::websocket)?;
        Ok(socket)
    };
    match timeout(options.connect_timeout, upgrade).await {
        Ok(dialled) => dialled,
        Err(_) => {
            let message = format!("no websocket within {:.0?}", options.connect_timeout);
            Err(Failure::new(DisconnectReason::Timeout, message))
        }
    }
}

/// Tries the host's addresses in turn. Each gets its share of the time, so that an unreachable IPv6 network does not
/// eat the time of the IPv4 address behind it.
async fn connect(url: &RelayUrl, options: &RelayOptions) -> Result<TcpStream, Failure> {
    let (host, port) = (url.host(), url.port());
    let addresses: Vec<SocketAddr> = lookup_host((host, port))
        .await
        .map_err(|error| Failure::new(DisconnectReason::Dns, format!("no address for {host}: {error}")))?
        .collect();
    let share = options.connect_timeout / u32::try_from(addresses.len() + 1).unwrap_or(u32::MAX);
    let mut failure = Failure::new(DisconnectReason::Dns, format!("no address for {host}"));
    for address in addresses {
        let why = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Only pings and the farewell are ever sent, each worth sending at once.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {share:.0?}"),
        };
        failure = Failure::new(DisconnectReason::Connect, format!("no connection to {address}: {why}"));
    }
    Err(failure)
}
