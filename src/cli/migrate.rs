//! `almanac migrate`: tables up to date, without serving.

use super::flags::Global;
use crate::service;

pub(super) async fn run(global: &Global) -> anyhow::Result<()> {
    let settings = global.settings([])?;
    let db = service::open(&settings, false).await?;
    eprintln!("{}: tables are up to date, environment {}", db.describe(), settings.environment);
    db.close().await;
    Ok(())
}
