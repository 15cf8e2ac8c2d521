//! Commands.
#[cfg(feature = "devnet")]
mod devnet;

/// Runs the command line.
///
/// # Errors
/// What the command says.
pub fn main() -> anyhow::Result<()> {
    #[derive(clap::Parser)]
    enum Cli {
        Devnet(devnet::DevnetArgs),
    }
    let Cli::Devnet(args) = <Cli as clap::Parser>::parse();
    devnet::run(args)
}
