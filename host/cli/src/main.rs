//! `trustbox`, the command line on the device: a thin layer over `trustbox-client`, for operators and scripts.
//!
//! Exit status: 0 success, 1 refused by the TA or the enclave, or a bad package, 2 wrong usage, 3 no TEE.
#![forbid(unsafe_code)]

mod arguments;
mod attest;
mod csr;
mod enclave;
mod failure;
mod files;
mod info;
mod key;
mod lifecycle;
mod log;
mod man;
mod nonce;
mod output;
mod package;
mod pem;
mod provision;
mod statement;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use arguments::{Cli, Command};
use failure::{Failure, Status};
use lifecycle::{DECOMMISSION, LOCK, ROTATE_ROOT};
use output::Output;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return wrong_usage(&error),
    };
    let output = Output { json: cli.json };
    match run(cli.command, output) {
        Ok(status) => status,
        Err(failure) => output.failure(&failure),
    }
}

fn run(command: Command, output: Output) -> Result<ExitCode, Failure> {
    match command {
        Command::Info => info::run(output)?,
        Command::Provision(args) => provision::run(&args, output)?,
        Command::Lock(args) => LOCK.run(&args, true, output)?,
        Command::Revoke { statement } => provision::revoke(&statement, output)?,
        Command::RotateRoot(args) => ROTATE_ROOT.run(&args.answer, args.yes, output)?,
        Command::Decommission(args) => DECOMMISSION.run(&args.answer, args.yes, output)?,
        Command::Csr(args) => csr::run(&args, output)?,
        Command::Attest(args) => attest::run(&args, output)?,
        Command::Key(command) => key::run(&command, output)?,
        Command::Install { file, version } => package::install(&file, version, output)?,
        Command::Uninstall(args) => package::uninstall(&args, output)?,
        Command::List => package::list(output)?,
        Command::Run { uuid, limit } => return enclave::run(uuid, &limit, output),
        Command::Invoke(args) => enclave::invoke(&args, output)?,
        Command::Log(args) => log::run(&args, output)?,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "trustbox", &mut script);
            output.bytes(&script)?;
        }
        Command::Man { dir } => man::run(dir.as_deref(), output)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Help and version are no errors; everything else is, also for `--json`.
fn wrong_usage(error: &clap::Error) -> ExitCode {
    let shown = error.print();
    if !error.use_stderr() && shown.is_ok() {
        return ExitCode::SUCCESS;
    }
    if std::env::args_os().any(|argument| argument == "--json") {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        Output { json: true }.error_object(&Failure::usage(first, "trustbox --help"));
    }
    ExitCode::from(Status::Usage as u8)
}
