//! A -dev image on the emulated device, with a key for SSH that its maker put into it.

use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::Bench;
use crate::boot::emulated::end_of;
use crate::image::ImageRequest;
use crate::image::emulate::{self, Options};
use crate::image::parts::Edition;
use crate::suite::Outcome;
use crate::suite::on_device;
use crate::suite::remote::Remote;
use crate::tool::{Tool, quote};

/// Where dropbear looks for keys of root.
const KEYS: &str = "root/.ssh/authorized_keys";
/// A test of OP-TEE that loads a trusted application from the root, and what it says.
const XTEST: &str = "xtest -t regression 1004";
const PASSED: [&str; 2] = ["regression_1004 OK", "of which 0 failed"];
/// What an updater does around writing slot b, and what it is told.
const UPDATE: &str = "set -e; s=trustbox-system; $s get-current; $s get-primary; $s set-state b bad; $s get-state b; \
    $s get-primary; $s set-primary b; $s get-primary; $s get-state b";
const TOLD: &str = "a\na\nbad\na\nb\ngood\n";
/// tee-supplicant comes back as often as it ends, at once, and nobody else is started again.
const KILLS: &str = "set -e; good() { systemctl show --value -p InvocationID trustbox-good; }; before=$(good); \
    restarts() { systemctl show --value -p NRestarts tee-supplicant; }; \
    for i in 1 2 3 4 5 6 7 8; do systemctl kill -s KILL tee-supplicant; t=0; \
    until test $(restarts) = $i && systemctl -q is-active tee-supplicant; do \
    t=$((t + 1)); test $t -lt 50; sleep 0.1; done; done; \
    trustbox info >/dev/null; restarts; test $before = $(good)";
/// So often systemd itself would start it within ten seconds.
const START_LIMIT: u32 = 5;
/// What ssh's status is where it was not let in.
const REFUSED: i32 = 255;

/// Cases of the device suite that want something of the image: its storage is tee-supplicant's, its root is read-only.
const CASES: [&str; 3] = ["5007", "6002", "8213"];

impl Bench<'_> {
    /// Nobody is at the factory's port of a blank device. The key that the image names is let in; another one is not. The device suite
    /// becomes the owner. What is said of slots there, U-Boot goes by.
    pub(super) fn development(&self) -> Result<()> {
        let folder = self.folder.join("dev");
        let _ = fs::remove_dir_all(&folder);
        let [named, other] = [Ssh::with_new_key(&folder, "named")?, Ssh::with_new_key(&folder, "other")?];
        let with = folder.join("with");
        fs::create_dir_all(with.join(KEYS).parent().context("no folder")?)?;
        fs::copy(folder.join("named.pub"), with.join(KEYS))?;
        let mut request =
            ImageRequest::development(self.builder, Edition { dev: true, ..Edition::default() })?;
        request.more = Some(with);
        let image = self.file("dev.img");
        self.builder.image(&request)?.write(&image)?;
        let here = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let state = folder.join("device");
        let options =
            Options { forward: vec![(here, emulate::SSH)], ..Options::of(&image, Some(state.clone())) };
        let boot = emulate::boot_then(self.builder, None, &options, |_| {
            let (status, said) = named.run(here, XTEST)?;
            ensure!(status == Some(0) && PASSED.iter().all(|word| said.contains(word)), "xtest: {said}");
            let (status, said) = other.run(here, "id")?;
            ensure!(status == Some(REFUSED) && !said.contains("uid="), "another key: {status:?} {said}");
            let (status, said) = named.run(here, UPDATE)?;
            ensure!(status == Some(0) && said == TOLD, "an updater is told: {said}");
            let (status, said) = named.run(here, KILLS)?;
            let restarts: Option<u32> = said.trim().parse().ok();
            ensure!(status == Some(0) && restarts > Some(START_LIMIT), "a killed tee-supplicant: {said}");
            self.device_suite(&named, here)
        })?;
        let report = boot.report.with_context(|| end_of(&boot.log))?;
        ensure!(report["image"]["dev"] == true && report["slot"] == "a", "{report}");
        ensure!(report["tee"]["lifecycle"] == "blank" && report["enclave"].is_null(), "{report}");
        let boot = emulate::boot(self.builder, None, &Options::of(&image, Some(state)))?;
        let report = boot.report.with_context(|| end_of(&boot.log))?;
        ensure!(report["slot"] == "b", "after an update: {report}");
        ensure!(report["tee"]["lifecycle"] == "provisioned", "after the device suite: {report}");
        Ok(())
    }

    fn device_suite(&self, ssh: &Ssh, port: u16) -> Result<()> {
        let remote = Remote::through(&ssh.program, format!("ssh://root@127.0.0.1:{port}").parse()?)?;
        let cases = on_device::on_board(self.builder, remote, &CASES.map(str::to_owned), 0)?;
        ensure!(cases.len() == CASES.len(), "not each case ran: {cases:?}");
        ensure!(cases.iter().all(|case| case.outcome == Outcome::Passed), "over SSH: {cases:?}");
        Ok(())
    }
}

/// `ssh` with a key of its own and without what a user has configured.
struct Ssh {
    program: PathBuf,
}

impl Ssh {
    fn with_new_key(folder: &Path, name: &str) -> Result<Self> {
        fs::create_dir_all(folder)?;
        let (key, program) = (folder.join(name), folder.join(format!("{name}.sh")));
        let tool = Tool::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key);
        tool.help("install Debian package openssh-client").output()?;
        let key = quote(key.to_str().context("a folder's name is not UTF-8")?);
        // The device has another key on each boot.
        let options = "-F none -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \
            -o LogLevel=ERROR";
        fs::write(&program, format!("#!/bin/sh\nexec ssh {options} -i {key} \"$@\"\n"))?;
        fs::set_permissions(&program, Permissions::from_mode(0o755))?;
        Ok(Self { program })
    }

    /// A command on the device as root; its status, and what it said.
    fn run(&self, port: u16, command: &str) -> Result<(Option<i32>, String)> {
        let tool = Tool::new(&self.program).args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=60"]);
        let tool = tool.args(["-p", &port.to_string(), "root@127.0.0.1", command]);
        let output = tool.command().output().context("cannot start ssh")?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
    }
}
