//! What hosts answer, read into types; what they refuse, in their own words.

use almanac::event::{AccountStatus, Cid, Did, Nsid, Rev};
use almanac::network::{BLOCKS_PER_CALL_MAX, HostErrorKind, LatestCommit, RepoProblem, RepoStatus};
use serde_json::json;

use crate::support::{Host, Seen, answer, json_answer, network, plc};

const CID: &str = "bafyreie6hvhgcy5tlpq25aexg24vbqml336rqpned3t5bhwd2zyhjuet3i";
const REV: &str = "3n2uyhpluwr2l";

fn cid() -> Cid {
    CID.parse().unwrap()
}

fn collection() -> Nsid {
    Nsid::parse("community.lexicon.calendar.event").unwrap()
}

/// Decodes what the URL escapes, as far as it occurs here.
fn plain(query: &str) -> String {
    query.replace("%3A", ":")
}

#[tokio::test]
async fn a_repository_s_state_and_blocks() {
    let host = Host::start(|seen: Seen| async move {
        match seen.path.as_str() {
            "/xrpc/com.atproto.sync.getLatestCommit" => json_answer(200, json!({"cid": CID, "rev": REV})),
            "/xrpc/com.atproto.sync.getRepoStatus" => {
                json_answer(200, json!({"did": "did:plc:x", "active": false, "status": "suspended"}))
            }
            "/xrpc/com.atproto.sync.getBlocks" => answer(200, "application/vnd.ipld.car", "some blocks"),
            _ => answer(404, "", ""),
        }
    })
    .await;
    let (network, url, did) = (network(&[&host]), host.url(), plc(1));
    let rev = Rev::parse(REV).unwrap();
    assert_eq!(network.latest_commit(&url, &did).await, Ok(LatestCommit { cid: cid(), rev }));
    let status = RepoStatus { active: false, status: AccountStatus::Suspended, rev: None };
    assert_eq!(network.repo_status(&url, &did).await, Ok(status));
    let blocks = network.blocks(&format!("{url}/"), &did, &[cid(), cid()]).await.unwrap();
    assert_eq!(&blocks[..], b"some blocks");
    let seen = host.requests();
    assert_eq!(plain(&seen[2].query), format!("did={did}&cids={CID}&cids={CID}"));
    assert!(seen.iter().all(|seen| seen.user_agent == format!("almanac/{}", env!("CARGO_PKG_VERSION"))), "{seen:?}");
    // The longest call must pass proxies.
    network.blocks(&url, &did, &[cid(); BLOCKS_PER_CALL_MAX]).await.unwrap();
    assert!(host.requests().last().unwrap().query.len() < 7_000);
}

#[tokio::test]
async fn a_repository_in_chunks() {
    let host = Host::start(|_| async { answer(200, "application/vnd.ipld.car", vec![7u8; 300_000]) }).await;
    let network = network(&[&host]);
    let mut stream = network.repo(&host.url(), &plc(1), 300_000).await.unwrap();
    assert_eq!(stream.length(), Some(300_000));
    let mut bytes = 0;
    while let Some(chunk) = stream.next_chunk().await.unwrap() {
        assert!(chunk.iter().all(|b| *b == 7));
        bytes += chunk.len() as u64;
        assert_eq!(bytes, stream.bytes());
    }
    assert_eq!(bytes, 300_000);
    assert_eq!(stream.next_chunk().await, Ok(None));
}

#[tokio::test]
async fn pages_leave_out_what_cannot_be_read_and_end() {
    let host = Host::start(|seen: Seen| async move {
        let did = plc(1);
        match seen.path.as_str() {
            "/xrpc/com.atproto.repo.listRecords" => {
                let record = |did: &Did, rkey: &str| {
                    let uri = format!("at://{did}/community.lexicon.calendar.event/{rkey}");
                    json!({"uri": uri, "cid": CID, "value": {"name": rkey}})
                };
                let records = json!([record(&did, "a"), record(&plc(2), "b"), 7, record(&did, "c")]);
                json_answer(200, json!({"records": records, "cursor": "c"}))
            }
            "/xrpc/com.atproto.sync.listRepos" => {
                let whole = json!({"did": did, "head": CID, "rev": REV, "active": false, "status": "takendown"});
                json_answer(200, json!({"cursor": "2", "repos": [whole, {"did": plc(2)}, {"did": "nonsense"}]}))
            }
            "/xrpc/com.atproto.sync.listReposByCollection" => json_answer(200, json!({"repos": [{"did": did}]})),
            _ => json_answer(200, json!({"did": did, "handle": "a.test", "collections": ["a.b.c", "odd"]})),
        }
    })
    .await;
    let (network, url, did) = (network(&[&host]), host.url(), plc(1));
    let page = network.list_records(&url, &did, &collection(), None).await.unwrap();
    let rkeys: Vec<_> = page.items.iter().map(|record| record.uri.rkey.as_str()).collect();
    assert_eq!((rkeys, page.unreadable, page.cursor.as_deref()), (vec!["a", "c"], 2, Some("c")));
    assert_eq!(page.items[1].value["name"], "c");
    // A host that repeats its cursor would be asked for ever.
    assert_eq!(network.list_records(&url, &did, &collection(), Some("c")).await.unwrap().cursor, None);
    let page = network.list_repos(&url, Some("1")).await.unwrap();
    assert_eq!((page.items.len(), page.unreadable, page.cursor.as_deref()), (2, 1, Some("2")));
    assert_eq!((page.items[0].active, page.items[0].status), (false, AccountStatus::Takendown));
    assert_eq!((page.items[0].head, page.items[1].head, page.items[1].active), (Some(cid()), None, true));
    let page = network.list_repos_by_collection(&url, &collection(), None).await.unwrap();
    assert_eq!((page.items, page.cursor), (vec![did.clone()], None));
    assert_eq!(network.describe_repo(&url, &did).await.unwrap().collections, [Nsid::parse("a.b.c").unwrap()]);
    let error = network.describe_repo(&url, &plc(2)).await.unwrap_err();
    assert_eq!(error.kind, HostErrorKind::Malformed, "it describes another repository");
}

#[tokio::test]
async fn xrpc_errors_are_told_by_name() {
    let host = Host::start(|seen: Seen| async move {
        let which = plain(&seen.query);
        let names = ["RepoNotFound", "RepoTakendown", "RepoSuspended", "RepoDeactivated", "Other"];
        let name = names.iter().enumerate().find(|(n, _)| which.contains(plc(*n).as_str())).unwrap().1;
        json_answer(400, json!({"error": name, "message": "the host's\nwords"}))
    })
    .await;
    let network = network(&[&host]);
    let wanted = [
        Some(RepoProblem::NotFound),
        Some(RepoProblem::Takendown),
        Some(RepoProblem::Suspended),
        Some(RepoProblem::Deactivated),
        None,
    ];
    for (n, wanted) in wanted.into_iter().enumerate() {
        let error = network.latest_commit(&host.url(), &plc(n)).await.unwrap_err();
        assert_eq!((error.repo_problem(), error.passes()), (wanted, false));
        let HostErrorKind::Status { code: 400, message: Some(words), .. } = &error.kind else { panic!("{error:?}") };
        assert_eq!(&**words, "the host's words");
        assert_eq!(*error.host, *host.address.to_string());
        // The same from the call that streams.
        assert_eq!(network.repo(&host.url(), &plc(n), 1).await.unwrap_err().repo_problem(), wanted);
    }
}

#[tokio::test]
async fn what_is_no_answer_of_the_method_is_malformed() {
    let host = Host::start(|seen: Seen| async move {
        let bodies = ["[]", "{}", "{\"cid\": 7, \"rev\": \"x\"}", "{\"cid\":", "{\"cid\":\"x\",\"rev\":\"y\"}"];
        let which = (0..).find(|n| plain(&seen.query).contains(plc(*n).as_str())).unwrap();
        answer(200, "application/json", bodies[which])
    })
    .await;
    let network = network(&[&host]);
    for n in 0..5 {
        let error = network.latest_commit(&host.url(), &plc(n)).await.unwrap_err();
        assert_eq!((&error.kind, error.passes()), (&HostErrorKind::Malformed, false), "{n}: {error}");
    }
}
