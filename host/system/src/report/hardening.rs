//! How the device is closed, as it is found: sockets that listen, programs with more rights than their user, mounts, kernel
//! settings, modules, accounts.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// What the kernel is told; each line is `NAME = VALUE`.
const SETTINGS: &str = "usr/lib/sysctl.d/90-trustbox.conf";
/// Programs that would let somebody in.
const SHELLS: [&str; 9] = [
    "usr/bin/sh",
    "usr/bin/bash",
    "usr/bin/dash",
    "usr/bin/busybox",
    "usr/sbin/sshd",
    "usr/bin/login",
    "usr/sbin/agetty",
    "usr/sbin/sulogin",
    "usr/bin/xtest",
];
const SETUID: u32 = 0o6000;
/// In `/proc/net/tcp`: state "listen"; in `/proc/net/udp`: not connected.
const LISTENING: [(&str, &str); 4] = [("tcp", "0A"), ("tcp6", "0A"), ("udp", "07"), ("udp6", "07")];

/// Everything, below this root.
pub(super) fn look(root: &Path, command_line: &str) -> Result<Value> {
    let settings =
        fs::read_to_string(root.join(SETTINGS)).with_context(|| format!("cannot read {SETTINGS}"))?;
    let read = |name: &str| {
        fs::read_to_string(root.join(name)).map(|text| text.trim().to_owned()).unwrap_or_default()
    };
    Ok(json!({
        "ports": ports(root),
        "setuid": setuid(root),
        "shells": SHELLS.iter().filter(|name| root.join(name).exists()).collect::<Vec<_>>(),
        "logins": logins(&read("etc/passwd"), &read("etc/shadow")),
        "writable_and_executable": writable_and_executable(&read("proc/1/mounts")),
        "sysctl": {"lines": wanted(&settings).count(), "different": different(root, &settings)},
        "services": services(root),
        "modules": modules(&read("proc/modules")),
        "modules_closed": read("proc/sys/kernel/modules_disabled") == "1",
        "modules_signed": read("sys/module/module/parameters/sig_enforce") == "Y",
        "lockdown": chosen(&read("sys/kernel/security/lockdown")),
        "firewall": firewall(),
        "tee_devices": tee_devices(root),
        "command_line": command_line.trim(),
    }))
}

/// `PROTOCOL ADDRESS:PORT` of sockets that wait for somebody, as the kernel writes addresses.
fn ports(root: &Path) -> Vec<String> {
    LISTENING
        .iter()
        .flat_map(|(protocol, state)| {
            let text = fs::read_to_string(root.join("proc/net").join(protocol)).unwrap_or_default();
            listening(protocol, state, &text)
        })
        .collect()
}

fn listening(protocol: &str, state: &str, text: &str) -> Vec<String> {
    let fields = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let open = fields.filter(|fields| fields.get(3) == Some(&state));
    open.filter_map(|fields| {
        let (address, port) = fields.get(1)?.split_once(':')?;
        Some(format!("{protocol} {address}:{}", u16::from_str_radix(port, 16).ok()?))
    })
    .collect()
}

/// Files that run as somebody else than who starts them, on the verified root only.
fn setuid(root: &Path) -> Vec<String> {
    let Ok(device) = fs::metadata(root).map(|found| found.dev()) else { return Vec::new() };
    let (mut found, mut folders) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Ok(facts) = entry.metadata() else { continue };
            if facts.is_dir() && facts.dev() == device {
                folders.push(entry.path());
            } else if facts.is_file() && facts.mode() & SETUID != 0 {
                found.push(entry.path().display().to_string());
            }
        }
    }
    found.sort();
    found
}

/// Accounts that have both a password and a shell.
fn logins(passwd: &str, shadow: &str) -> Vec<String> {
    let open: BTreeSet<&str> = shadow
        .lines()
        .filter_map(|line| {
            let (name, rest) = line.split_once(':')?;
            (!rest.starts_with('!') && !rest.starts_with('*')).then_some(name)
        })
        .collect();
    let names = passwd.lines().filter_map(|line| {
        let (name, shell) = (line.split(':').next()?, line.rsplit(':').next()?);
        (open.contains(name) || !shell.ends_with("nologin")).then(|| name.to_owned())
    });
    names.collect()
}

/// Mounts where somebody could put a program and start it.
fn writable_and_executable(mounts: &str) -> Vec<String> {
    let fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    fields
        .filter_map(|fields| {
            let (target, options) = (fields.get(1)?, fields.get(3)?);
            let has = |word: &str| options.split(',').any(|option| option == word);
            (has("rw") && !has("noexec")).then(|| (*target).to_owned())
        })
        .collect()
}

fn wanted(settings: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = settings.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.trim().trim_start_matches('-'), value.trim()))
}

/// Settings that are not as the image wants them: `NAME is VALUE`.
fn different(root: &Path, settings: &str) -> Vec<String> {
    let found = wanted(settings).filter_map(|(name, value)| {
        let path = root.join("proc/sys").join(name.replace('.', "/"));
        let now = fs::read_to_string(path)
            .map_or_else(|error| error.kind().to_string(), |text| text.trim().to_owned());
        let same = now.split_whitespace().eq(value.split_whitespace());
        (!same).then(|| format!("{name} is {now}"))
    });
    found.collect()
}

/// Services that run, each in a group of its own.
fn services(root: &Path) -> Vec<String> {
    let folders = fs::read_dir(root.join("sys/fs/cgroup/system.slice")).into_iter().flatten().flatten();
    let names = folders.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".service")).collect();
    names.sort();
    names
}

/// What happens to packets that nobody asked for, as the kernel has it.
fn firewall() -> String {
    let output = Command::new("/usr/sbin/nft").args(["list", "chain", "inet", "trustbox", "input"]).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.split_once("policy ").and_then(|(_, rest)| rest.split(';').next()).unwrap_or("none").to_owned()
}

fn modules(text: &str) -> Vec<String> {
    let mut names: Vec<_> =
        text.lines().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect();
    names.sort();
    names
}

/// The word in brackets.
fn chosen(text: &str) -> &str {
    text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("", |(word, _)| word)
}

/// `NAME MODE GROUP` of OP-TEE's devices.
fn tee_devices(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("dev")).into_iter().flatten().flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let (name, facts) = (entry.file_name().to_string_lossy().into_owned(), entry.metadata().ok()?);
            let ours = name.starts_with("tee") && facts.file_type().is_char_device();
            ours.then(|| format!("{name} {:04o} {}", facts.permissions().mode() & 0o7777, facts.gid()))
        })
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_for_somebody_is_named() {
        let text = "  sl  local_address rem_address   st\n   0: 0100007F:1F90 00000000:0000 0A 0\n   1: 0100007F:1F91 0100007F:0001 01 0\n";
        assert_eq!(listening("tcp", "0A", text), ["tcp 0100007F:8080"]);
    }

    #[test]
    fn a_password_or_a_shell_is_a_login() {
        let shadow = "root:!:1::::::\na:$6$x:1::::::\nb:*:1::::::\n";
        let passwd = "root:x:0:0::/:/usr/sbin/nologin\na:x:1:1::/:/usr/sbin/nologin\nb:x:2:2::/:/bin/sh\n";
        assert_eq!(logins(passwd, shadow), ["a", "b"]);
    }

    #[test]
    fn programs_can_be_put_only_where_both_are_allowed() {
        let mounts = "a / squashfs ro 0 0\nb /run tmpfs rw,noexec 0 0\nc /tmp tmpfs rw,nosuid 0 0\n";
        assert_eq!(writable_and_executable(mounts), ["/tmp"]);
    }

    #[test]
    fn settings_are_held_against_what_the_kernel_says() {
        let root = tempfile::tempdir().unwrap();
        let kernel = root.path().join("proc/sys/kernel");
        fs::create_dir_all(&kernel).unwrap();
        fs::write(kernel.join("a"), "1\t2\n").unwrap();
        fs::write(kernel.join("b"), "0\n").unwrap();
        let settings = "# why\nkernel.a = 1 2\nkernel.b = 1\nkernel.c = 1\n";
        assert_eq!(wanted(settings).count(), 3);
        assert_eq!(different(root.path(), settings), ["kernel.b is 0", "kernel.c is entity not found"]);
        assert_eq!(chosen("none [integrity] confidentiality"), "integrity");
    }

    #[test]
    fn set_user_id_is_found_wherever_it_is() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("usr/bin")).unwrap();
        for (name, mode) in [("su", 0o4755), ("ls", 0o755)] {
            let path = root.path().join("usr/bin").join(name);
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        assert_eq!(setuid(root.path()), [root.path().join("usr/bin/su").display().to_string()]);
    }
}
