//! The command line of `build/tb`.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory, Parser, Subcommand};

use crate::device::TimedOut;
use crate::usage::Usage;
use crate::{
    bench, board, campaign, demo, doctor, firmware, fuse_command, fuzz, image, inspect, lock_update, new,
    pack, qemu_command, run, suite, ta, ui, unpack, verify, yocto,
};

/// Exit status of a command that took too long, as coreutils' timeout has it.
const TIMED_OUT: u8 = 124;
/// Exit status of a wrong command line, as clap has it.
const WRONG_USAGE: u8 = 2;

/// Builds, runs and tests TrustBox.
#[derive(Parser)]
#[command(name = "tb", version, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// What this host has and what it lacks
    Doctor(doctor::Args),
    /// Firmware for a board
    Firmware(firmware::Args),
    /// Everything on a device's medium, in one file
    Image(image::Args),
    /// Everything that an image is made of, in a folder
    Archive(image::archive::Args),
    /// Writes an image to a medium, and reads it back
    Flash(image::flash::Args),
    /// What a board's fuses are to hold
    Fuse(fuse_command::Args),
    /// Boards and boot images: what there is, without building
    Platform(board::platform::Args),
    /// The TrustBox TA and the example enclaves
    Ta(ta::Args),
    /// A command, or a shell, on the emulated device
    Qemu(qemu_command::Args),
    /// A project for an enclave and its host program
    New(new::Args),
    /// Builds the project that this folder is in, and runs it on the emulated device
    Run(run::Args),
    /// Encrypts an enclave for a class of devices
    Pack(Box<pack::Args>),
    /// What is in a package or a signed TA
    Inspect(inspect::Args),
    /// Who signed a package or a TA, and whether it is as they signed it
    Verify(verify::Args),
    /// The enclave out of a package, with its key
    Unpack(unpack::Args),
    /// The main job, end to end, on real OP-TEE
    Demo(demo::Args),
    /// Every test
    Test(suite::Args),
    /// Inputs under which something does not hold
    Fuzz(fuzz::Args),
    /// Long trials: power cuts, a hostile Linux
    Campaign(campaign::Args),
    /// Figures, taken on a device whose time counts instructions
    Bench(bench::Args),
    /// The pinned Debian packages
    Lock(lock_update::Args),
    /// The Yocto layers: generated files, checks
    Yocto(yocto::Args),
    /// Removes everything that was built and downloaded; development keys stay
    Clean,
    /// Completions for a shell
    Completions {
        /// Shell to complete for
        shell: clap_complete::Shell,
    },
}

/// Where nobody reads what is printed any more, as behind `| head`: the status that a shell gives to SIGPIPE.
const NO_READER: i32 = 141;

/// Ends without a word when the reader of stdout has gone, where Rust would panic.
fn end_with_the_reader() {
    let shown = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let text = panic.payload().downcast_ref::<String>().map_or("", String::as_str);
        if text.starts_with("failed printing to stdout: Broken pipe") {
            std::process::exit(NO_READER);
        }
        shown(panic);
    }));
}

/// Runs the command line; errors go to stderr.
pub fn main() -> ExitCode {
    end_with_the_reader();
    ui::start();
    match perform(Cli::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            match () {
                () if error.is::<TimedOut>() => ExitCode::from(TIMED_OUT),
                () if error.is::<Usage>() => ExitCode::from(WRONG_USAGE),
                () => ExitCode::FAILURE,
            }
        }
    }
}

fn perform(task: Task) -> Result<ExitCode> {
    match task {
        Task::Doctor(args) => return doctor::run(&args),
        Task::Firmware(args) => firmware::run(&args)?,
        Task::Image(args) => image::run(&args)?,
        Task::Archive(args) => image::archive::run(&args)?,
        Task::Flash(args) => image::flash::run(&args)?,
        Task::Fuse(args) => fuse_command::run(&args)?,
        Task::Platform(args) => board::platform::run(&args)?,
        Task::Ta(args) => ta::run(&args)?,
        Task::Qemu(args) => return qemu_command::run(args),
        Task::New(args) => new::run(&args)?,
        Task::Run(args) => return run::run(&args),
        Task::Pack(args) => pack::run(*args)?,
        Task::Inspect(args) => return inspect::run(args),
        Task::Verify(args) => return verify::run(&args),
        Task::Unpack(args) => unpack::run(&args)?,
        Task::Demo(args) => demo::run(&args)?,
        Task::Test(args) => return suite::run(&args),
        Task::Fuzz(args) => return fuzz::run(&args),
        Task::Campaign(args) => return campaign::run(&args),
        Task::Bench(args) => return bench::run(&args),
        Task::Lock(args) => lock_update::run(&args)?,
        Task::Yocto(args) => return yocto::run(&args),
        Task::Clean => clean()?,
        Task::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "tb", &mut script);
            // Whoever stops reading, as `head` does, has read enough.
            let _ = std::io::stdout().write_all(&script);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn clean() -> Result<()> {
    let repo = crate::builder::Repo::find()?;
    for name in ["target/tb", "target/ta", "target/device", "target/fuzz", "target/coverage", "target/miri"] {
        let folder = repo.root().join(name);
        if folder.exists() {
            std::fs::remove_dir_all(&folder)?;
            println!("removed {}", folder.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn command_line_is_consistent() {
        use clap::CommandFactory;
        super::Cli::command().debug_assert();
    }
}
