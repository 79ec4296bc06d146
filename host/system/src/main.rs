//! `trustbox-system`: the steps of an image between the kernel and its enclaves, each a command that one unit runs.
//!
//! The image has no shell, so what scripts do elsewhere is here. As first process of the RAM disk it opens the verified root;
//! the other commands run in that root, each once in a boot.
#![forbid(unsafe_code)]

mod block;
mod data;
mod early;
mod enclave;
mod factory;
mod modules;
mod network;
mod report;
mod slots;
mod storage;

use std::process::ExitCode;

/// Exit status of a wrong command line.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    if std::process::id() == 1 {
        early::run();
    }
    let mut arguments = std::env::args().skip(1);
    let (word, rest) = (arguments.next().unwrap_or_default(), arguments.collect::<Vec<_>>());
    let result = match word.as_str() {
        "modules" => modules::load_all_and_close(),
        "storage" => storage::prepare(),
        "data" => data::prepare(),
        "factory" => factory::run(),
        "enclave" => enclave::run(),
        "network" => network::prepare(),
        "resolver" => network::name_servers(),
        "report" => report::run(),
        "good" => slots::good(),
        command if slots::COMMANDS.contains(&command) => slots::answer(command, &rest),
        _ => {
            eprintln!(
                "error: unknown command {word:?}\nhelp: modules, storage, data, network, resolver, factory, enclave, report, good, {}",
                slots::COMMANDS.join(", ")
            );
            return ExitCode::from(WRONG_USAGE);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {word}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
