//! Acting for accounts with tokens that are simply there: what signing in and renewing take is tested elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use almanac::identity::{Account, ActError, Acting, Keeper, Session};
use almanac::network::{Call, Network, Rights};
use secrecy::SecretString;
use serde_json::Value;

/// Knows a token for each account; one that nobody named has the token `none`.
#[derive(Clone)]
pub struct Tokens {
    network: Network,
    tokens: Arc<Mutex<HashMap<String, String>>>,
}

impl Tokens {
    pub fn new(network: Network) -> Self {
        Tokens { network, tokens: Arc::default() }
    }

    /// The account's access token from now on.
    pub fn set(&self, did: &str, token: &str) {
        self.tokens.lock().unwrap().insert(did.to_owned(), token.to_owned());
    }
}

struct TokenSession {
    network: Network,
    account: Account,
    token: SecretString,
}

impl Keeper for Tokens {
    fn keeps(&self, _account: &Account) -> bool {
        true
    }

    fn session(&self, account: Account) -> Acting<'_, Arc<dyn Session>> {
        let token = self.tokens.lock().unwrap().get(&account.did).cloned().unwrap_or("none".to_owned());
        let session = TokenSession { network: self.network.clone(), account, token: token.into() };
        Box::pin(std::future::ready(Ok(Arc::new(session) as Arc<dyn Session>)))
    }
}

impl Session for TokenSession {
    fn account(&self) -> &Account {
        &self.account
    }

    fn call<'a>(&'a self, call: Call, query: &'a [(&'a str, &'a str)], body: Option<&'a Value>) -> Acting<'a, Value> {
        Box::pin(async move {
            let rights = Rights::Token(&self.token);
            self.network.act(call, &self.account.pds, rights, query, body).await.map_err(ActError::Host)
        })
    }
}
