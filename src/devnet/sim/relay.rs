//! What the relay answers: from what it saw pass, which may be old.

use serde_json::{Value as Json, json};

use super::http::{Asked, Reply};
use super::pds::{atproto_did, page_of_repos, resolve_handle, status_json};
use super::state::{RelayView, State};

pub(super) fn answer(state: &State, asked: &Asked<'_>) -> Reply {
    let view = || state.relay_view(asked.text("did"));
    let not_found = || Reply::error("RepoNotFound", "account not found");
    match asked.method {
        "/xrpc/_health" | "_health" => Reply::json(&json!({"status": "ok", "version": "devnet"})),
        "/.well-known/atproto-did" => atproto_did(state, None, asked),
        "com.atproto.identity.resolveHandle" => resolve_handle(state, asked),
        "com.atproto.sync.getRepoStatus" => match view() {
            Some(view) => Reply::json(&status_json(asked.text("did"), view.status, view.head.map(|(_, rev)| rev))),
            None => not_found(),
        },
        "com.atproto.sync.getLatestCommit" => match view() {
            Some(RelayView { status: Some(status), .. }) => {
                let name = match *status {
                    "takendown" => "RepoTakendown",
                    "suspended" => "RepoSuspended",
                    "deactivated" => "RepoDeactivated",
                    _ => "RepoNotFound",
                };
                Reply::error(name, format!("account is {status}"))
            }
            Some(RelayView { head: Some((cid, rev)), .. }) => {
                Reply::json(&json!({"cid": cid.to_string(), "rev": rev.to_string()}))
            }
            _ => not_found(),
        },
        "com.atproto.sync.listRepos" => {
            let all = state.relay_views().filter_map(|(number, did, view)| {
                let (cid, rev) = view.head?;
                Some((number, did, view.status, cid, rev))
            });
            page_of_repos(asked, all)
        }
        "com.atproto.sync.listReposByCollection" => by_collection(state, asked),
        "com.atproto.sync.listHosts" => hosts(state),
        // Relays keep no repositories: they send the reader to the host.
        "com.atproto.sync.getRepo" => {
            Reply { status: 501, ..Reply::error("MethodNotImplemented", "Method Not Implemented") }
        }
        _ => Reply { status: 404, ..Reply::error("NotFound", "no such method") },
    }
}

/// What the web host of all handles answers.
pub(super) fn answer_handles(state: &State, asked: &Asked<'_>) -> Reply {
    match asked.method {
        "/.well-known/atproto-did" => atproto_did(state, None, asked),
        _ => Reply::text(404, "Not Found"),
    }
}

/// Who ever wrote to a collection, as far as the relay knows.
fn by_collection(state: &State, asked: &Asked<'_>) -> Reply {
    let (collection, limit) = (asked.text("collection"), asked.limit(500, 2000));
    let after: Option<usize> = asked.param("cursor").and_then(|text| text.parse().ok());
    let found = state.relay_views().filter(|(number, _, view)| {
        after.is_none_or(|after| *number > after) && view.active && view.collections.contains(collection)
    });
    let page: Vec<(usize, &str)> = found.map(|(number, did, _)| (number, did)).take(limit).collect();
    let repos: Vec<Json> = page.iter().map(|(_, did)| json!({"did": did})).collect();
    let mut body = json!({"repos": repos});
    if let Some((last, _)) = page.last().filter(|_| page.len() == limit) {
        body["cursor"] = last.to_string().into();
    }
    Reply::json(&body)
}

fn hosts(state: &State) -> Reply {
    let host = |host: &super::state::HostState| {
        json!({
            "hostname": host.url.trim_start_matches("http://"), "seq": host.stream.last_seq(), "status": "active",
        })
    };
    Reply::json(&json!({"hosts": state.hosts.iter().map(host).collect::<Vec<_>>()}))
}
