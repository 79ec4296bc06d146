//! QEMU's argument vector for one boot of the emulated device.

use std::ffi::OsString;
use std::net::SocketAddrV4;
use std::path::Path;

use crate::board::Emulator;
use crate::debugger;
use crate::device::BootOptions;
use crate::device::flash::{DISK_SIZE, Flash};
use crate::device::lab::{INCOMING, Lab, MONITOR};
use crate::guest::Images;
use crate::tool::Tool;

/// Names of the virtio ports, as the guest's init looks for them.
pub(crate) const PORTS: [&str; 3] = ["control", "stdout", "stderr"];

/// How commands reach the device.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Console {
    /// One by one, through virtio ports.
    Ports,
    /// A shell on our terminal.
    Terminal,
    /// Not at all: only its logs are of interest.
    None,
}

/// Folders of one boot.
pub(crate) struct BootFolders<'a> {
    /// `normal.log` and `secure.log`.
    pub(crate) logs: &'a Path,
    /// Unix sockets of the ports.
    pub(crate) sockets: &'a Path,
    /// The folder at /mnt/share.
    pub(crate) share: &'a Path,
    /// The secure flash.
    pub(crate) flash: &'a Flash,
}

/// The whole command.
pub(crate) fn tool(images: &Images, options: &BootOptions, console: Console, folders: &BootFolders) -> Tool {
    let emulator = &images.emulator;
    let cpus = if options.icount { 1 } else { emulator.cpus };
    let tool = machine(emulator, cpus);
    let tool = match &images.medium {
        Some(file) => boot_medium(tool, file),
        None => kernel(tool, images, command_line(images, options, console)),
    };
    let tool = secure_flash(tool, folders.flash);
    let tool = consoles(tool, console, options.station, folders.logs);
    let tool = share(tool, "share", folders.share, false);
    let tool = options.copy.iter().fold(tool, |tool, folder| share(tool, "host", folder, true));
    let tool = options.state.iter().fold(tool, |tool, file| disk(tool, file));
    let tool = if console == Console::Ports { ports(tool, folders.sockets) } else { tool };
    lab(extras(tool, options), &options.lab, folders.sockets)
}

/// The whole command for a device that boots from a medium and has nothing of ours but a factory's port, and an Ethernet where a
/// router of QEMU's answers and nobody else can be reached.
pub(crate) fn image_tool(
    emulator: &Emulator,
    (medium, size): (&Path, u64),
    flash: &Flash,
    logs: &Path,
    sockets: &Path,
    forward: &[(u16, SocketAddrV4)],
) -> Tool {
    let tool = machine(emulator, emulator.cpus);
    let head = format!("if=none,id=boot,format=raw,file.locking=off,offset=0,size={size}");
    let tool = tool.arg("-drive").arg(joined(&head, &option("file.filename", medium)));
    let tool = tool.args(["-device", "virtio-blk-pci,drive=boot,serial=boot"]);
    let tool = secure_flash(tool, flash);
    let console = joined("socket,id=normal,server=on,wait=off", &option("path", &sockets.join("console")));
    let console = joined(&console.to_string_lossy(), &option("logfile", &logs.join("normal.log")));
    let tool = tool.arg("-chardev").arg(console).args(["-serial", "chardev:normal"]);
    let secure = joined("file,id=secure", &option("path", &logs.join("secure.log")));
    let tool =
        tool.arg("-chardev").arg(secure).args(["-serial", "chardev:secure", "-device", "virtio-serial-pci"]);
    let forward = forward
        .iter()
        .map(|(here, there)| format!(",hostfwd=tcp:127.0.0.1:{here}-{}:{}", there.ip(), there.port()));
    let tool = tool.args(["-netdev", &format!("user,id=net,restrict=on{}", forward.collect::<String>())]);
    let tool = tool.args(["-device", "virtio-net-pci,netdev=net,romfile="]);
    let port = joined("socket,id=factory", &option("path", &sockets.join("factory")));
    tool.arg("-chardev").arg(port).args(["-device", "virtserialport,chardev=factory,name=trustbox.factory"])
}

fn machine(emulator: &Emulator, cpus: u32) -> Tool {
    Tool::new(&emulator.program)
        .args(["-nodefaults", "-display", "none", "-no-reboot", "-machine", &emulator.machine])
        .args(["-cpu", &emulator.cpu, "-smp", &cpus.to_string(), "-m", &emulator.memory_mib.to_string()])
}

fn kernel(tool: Tool, images: &Images, command_line: String) -> Tool {
    let tool = tool.arg("-kernel").arg(&images.kernel).arg("-initrd").arg(&images.initrd);
    tool.arg("-append").arg(command_line)
}

/// The first disk. A signed command line is the same in every boot, so the others have names that Linux can see.
fn boot_medium(tool: Tool, file: &Path) -> Tool {
    tool.arg("-drive")
        .arg(joined("if=none,id=boot,format=raw", &option("file", file)))
        .args(["-device", "virtio-blk-pci,drive=boot,serial=boot"])
}

fn command_line(images: &Images, options: &BootOptions, console: Console) -> String {
    let words = [
        (console == Console::Terminal, "trustbox.shell"),
        (options.copy.is_some(), "trustbox.copy"),
        (options.state.is_some(), "trustbox.state"),
        (options.station, "trustbox.station"),
    ];
    let words = words.iter().filter(|(on, _)| *on).map(|(_, word)| *word);
    std::iter::once(images.command_line.as_str()).chain(words).collect::<Vec<_>>().join(" ")
}

/// Firmware and kernel write to logs only; a shell has a console of its own.
fn consoles(tool: Tool, console: Console, station: bool, logs: &Path) -> Tool {
    let tool = ["normal", "secure"].iter().fold(tool, |tool, world| {
        let (kind, name) = if station && *world == "normal" { ("pty", "logfile") } else { ("file", "path") };
        let path = option(name, &logs.join(format!("{world}.log")));
        tool.arg("-chardev")
            .arg(joined(&format!("{kind},id={world}"), &path))
            .args(["-serial", &format!("chardev:{world}")])
    });
    let tool = tool.args(["-device", "virtio-serial-pci"]);
    match console {
        Console::Ports | Console::None => tool,
        Console::Terminal => tool
            .args(["-chardev", "stdio,id=terminal,mux=on,signal=off", "-mon", "chardev=terminal"])
            .args(["-device", "virtconsole,chardev=terminal"]),
    }
}

fn share(tool: Tool, tag: &str, folder: &Path, readonly: bool) -> Tool {
    let head = format!("local,id={tag},security_model=none,multidevs=remap");
    let head = if readonly { format!("{head},readonly=on") } else { head };
    tool.arg("-fsdev")
        .arg(joined(&head, &option("path", folder)))
        .args(["-device", &format!("virtio-9p-pci,fsdev={tag},mount_tag={tag}")])
}

/// The state file's own lock is taken for its disk; two users of one file are two devices with one identity.
fn secure_flash(tool: Tool, flash: &Flash) -> Tool {
    let readonly = if flash.writable { "off" } else { "on" };
    let head = format!(
        "if=pflash,index=0,format=raw,readonly={readonly},offset={},size={},file.locking=off",
        flash.offset, flash.size
    );
    tool.arg("-drive").arg(joined(&head, &option("file.filename", &flash.file)))
}

/// The file system only: what is behind it in the file is not for Linux.
fn disk(tool: Tool, file: &Path) -> Tool {
    let head = format!("if=none,id=state,format=raw,offset=0,size={DISK_SIZE}");
    tool.arg("-drive")
        .arg(joined(&head, &option("file.filename", file)))
        .args(["-device", "virtio-blk-pci,drive=state,serial=state"])
}

fn ports(tool: Tool, sockets: &Path) -> Tool {
    PORTS.iter().fold(tool, |tool, name| {
        tool.arg("-chardev")
            .arg(joined(&format!("socket,id={name}"), &option("path", &sockets.join(name))))
            .args(["-device", &format!("virtserialport,chardev={name},name=trustbox.{name}")])
    })
}

fn extras(tool: Tool, options: &BootOptions) -> Tool {
    let tool = if options.icount { tool.args(["-icount", "shift=0,sleep=off"]) } else { tool };
    if options.gdb { tool.args(["-S", "-gdb", &format!("tcp:{}", debugger::ADDRESS)]) } else { tool }
}

/// A disk that the host serves, a monitor, a machine that was frozen before.
fn lab(tool: Tool, lab: &Lab, sockets: &Path) -> Tool {
    let Some(disk) = &lab.disk else { return tool };
    let drive = "if=none,id=state,format=raw,file.driver=nbd,file.server.type=unix";
    let tool = tool.arg("-drive").arg(joined(drive, &option("file.server.path", disk)));
    let tool = tool.args(["-device", "virtio-blk-pci,drive=state"]);
    let monitor = option("path", &sockets.join(MONITOR));
    let tool = tool.arg("-chardev").arg(joined("socket,id=monitor,server=on,wait=off", &monitor));
    let tool = tool.args(["-mon", "chardev=monitor,mode=readline"]);
    match lab.frozen {
        Some(_) => tool.arg("-incoming").arg(format!("unix:{}", sockets.join(INCOMING).display())),
        None => tool,
    }
}

/// `,NAME=VALUE` with QEMU's doubled commas.
fn option(name: &str, value: &Path) -> OsString {
    let mut text = OsString::from(format!(",{name}="));
    text.push(value.to_string_lossy().replace(',', ",,"));
    text
}

fn joined(head: &str, tail: &OsString) -> OsString {
    let mut text = OsString::from(head);
    text.push(tail);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_in_paths_are_doubled() {
        assert_eq!(option("path", Path::new("/a,b")), OsString::from(",path=/a,,b"));
    }
}
