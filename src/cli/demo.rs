//! `almanac demo`.
use super::flags::Global;
#[derive(clap::Args)]
pub(super) struct DemoArgs {}
pub(super) async fn run(_global: &Global, _args: DemoArgs) -> anyhow::Result<()> {
    Ok(())
}
