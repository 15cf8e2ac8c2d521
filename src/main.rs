//! The `almanac` binary.
fn main() -> anyhow::Result<()> {
    almanac::cli::main()
}
