//! Who may enter, as the admin listener asks for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;

use super::{FORGET_WHY, PATIENCE, change, explain, in_the_log, said, stored, view};
use crate::api::admin::{DeskError, OriginDesk, OriginWish, Told};
use crate::config::Settings;
use crate::event::{AtUri, Did, ListChange};
use crate::ingest::Trust;
use crate::service::policy::Policies;
use crate::service::trace::life;

/// Entries and links in one answer; they are counted whole.
const SHOWN_MAX: usize = 1_000;

/// What it takes to answer.
#[derive(Clone)]
pub struct Desk {
    /// The database.
    pub pool: PgPool,
    /// What this process was told.
    pub settings: Arc<Settings>,
    /// What is in force.
    pub policies: Arc<Policies>,
    /// Whom it believes.
    pub trust: Trust,
}

fn unavailable(error: anyhow::Error) -> DeskError {
    DeskError::Unavailable(format!("{error:#}"))
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("plain data is JSON")
}

impl Desk {
    async fn made(&self, wish: OriginWish) -> Result<Value, DeskError> {
        let read = |name: &str, text: Option<String>, missing: &str| match text {
            Some(text) => said(&text).map_err(|why| DeskError::Invalid(format!("`{name}` {why}"))),
            None => Err(DeskError::Invalid(format!("`{name}` is missing: {missing}"))),
        };
        let why = match wish.change {
            ListChange::Forget if wish.why.is_none() => FORGET_WHY.to_owned(),
            _ => read("why", wish.why, "the log keeps why somebody was let in or kept out")?,
        };
        let who = read("who", wish.who, "the log keeps who made a change")?;
        let dids = BTreeSet::from([wish.did]);
        let made = change(&self.pool, &dids, wish.change, &who, &why).await.map_err(unavailable)?;
        let made = made.into_iter().next().expect("one account, one change");
        let Some(number) = made.number else {
            return Err(DeskError::NotFound(format!("nothing was entered about {}", made.did)));
        };
        // The change is made; whether it counts already is asked as long as there is time.
        let in_log = in_the_log(&self.pool, &[number], PATIENCE).await.unwrap_or(false);
        // Another list may outweigh this one.
        let did = Did::parse(&made.did).expect("it was one when it was asked for");
        let now = if in_log { stored(&self.pool, &did).await.ok().flatten() } else { None };
        let mut answer = json(&made);
        answer["now"] = json(&now);
        answer["in_log"] = in_log.into();
        Ok(answer)
    }
}

impl OriginDesk for Desk {
    fn view(&self, did: Option<Did>) -> Told {
        let desk = self.clone();
        Box::pin(async move {
            let mut lists = view(&desk.pool, &did.into_iter().collect()).await.map_err(unavailable)?;
            lists.entries.truncate(SHOWN_MAX);
            lists.links.truncate(SHOWN_MAX);
            Ok(json(&lists))
        })
    }

    fn explain(&self, did: Did) -> Told {
        let desk = self.clone();
        Box::pin(async move {
            let told = explain(&desk.pool, &desk.settings, &desk.policies, &desk.trust, &did, None).await;
            told.map(|told| json(&told)).map_err(unavailable)
        })
    }

    fn trace(&self, uri: AtUri) -> Told {
        let desk = self.clone();
        Box::pin(async move {
            let life = life(&desk.pool, &desk.settings, &uri).await;
            life.map(|life| json(&life)).map_err(|error| unavailable(error.into()))
        })
    }

    fn change(&self, wish: OriginWish) -> Told {
        let desk = self.clone();
        // In a task of its own: who goes away while it waits does not leave a change half made.
        let task = tokio::spawn(async move { desk.made(wish).await });
        Box::pin(async move { task.await.unwrap_or_else(|e| Err(DeskError::Unavailable(e.to_string()))) })
    }
}
