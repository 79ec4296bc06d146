//! A -dev image on the emulated device, with a key for SSH that its maker put into it.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use super::Bench;
use crate::boot::emulated::end_of;
use crate::image::ImageRequest;
use crate::image::emulate::{self, Options};
use crate::image::factory::Factory;
use crate::image::parts::Edition;
use crate::tool::Tool;

/// Where dropbear looks for keys of root.
const KEYS: &str = "root/.ssh/authorized_keys";
/// A test of OP-TEE that loads a trusted application from the root, and what it says.
const XTEST: &str = "xtest -t regression 1004";
const PASSED: [&str; 2] = ["regression_1004 OK", "of which 0 failed"];
/// What an updater does around writing slot b, and what it is told.
const UPDATE: &str = "set -e; s=trustbox-system; $s get-current; $s get-primary; $s set-state b bad; $s get-state b; \
    $s get-primary; $s set-primary b; $s get-primary; $s get-state b";
const TOLD: &str = "a\na\nbad\na\nb\ngood\n";
/// What ssh's status is where it was not let in.
const REFUSED: i32 = 255;

impl Bench<'_> {
    /// The key that the image names is let in; another one is not. What is said of slots there, U-Boot goes by.
    pub(super) fn development(&self) -> Result<()> {
        let folder = self.folder.join("dev");
        let _ = fs::remove_dir_all(&folder);
        let keys = [new_key(&folder, "named")?, new_key(&folder, "other")?];
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
        let factory = Factory::prepare(self.builder)?;
        let boot = emulate::boot_then(self.builder, Some(&factory), &options, |_| {
            let [named, other] = &keys;
            let (status, said) = ssh(here, named, XTEST)?;
            ensure!(status == Some(0) && PASSED.iter().all(|word| said.contains(word)), "xtest: {said}");
            let (status, said) = ssh(here, other, "id")?;
            ensure!(status == Some(REFUSED) && !said.contains("uid="), "another key: {status:?} {said}");
            let (status, said) = ssh(here, named, UPDATE)?;
            ensure!(status == Some(0) && said == TOLD, "an updater is told: {said}");
            Ok(())
        })?;
        let report = boot.report.with_context(|| end_of(&boot.log))?;
        ensure!(report["image"]["dev"] == true && report["slot"] == "a", "{report}");
        ensure!(report["enclave"].is_string(), "{report}");
        let boot = emulate::boot(self.builder, None, &Options::of(&image, Some(state)))?;
        let report = boot.report.with_context(|| end_of(&boot.log))?;
        ensure!(report["slot"] == "b" && report["enclave"].is_string(), "after an update: {report}");
        Ok(())
    }
}

fn new_key(folder: &Path, name: &str) -> Result<std::path::PathBuf> {
    fs::create_dir_all(folder)?;
    let key = folder.join(name);
    let tool = Tool::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key);
    tool.help("install Debian package openssh-client").output()?;
    Ok(key)
}

/// A command on the device as root; its status, and what it said.
fn ssh(port: u16, key: &Path, command: &str) -> Result<(Option<i32>, String)> {
    let tool = Tool::new("ssh").args(["-F", "none", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes"]);
    // The device has another key on each boot.
    let tool = tool.args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]);
    let tool = tool.args(["-o", "LogLevel=ERROR"]);
    let tool = tool.args(["-o", "ConnectTimeout=60", "-p", &port.to_string(), "-i"]).arg(key);
    let output = tool.args(["root@127.0.0.1", command]).command().output().context("cannot start ssh")?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.code(), String::from_utf8_lossy(&said).into_owned()))
}
