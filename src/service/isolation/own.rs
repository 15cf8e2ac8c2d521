//! What this environment's settings and its PDS's env file say of it.

use anyhow::Context;

use super::facts::{ADMIN_TOKEN, ADMIN_TOKEN_FILE, Facts};
use super::webhook::Of;
use super::{database, overlap};
use crate::config::{Layers, Settings};
use crate::event::Environment;
use crate::network;
use crate::pds::PdsEnv;

/// Puts them together: the settings as they are checked, and their text, since checked secrets cannot be read again. What the settings say under `isolation.` comes to what is found elsewhere, and decides where there can
/// be only one.
///
/// # Errors
/// `pds.env_file` or the file of the admin token cannot be used.
pub fn own(settings: &Settings, layers: &Layers) -> anyhow::Result<Facts> {
    let pds = settings.pds_env_file.as_deref().map(PdsEnv::read).transpose()?;
    let said = &settings.isolation;
    let mut facts = Facts::new(settings.environment.clone(), settings.environment_kind, settings.network.plc.as_str());
    facts.relays = settings.relays.iter().filter_map(|url| overlap::host(&url.name())).collect();

    let mine = |environment: &Environment| *environment == settings.environment;
    facts.add_declared(settings.places.hosts().filter(|(_, e)| mine(e)).map(|(host, _)| host));
    settings.pdses.iter().for_each(|url| facts.add_pds("source.pdses", &url.name()));
    said.pds_hosts.iter().for_each(|host| facts.add_pds("isolation.pds_hosts", host));
    pds.iter().for_each(|pds| facts.add_pds("PDS_HOSTNAME", &pds.host()));

    let handles = settings.places.handles().filter(|(_, e)| mine(e));
    handles.for_each(|(handle, _)| facts.add_handle("origin.handles", &handle));
    said.handle_domains.iter().for_each(|handle| facts.add_handle("isolation.handle_domains", handle));
    let domains = pds.iter().flat_map(PdsEnv::handle_domains);
    domains.for_each(|handle| facts.add_handle("PDS_SERVICE_HANDLE_DOMAINS", &handle));

    facts.plc_written = said.plc.as_deref().or(pds.as_ref().map(PdsEnv::plc)).map(host_of);
    let crawlers = together(said.crawlers.clone(), pds.as_ref().map(PdsEnv::crawlers));
    facts.crawlers = crawlers.map(|crawlers| crawlers.iter().map(|url| host_of(url)).collect());
    facts.mail_hosts = together(said.mail_hosts.clone(), pds.as_ref().map(PdsEnv::mail_hosts));
    facts.database = Some(said.database.clone().unwrap_or_else(|| database::own(&settings.database)));

    facts.webhook_hosts = together(said.webhook_hosts.clone(), Some(Vec::new()));
    facts.fingerprints.extend(said.fingerprints.iter().cloned());
    for (name, secret) in pds.iter().flat_map(PdsEnv::secrets) {
        facts.add_secret(name, &secret);
    }
    layers.webhook_tables().for_each(|(name, table)| facts.add_webhook_table(name, table, Of::Us));
    if let Some(token) = layers.text(ADMIN_TOKEN) {
        facts.add_secret("admin_token", token);
    } else if let Some(path) = layers.text(ADMIN_TOKEN_FILE) {
        let token = std::fs::read_to_string(path).with_context(|| format!("{ADMIN_TOKEN_FILE} {path}"))?;
        facts.add_secret("admin_token", token.trim());
    }
    Ok(facts)
}

/// Whom a URL asks, and nothing else of it: a user name and password may stand in it.
fn host_of(url: &str) -> String {
    let full = if url.contains("://") { url.to_owned() } else { format!("https://{url}") };
    network::authority(&full).map_or_else(|| "(no address)".to_owned(), String::from)
}

fn together(a: Option<Vec<String>>, b: Option<Vec<String>>) -> Option<std::collections::BTreeSet<String>> {
    let known = a.is_some() || b.is_some();
    known.then(|| a.into_iter().chain(b).flatten().collect())
}
