//! `record` against a scripted host.

use std::path::Path;
use std::time::Duration;

use ciborium::{Value, cbor};
use futures_util::SinkExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use super::{RecordArgs, parse_duration, run};
use crate::event::Environment;
use crate::source::dump::DumpReader;

#[test]
fn lengths_of_time_are_read_as_people_write_them() {
    for (text, seconds) in [("90", 90), ("90s", 90), ("10m", 600), ("2h", 7200), ("1d", 86_400)] {
        assert_eq!(parse_duration(text).unwrap().as_secs(), seconds, "{text}");
    }
    for bad in ["", "m", "0s", "-1s", "1.5h", "10w", "99999999999999999999d", "9999999999d"] {
        assert!(parse_duration(bad).is_err(), "{bad}");
    }
}

/// Two CBOR values behind each other.
fn frame(header: Value, body: Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    ciborium::into_writer(&header, &mut bytes).unwrap();
    ciborium::into_writer(&body, &mut bytes).unwrap();
    bytes
}

fn identity(seq: i64) -> Vec<u8> {
    frame(
        cbor!({"t" => "#identity", "op" => 1}).unwrap(),
        cbor!({"did" => "did:plc:ewvi7nxzyoun6zhxrhs64oiz", "seq" => seq, "time" => "2026-01-01T00:00:00.000Z"})
            .unwrap(),
    )
}

/// Takes one connection and what it asked for.
async fn accept(host: &TcpListener) -> (WebSocketStream<TcpStream>, Option<String>) {
    let mut query = None;
    #[allow(clippy::result_large_err)] // The shape that the library asks for.
    let note = |request: &Request, response: Response| {
        query = request.uri().query().map(str::to_owned);
        Ok(response)
    };
    let (stream, _) = host.accept().await.unwrap();
    let socket = tokio_tungstenite::accept_hdr_async(stream, note).await.unwrap();
    (socket, query)
}

fn args(out: &Path, host: &TcpListener) -> RecordArgs {
    let relay = format!("ws://{}", host.local_addr().unwrap()).parse().unwrap();
    RecordArgs {
        out: out.to_owned(),
        relays: vec![relay],
        cursor: None,
        max_frames: None,
        duration: None,
        ca_file: None,
        json: true,
    }
}

fn frames(path: &Path) -> Vec<Vec<u8>> {
    DumpReader::open(path).unwrap().map(|frame| frame.unwrap().frame.to_vec()).collect()
}

/// How many frames a file holds that is still being written.
fn readable(path: &Path) -> usize {
    DumpReader::open(path).map_or(0, |reader| reader.filter(Result::is_ok).count())
}

#[tokio::test]
async fn a_recording_goes_on_behind_what_it_has_and_stops_when_it_has_enough() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a.mcap");
    let host = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let args = RecordArgs { max_frames: Some(5), ..args(&out, &host) };
    let recording = tokio::spawn(run(args, Some(Environment::parse("dev").unwrap()), &[]));
    let (mut socket, query) = accept(&host).await;
    assert_eq!(query, None);
    // The third is none that decode takes; it is kept, and moves no cursor.
    let sent = [identity(7), identity(9), b"junk".to_vec(), identity(12), identity(13), identity(14)];
    for frame in &sent[..3] {
        socket.send(Message::binary(frame.clone())).await.unwrap();
    }
    // What can be read from the file has moved the cursor.
    while readable(&out) < 3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    socket.close(None).await.unwrap();
    let (mut socket, query) = accept(&host).await;
    assert_eq!(query.as_deref(), Some("cursor=9"));
    for frame in &sent[3..] {
        socket.send(Message::binary(frame.clone())).await.unwrap();
    }
    recording.await.unwrap().unwrap();
    assert_eq!(frames(&out), sent[..5]);
    assert_eq!(DumpReader::open(&out).unwrap().info().environment.as_ref().unwrap().as_str(), "dev");
}

#[tokio::test]
async fn a_host_that_calls_the_cursor_a_future_one_ends_the_recording() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a.mcap");
    let host = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let recording = tokio::spawn(run(RecordArgs { cursor: Some(99), ..args(&out, &host) }, None, &[]));
    let (mut socket, query) = accept(&host).await;
    assert_eq!(query.as_deref(), Some("cursor=99"));
    let refusal = frame(
        cbor!({"op" => -1}).unwrap(),
        cbor!({"error" => "FutureCursor", "message" => "Cursor in the future."}).unwrap(),
    );
    socket.send(Message::binary(refusal.clone())).await.unwrap();
    let error = recording.await.unwrap().unwrap_err().to_string();
    assert!(error.contains("ended its stream"), "{error}");
    assert_eq!(frames(&out), [refusal]);
}

#[tokio::test]
async fn what_cannot_be_recorded_is_refused_before_a_file_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("a.mcap");
    let host = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let check = async |args: RecordArgs, said: &str| {
        let error = run(args, None, &[]).await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
        assert!(!out.exists());
    };
    check(RecordArgs { relays: Vec::new(), ..args(&out, &host) }, "--relay").await;
    let two = vec!["ws://a".parse().unwrap(), "ws://b".parse().unwrap()];
    check(RecordArgs { relays: two, cursor: Some(5), ..args(&out, &host) }, "one host").await;
    check(RecordArgs { ca_file: Some(dir.path().join("ca.pem")), ..args(&out, &host) }, "ca.pem").await;
}
