//! stub
use anyhow::Result;
#[derive(clap::Args)]
pub(crate) struct Args {}
pub(crate) fn run(_args: &Args) -> Result<std::process::ExitCode> { Ok(std::process::ExitCode::SUCCESS) }
