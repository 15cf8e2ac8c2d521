//! Handles lead to DIDs by DNS and by web, and only those that lead back count.

use almanac::event::{Did, DidDocument, Handle};
use almanac::network::{HostErrorKind, HostOverride, Network, NetworkOptions};
use serde_json::json;

use crate::support::{Host, NameServer, Says, Seen, answer, json_answer, options, plc, with_header};

fn handle(text: &str) -> Handle {
    Handle::parse(text).unwrap()
}

fn claims(did: &Did, name: &str) -> DidDocument {
    DidDocument { did: did.clone(), handle: Some(handle(name)), key: None, pds: None }
}

fn text(did: &Did) -> String {
    format!("did={did}")
}

/// A network with this name server, in which handles under `.web.test` are served by `host`.
fn with(names: &NameServer, host: Option<&Host>) -> Network {
    let placed = host.map(|host| HostOverride::parse(&format!("*.web.test={}", host.address)).unwrap());
    let options =
        NetworkOptions { dns: vec![names.address], host_overrides: placed.into_iter().collect(), ..options(&[]) };
    Network::new(options).unwrap()
}

#[tokio::test]
async fn a_txt_record_that_leads_back() {
    let (anna, eve) = (plc(1), plc(2));
    let names = NameServer::start([
        ("_atproto.anna.com", Says::Texts(vec!["v=spf1 -all".to_owned(), text(&anna)])),
        ("_atproto.both.com", Says::Texts(vec![text(&anna), text(&eve)])),
    ])
    .await;
    let network = with(&names, None);
    assert_eq!(network.resolve_handle(&handle("anna.com")).await, Ok(Some(anna.clone())));
    assert_eq!(network.verified_handle(&claims(&anna, "Anna.COM")).await, Ok(Some(handle("anna.com"))));
    // Eve's document says that she is Anna.
    assert_eq!(network.verified_handle(&claims(&eve, "anna.com")).await, Ok(None));
    // Records that disagree are no answer, and nobody else is asked.
    assert_eq!(network.verified_handle(&claims(&anna, "both.com")).await, Ok(None));
    assert!(!names.asked().contains(&"both.com".to_owned()));
    let none = DidDocument { handle: None, ..claims(&anna, "x.com") };
    assert_eq!(network.verified_handle(&none).await, Ok(None));
}

#[tokio::test]
async fn a_web_host_that_leads_back() {
    let names = NameServer::start([]).await;
    let host = Host::start(|seen: Seen| async move {
        assert_eq!(seen.path, "/.well-known/atproto-did");
        match seen.host.split('.').next().unwrap() {
            "anna" => answer(200, "text/plain", format!("{}\n", plc(1))),
            "page" => answer(200, "text/html", "<html>welcome</html>"),
            "large" => answer(200, "text/plain", vec![b'd'; 10_000]),
            "led" => with_header(answer(302, "", ""), "location", "http://169.254.169.254/"),
            "away" => answer(503, "text/html", "<html>"),
            "walled" => answer(403, "text/html", "<html>"),
            "limits" => with_header(answer(429, "", ""), "retry-after", "600"),
            _ => json_answer(404, json!({"error": "NotFound"})),
        }
    })
    .await;
    let network = with(&names, Some(&host));
    let claimed = |name: &str| claims(&plc(1), &format!("{name}.web.test"));
    assert_eq!(network.verified_handle(&claimed("anna")).await, Ok(Some(handle("anna.web.test"))));
    assert_eq!(host.requests()[0].host, "anna.web.test");
    assert_eq!(network.verified_handle(&claims(&plc(2), "anna.web.test")).await, Ok(None), "a spoof");
    for nowhere in ["page", "large", "led", "nobody"] {
        assert_eq!(network.verified_handle(&claimed(nowhere)).await, Ok(None), "{nowhere}");
    }
    for unsure in ["away", "walled"] {
        let error = network.verified_handle(&claimed(unsure)).await.unwrap_err();
        assert!(matches!(error.kind, HostErrorKind::Status { .. }), "{unsure}: {error:?}");
    }
    let error = network.verified_handle(&claimed("limits")).await.unwrap_err();
    assert!(matches!(error.kind, HostErrorKind::RateLimited { .. }), "{error:?}");
}

#[tokio::test]
async fn a_name_service_in_trouble_is_no_word_about_a_handle() {
    let names = NameServer::start([
        ("_atproto.anna.com", Says::Trouble),
        ("anna.com", Says::Trouble),
        ("_atproto.eve.com", Says::Trouble),
    ])
    .await;
    let network = with(&names, None);
    for name in ["anna.com", "eve.com"] {
        let error = network.verified_handle(&claims(&plc(1), name)).await.unwrap_err();
        assert_eq!((&error.kind, error.passes()), (&HostErrorKind::Unreachable, true), "{name}: {error}");
    }
    // That nobody knows of such a name is one.
    assert_eq!(network.verified_handle(&claims(&plc(1), "nobody.com")).await, Ok(None));
}

#[tokio::test]
async fn a_web_host_at_a_private_address_is_nowhere() {
    let host = Host::start(|_| async { answer(200, "text/plain", plc(1).to_string()) }).await;
    let names = NameServer::start([("anna.com", Says::Addresses(vec![host.address.ip()]))]).await;
    assert_eq!(with(&names, None).verified_handle(&claims(&plc(1), "anna.com")).await, Ok(None));
    assert_eq!(host.requests().len(), 0);
}

#[tokio::test]
async fn names_that_are_reserved_are_not_asked_for() {
    let known =
        ["a.local", "a.localhost", "a.invalid", "a.example", "a.onion", "a.internal", "a.alt", "a.arpa", "a.test"];
    let records: Vec<_> = known.iter().map(|name| format!("_atproto.{name}")).collect();
    let names = NameServer::start(records.iter().map(|name| (name.as_str(), Says::Texts(vec![text(&plc(1))])))).await;
    let network = with(&names, None);
    for name in known {
        assert_eq!(network.verified_handle(&claims(&plc(1), name)).await, Ok(None), "{name}");
    }
    assert_eq!(names.asked(), [""; 0]);
    // Development has its own.
    let open = NetworkOptions { allow_private: true, dns: vec![names.address], ..options(&[]) };
    let network = Network::new(open).unwrap();
    assert_eq!(network.verified_handle(&claims(&plc(1), "a.test")).await, Ok(Some(handle("a.test"))));
    assert_eq!(network.verified_handle(&claims(&plc(1), "a.local")).await, Ok(None));
}
