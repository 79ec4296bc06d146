//! `trustbox`, the command line on the device: a thin layer over `trustbox-client`, for operators and scripts.
//!
//! Exit status: 0 success, 1 refused by the TA or the enclave, or a bad package, 2 wrong usage, 3 no TEE.
#![forbid(unsafe_code)]

mod arguments;
mod enclave;
mod failure;
mod files;
mod info;
mod key;
mod output;
mod package;
mod provision;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use arguments::{Cli, Command};
use failure::{Failure, Status};
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
        Command::Key(command) => key::run(&command, output)?,
        Command::Install { file } => package::install(&file, output)?,
        Command::List => package::list(output)?,
        Command::Run { uuid } => return enclave::run(uuid, output),
        Command::Invoke(args) => enclave::invoke(&args, output)?,
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "trustbox", &mut script);
            output.bytes(&script)?;
        }
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
