//! `almanac devnet serve` as its user meets it.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};

use serde_json::Value as Json;

use crate::client::{Subscriber, get_json};

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn almanac(args: &[&str]) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_almanac"));
    command.args(["devnet", "serve"]).args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
    Running(command.spawn().unwrap())
}

#[tokio::test]
async fn it_tells_where_it_is_and_lives() {
    let mut running = almanac(&["--json", "--seed", "5", "--accounts", "4", "--hosts", "2", "--traffic", "50"]);
    let mut line = String::new();
    BufReader::new(running.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let told: Json = serde_json::from_str(&line).unwrap();
    let (plc, relay) = (told["plc"].as_str().unwrap(), told["relay"].as_str().unwrap());
    let pdses = told["pdses"].as_array().unwrap();
    assert_eq!((&told["ready"], pdses.len()), (&true.into(), 2));
    let serve = told["serve"].as_str().unwrap();
    assert!(
        serve.contains(&format!("--relay {relay} --plc {plc} --allow-private --host-override '*.test=")),
        "{serve}"
    );
    let (_, page) = get_json(&format!("{}/xrpc/com.atproto.sync.listRepos", pdses[0].as_str().unwrap())).await;
    let did = page["repos"][0]["did"].as_str().unwrap();
    assert_eq!(get_json(&format!("{plc}/{did}")).await.1["id"], did);
    // Births, and then what happens.
    let mut subscriber = Subscriber::new(relay, Some(1_000)).await;
    assert!(subscriber.take(4 * 4 + 5).await.iter().map(|frame| frame.seq).eq(1_001..1_022));
}

#[test]
fn it_refuses_what_makes_no_sense() {
    let mut running = almanac(&["--traffic=-1"]);
    let mut said = String::new();
    running.0.stderr.as_mut().unwrap().read_to_string(&mut said).unwrap();
    assert!(!running.0.wait().unwrap().success());
    assert!(said.contains("--traffic"), "{said}");
}
