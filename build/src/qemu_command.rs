//! `tb qemu`: one command, or a shell, on the emulated device.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Result;

use crate::boot::certificates::Counters;
use crate::builder::Builder;
use crate::device::{BootOptions, Device, shell};
use crate::guest::{GuestKind, Images};
use crate::image::emulate;
use crate::{debugger, served, ui};

/// Boots the emulated device and runs a command there.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Board to emulate
    #[arg(long, value_name = "BOARD", default_value = crate::board::DEFAULT)]
    platform: String,
    /// Folder to have at /mnt/host; the device may write there, the folder does not change
    #[arg(long, value_name = "DIR")]
    copy: Option<PathBuf>,
    /// File that keeps secure storage between boots; made on first use
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Count instructions instead of time, on one core
    #[arg(long)]
    icount: bool,
    /// Wait for a debugger and say how to load the TA's symbols
    #[arg(long)]
    gdb: bool,
    /// Include OP-TEE's own test program, xtest
    #[arg(long)]
    xtest: bool,
    /// Boot as a product does: firmware and a signed image, each verified before it runs
    #[arg(long, conflicts_with_all = ["gdb"])]
    verified: bool,
    /// Boot an image that `tb image` made, from its own octets; shows its boot report
    #[arg(long, value_name = "FILE", conflicts_with_all = ["gdb", "verified", "xtest", "copy", "icount", "command", "serve"])]
    image: Option<PathBuf>,
    /// With --image: nobody is at the factory's port, so a blank device stays blank
    #[arg(long, requires = "image")]
    no_factory: bool,
    /// With --image: go on after the report, with the console here
    #[arg(long, requires = "image")]
    console: bool,
    /// With --image: this port of this host leads to the device's SSH, which -dev images have
    #[arg(long, value_name = "PORT", requires = "image")]
    ssh: Option<u16>,
    /// Run commands for whoever connects to this Unix socket, until the emulator ends: for `trustbox-keys station`
    #[arg(long, value_name = "SOCKET", conflicts_with_all = ["gdb", "command"])]
    serve: Option<PathBuf>,
    /// With --serve: the agent of a factory's line answers on the console, a pseudo-terminal that is named
    #[arg(long, requires = "serve")]
    station: bool,
    /// How long the command may take
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    timeout: u64,
    /// Command and its arguments; none gives a shell
    #[arg(last = true, value_name = "CMD")]
    command: Vec<String>,
}

/// Runs `tb qemu`; the result is the command's exit status.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    ui::only_long_steps();
    let kind = if args.xtest { GuestKind::Xtest } else { GuestKind::Plain };
    let builder = Builder::open(&args.platform)?;
    if let Some(image) = args.image {
        let (limit, factory) = (Duration::from_secs(args.timeout), !args.no_factory);
        let options = emulate::Options {
            limit,
            factory,
            console: args.console,
            forward: args.ssh.map(|port| (port, emulate::SSH)).into_iter().collect(),
            ..emulate::Options::of(&image, args.state)
        };
        return emulate::run(builder, &options);
    }
    let images = if args.verified { verified(&builder, kind)? } else { builder.images(kind, args.gdb)? };
    drop(builder);
    if args.gdb {
        debugger::explain(&images, "a TA", crate::TRUSTBOX_UUID, &images.ta_elf);
    }
    let options = BootOptions {
        copy: args.copy,
        state: args.state,
        icount: args.icount,
        station: args.station,
        gdb: args.gdb,
        timeout: Duration::from_secs(args.timeout),
        ..BootOptions::default()
    };
    let result = if let Some(socket) = &args.serve {
        let listener = served::listen(socket)?;
        let mut device = Device::boot(&images, &options)?;
        eprintln!("the emulated device takes commands on {}", socket.display());
        if args.station {
            eprintln!("a station's agent answers on {}", device.console()?.display());
        }
        served::serve(&mut device, &listener, &AtomicBool::new(false)).map(|()| ExitCode::SUCCESS)
    } else if args.command.is_empty() {
        eprintln!("shell on the emulated device: `exit` switches it off, Ctrl-A X ends the emulator");
        shell(&images, &options).map(|()| ExitCode::SUCCESS)
    } else {
        run_command(&images, &options, &args.command)
    };
    // Made for this boot only.
    images.medium.iter().for_each(|medium| drop(std::fs::remove_file(medium)));
    result
}

/// Images with a new medium, which has the signed image in both slots.
fn verified(builder: &Builder, kind: GuestKind) -> Result<Images> {
    let set = builder.verified_set(builder.boot_keys()?, kind, Counters::default())?;
    let medium = builder.work("verified")?.join(format!("{}.img", std::process::id()));
    set.medium(&medium)?;
    Ok(set.images_for(&medium))
}

fn run_command(images: &Images, options: &BootOptions, command: &[String]) -> Result<ExitCode> {
    let mut device = Device::boot(images, options)?;
    let status = device.exec_to(command, &mut std::io::stdout(), &mut std::io::stderr())?;
    device.power_off()?;
    Ok(ExitCode::from(u8::try_from(status).unwrap_or(u8::MAX)))
}
