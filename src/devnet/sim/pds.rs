//! What a PDS answers, in the words of the reference PDS.

use std::collections::HashSet;

use serde_json::{Value as Json, json};

use super::http::{Asked, Reply};
use super::records;
use super::state::{Actor, State};
use crate::devnet::mst::Part;
use crate::devnet::{Tid, car};
use crate::event::{Cid, Rev};

pub(super) fn answer(state: &State, host: usize, asked: &Asked<'_>) -> Reply {
    match asked.method {
        "/xrpc/_health" | "_health" => Reply::json(&json!({"version": "devnet"})),
        "/.well-known/atproto-did" => atproto_did(state, Some(host), asked),
        "/.well-known/did.json" => match state.hosts[host].web.and_then(|who| state.actors[who].document.as_ref()) {
            Some(document) => Reply::json(document),
            None => Reply::text(404, "Not Found"),
        },
        "com.atproto.server.describeServer" => Reply::json(&json!({
            "did": "did:web:localhost", "availableUserDomains": [".test"], "inviteCodeRequired": false,
        })),
        "com.atproto.identity.resolveHandle" => resolve_handle(state, asked),
        "com.atproto.sync.listRepos" => list_repos(state, host, asked),
        "com.atproto.sync.getRepoStatus" => repo_status(state, host, asked),
        "com.atproto.sync.getLatestCommit" => with_repo(state, host, asked, latest_commit),
        "com.atproto.sync.getRepo" => {
            with_repo(state, host, asked, |who, actor, asked| get_repo(host, who, actor, asked))
        }
        "com.atproto.sync.getBlocks" => with_repo(state, host, asked, get_blocks),
        "com.atproto.sync.getRecord" => with_repo(state, host, asked, get_record_proof),
        "com.atproto.repo.describeRepo" => describe_repo(state, host, asked),
        "com.atproto.repo.listRecords" => list_records(state, host, asked),
        "com.atproto.repo.getRecord" => get_record(state, host, asked),
        _ => Reply { status: 501, ..Reply::error("MethodNotImplemented", "Method Not Implemented") },
    }
}

/// `/.well-known/atproto-did`: which account the requested host name is the handle of.
pub(super) fn atproto_did(state: &State, host: Option<usize>, asked: &Asked<'_>) -> Reply {
    match state.handles.get(&asked.host.to_ascii_lowercase()) {
        Some(who) if host.is_none_or(|host| state.actors[*who].host == host) && is_here(&state.actors[*who]) => {
            Reply::text(200, state.account(*who).did.clone())
        }
        _ => Reply::text(404, "User not found"),
    }
}

fn is_here(actor: &Actor) -> bool {
    actor.status != Some("deleted")
}

pub(super) fn resolve_handle(state: &State, asked: &Asked<'_>) -> Reply {
    match state.handles.get(&asked.text("handle").to_ascii_lowercase()) {
        Some(who) if is_here(&state.actors[*who]) => Reply::json(&json!({"did": state.account(*who).did})),
        _ => Reply::error("InvalidRequest", "Unable to resolve handle"),
    }
}

/// The status that this host gives an account, if it knows it: `None` inside for active.
fn status_here(state: &State, host: usize, did: &str) -> Option<(usize, Option<&'static str>)> {
    let who = state.who(did)?;
    let actor = &state.actors[who];
    match actor.host == host {
        true if actor.status == Some("deleted") => None,
        true => Some((who, actor.status)),
        false => actor.left.contains(&host).then_some((who, Some("deactivated"))),
    }
}

/// Answers with a repository that this host shows, or says why it does not.
fn with_repo(
    state: &State,
    host: usize,
    asked: &Asked<'_>,
    reply: impl FnOnce(usize, &Actor, &Asked<'_>) -> Reply,
) -> Reply {
    let did = asked.text("did");
    if !crate::event::Did::is_valid(did) {
        return Reply::error("InvalidRequest", "Params must have the property \"did\" as a valid did");
    }
    let Some((who, status)) = status_here(state, host, did) else {
        return Reply::error("RepoNotFound", format!("Could not find repo for DID: {did}"));
    };
    match status {
        None => reply(who, &state.actors[who], asked),
        Some("takendown") => Reply::error("RepoTakendown", format!("Repo has been takendown: {did}")),
        Some("suspended") => Reply::error("RepoSuspended", format!("Repo has been suspended: {did}")),
        Some("deactivated") => Reply::error("RepoDeactivated", format!("Repo has been deactivated: {did}")),
        // Limited, not hidden.
        Some(_) => reply(who, &state.actors[who], asked),
    }
}

fn latest_commit(_: usize, actor: &Actor, asked: &Asked<'_>) -> Reply {
    match actor.repo.head() {
        Some(head) => Reply::json(&json!({"cid": head.cid.to_string(), "rev": head.rev.to_string()})),
        None => Reply::error("RepoNotFound", format!("Could not find root for DID: {}", asked.text("did"))),
    }
}

fn get_repo(host: usize, who: usize, actor: &Actor, asked: &Asked<'_>) -> Reply {
    let Some(head) = actor.repo.head() else { return latest_commit(who, actor, asked) };
    let mut parts = actor.repo.tree().depth_first();
    if let Some(since) = asked.param("since") {
        let Ok(since) = Rev::parse(since) else {
            return Reply::error("InvalidRequest", "Params must have the property \"since\" as a valid tid");
        };
        let known = actor.history.iter().find(|(rev, _)| rev.to_string() == since.to_string());
        if let Some((_, tree)) = known {
            let before: HashSet<Cid> = tree.depth_first().iter().map(Part::cid).collect();
            parts.retain(|part| !before.contains(&part.cid()));
        } else if since.to_string() >= head.rev.to_string() {
            parts.clear();
        }
    }
    let mut out = car::header(Some(&head.cid));
    car::put_block(&mut out, &head.cid, &head.block);
    // Some hosts send a tree as it is walked, some as their database has it.
    if host % 2 == 1 {
        parts.sort_by_key(|part| std::cmp::Reverse(part.cid()));
    }
    let mut sent = HashSet::new();
    for part in parts.into_iter().filter(|part| sent.insert(part.cid())) {
        let (cid, block) = actor.block(part);
        car::put_block(&mut out, &cid, &block);
    }
    Reply::car(out)
}

fn get_blocks(_: usize, actor: &Actor, asked: &Asked<'_>) -> Reply {
    let mut wanted = HashSet::new();
    for text in asked.all("cids") {
        match text.parse::<Cid>() {
            Ok(cid) => drop(wanted.insert(cid)),
            Err(_) => return Reply::error("InvalidRequest", "Params/cids must be an array of cid strings"),
        }
    }
    let (blocks, missing) = actor.blocks(&wanted);
    if !missing.is_empty() {
        let mut names: Vec<String> = missing.iter().map(Cid::to_string).collect();
        names.sort();
        return Reply::error("InvalidRequest", format!("Could not find cids: {}", names.join(",")));
    }
    let mut out = car::header(None);
    blocks.iter().for_each(|(cid, block)| car::put_block(&mut out, cid, block));
    Reply::car(out)
}

/// `com.atproto.sync.getRecord`: the record with the nodes that prove it, or that prove its absence.
fn get_record_proof(_: usize, actor: &Actor, asked: &Asked<'_>) -> Reply {
    let Some(head) = actor.repo.head() else { return latest_commit(0, actor, asked) };
    let path = format!("{}/{}", asked.text("collection"), asked.text("rkey"));
    let mut out = car::header(Some(&head.cid));
    car::put_block(&mut out, &head.cid, &head.block);
    for (cid, block) in actor.repo.tree().proof([path.as_str()]) {
        car::put_block(&mut out, &cid, &block);
    }
    if let (Ok(Some(cid)), Some(record)) = (actor.repo.tree().get(&path), actor.record(&path)) {
        car::put_block(&mut out, &cid, &record);
    }
    Reply::car(out)
}

fn repo_status(state: &State, host: usize, asked: &Asked<'_>) -> Reply {
    let did = asked.text("did");
    let Some((who, status)) = status_here(state, host, did) else {
        return Reply::error("RepoNotFound", format!("Could not find repo for DID: {did}"));
    };
    let rev = state.actors[who].repo.head().map(|head| head.rev);
    Reply::json(&status_json(did, status, rev))
}

/// The fields of `getRepoStatus`: `rev` is told of active accounts alone.
pub(super) fn status_json(did: &str, status: Option<&'static str>, rev: Option<Tid>) -> Json {
    let mut body = json!({"did": did, "active": status.is_none()});
    match status {
        Some(status) => body["status"] = status.into(),
        None => body["rev"] = rev.map(|rev| rev.to_string()).into(),
    }
    body
}

fn list_repos(state: &State, host: usize, asked: &Asked<'_>) -> Reply {
    let here = |who: usize| Some((who, status_here(state, host, &state.account(who).did)?.1));
    let all = (0..state.actors.len()).filter_map(here).filter_map(|(who, status)| {
        let head = state.actors[who].repo.head()?;
        Some((who, &*state.account(who).did, status, head.cid, head.rev))
    });
    page_of_repos(asked, all)
}

/// A page of `listRepos`, of accounts in the order of their numbers. The cursor is the last number.
pub(super) fn page_of_repos<'s>(
    asked: &Asked<'_>,
    all: impl Iterator<Item = (usize, &'s str, Option<&'static str>, Cid, Tid)>,
) -> Reply {
    let limit = asked.limit(500, 1000);
    let after: Option<usize> = asked.param("cursor").and_then(|text| text.parse().ok());
    let mut last = None;
    let repos: Vec<Json> = all
        .filter(|(who, ..)| after.is_none_or(|after| *who > after))
        .take(limit)
        .map(|(who, did, status, head, rev)| {
            last = Some(who);
            let mut repo = json!({
                "did": did, "head": head.to_string(), "rev": rev.to_string(), "active": status.is_none(),
            });
            if let Some(status) = status {
                repo["status"] = status.into();
            }
            repo
        })
        .collect();
    let mut body = json!({"repos": repos});
    if let Some(last) = last.filter(|_| repos_full(&body, limit)) {
        body["cursor"] = last.to_string().into();
    }
    Reply::json(&body)
}

fn repos_full(body: &Json, limit: usize) -> bool {
    body["repos"].as_array().is_some_and(|repos| repos.len() == limit)
}

/// The account that `repo` names, by DID or handle, if this host shows it.
fn by_repo<'s>(state: &'s State, host: usize, repo: &str) -> Result<&'s Actor, Reply> {
    let who = state.who(repo).or_else(|| state.handles.get(repo).copied());
    let did = who.map_or(repo, |who| &state.account(who).did);
    match status_here(state, host, did) {
        Some((who, None | Some("throttled" | "desynchronized"))) => Ok(&state.actors[who]),
        Some((_, Some("deactivated"))) => {
            Err(Reply::error("RepoDeactivated", format!("Repo has been deactivated: {repo}")))
        }
        Some((_, Some("takendown"))) => Err(Reply::error("RepoTakendown", format!("Repo has been takendown: {repo}"))),
        Some((_, Some("suspended"))) => Err(Reply::error("RepoSuspended", format!("Repo has been suspended: {repo}"))),
        _ => Err(Reply::error("InvalidRequest", format!("Could not find repo: {repo}"))),
    }
}

fn describe_repo(state: &State, host: usize, asked: &Asked<'_>) -> Reply {
    let actor = match by_repo(state, host, asked.text("repo")) {
        Ok(actor) => actor,
        Err(reply) => return reply,
    };
    let mut collections: Vec<String> = vec![];
    for (path, _) in actor.repo.tree().leaves() {
        let collection = path.split('/').next().unwrap_or_default();
        if collections.last().is_none_or(|last| last != collection) {
            collections.push(collection.into());
        }
    }
    let did = actor.repo.did();
    let handle = state.who(did).map_or("handle.invalid", |who| &state.account(who).handle);
    let correct = state.handles.get(handle) == state.who(did).as_ref();
    Reply::json(&json!({
        "handle": handle, "did": did, "didDoc": actor.document, "collections": collections, "handleIsCorrect": correct,
    }))
}

fn list_records(state: &State, host: usize, asked: &Asked<'_>) -> Reply {
    let actor = match by_repo(state, host, asked.text("repo")) {
        Ok(actor) => actor,
        Err(reply) => return reply,
    };
    let prefix = format!("{}/", asked.text("collection"));
    let limit = asked.limit(50, 100);
    let reverse = asked.param("reverse") == Some("true");
    let leaves = actor.repo.tree().leaves();
    let mut keys: Vec<_> = leaves.iter().filter_map(|(path, cid)| Some((path.strip_prefix(&prefix)?, cid))).collect();
    // Newest first, unless the other way is asked for.
    if !reverse {
        keys.reverse();
    }
    if let Some(cursor) = asked.param("cursor") {
        keys.retain(|(rkey, _)| if reverse { *rkey > cursor } else { *rkey < cursor });
    }
    let row = |(rkey, cid): &(&str, &Cid)| {
        let path = format!("{prefix}{rkey}");
        let value = actor.record(&path).map(|record| records::to_json(&record));
        json!({"uri": format!("at://{}/{path}", actor.repo.did()), "cid": cid.to_string(), "value": value})
    };
    let rows: Vec<Json> = keys.iter().take(limit).map(row).collect();
    let mut body = json!({"records": rows});
    // The reference PDS gives a cursor with every page that holds something.
    if let Some((rkey, _)) = keys.get(limit.min(keys.len()).wrapping_sub(1)) {
        body["cursor"] = (*rkey).into();
    }
    Reply::json(&body)
}

fn get_record(state: &State, host: usize, asked: &Asked<'_>) -> Reply {
    let path = format!("{}/{}", asked.text("collection"), asked.text("rkey"));
    let uri = format!("at://{}/{path}", asked.text("repo"));
    let missing = || Reply::error("RecordNotFound", format!("Could not locate record: {uri}"));
    let Ok(actor) = by_repo(state, host, asked.text("repo")) else { return missing() };
    match (actor.repo.tree().get(&path), actor.record(&path)) {
        (Ok(Some(cid)), Some(record)) => {
            Reply::json(&json!({"uri": uri, "cid": cid.to_string(), "value": records::to_json(&record)}))
        }
        _ => missing(),
    }
}
