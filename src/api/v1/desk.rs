//! Whoever carries out what apps wish.

use std::pin::Pin;

use crate::publisher::{self, IntentView, Kind, Publisher, RecordView, Wish, WishError};

/// What is being done.
pub type DeskFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Takes wishes and tells what became of them: [`Publisher`], and in tests whatever stands for it.
pub trait PublishDesk: Send + Sync {
    /// Stores a wish, attempts it, and answers how far it is.
    fn wish(&self, wish: Wish) -> DeskFuture<'_, Result<RecordView, WishError>>;

    /// A record by the app's name for it.
    fn record<'a>(
        &'a self,
        user: &'a str,
        kind: Kind,
        client_key: &'a str,
    ) -> DeskFuture<'a, Result<Option<RecordView>, sqlx::Error>>;

    /// An intent by its number.
    fn intent(&self, id: i64) -> DeskFuture<'_, Result<Option<IntentView>, sqlx::Error>>;
}

impl PublishDesk for Publisher {
    fn wish(&self, wish: Wish) -> DeskFuture<'_, Result<RecordView, WishError>> {
        Box::pin(Publisher::wish(self, wish))
    }

    fn record<'a>(
        &'a self,
        user: &'a str,
        kind: Kind,
        client_key: &'a str,
    ) -> DeskFuture<'a, Result<Option<RecordView>, sqlx::Error>> {
        Box::pin(Publisher::record(self, user, kind, client_key))
    }

    fn intent(&self, id: i64) -> DeskFuture<'_, Result<Option<IntentView>, sqlx::Error>> {
        Box::pin(async move { publisher::intent(self.pool(), id).await })
    }
}
