//! A token of SoftHSM in a folder of its own.
//!
//! SoftHSM learns its folder from the environment, so a test program makes one and starts itself again in it.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitCode};

/// Where the folder is, once there is one.
pub const FOLDER: &str = "TRUSTBOX_TEST_TOKEN";
/// SoftHSM's module.
pub const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
/// PIN of every token.
pub const PIN: &str = "123456";
const CONFIGURATION: &str = "SOFTHSM2_CONF";

/// Makes a folder with a token in it, and runs this program again with both.
pub fn again_with(label: &str, more: impl FnOnce(&Path)) -> ExitCode {
    let folder = tempfile::tempdir().expect("a folder");
    make(folder.path(), label);
    more(folder.path());
    let itself = env::current_exe().expect("this program");
    let status = Command::new(itself)
        .args(env::args_os().skip(1))
        .env(FOLDER, folder.path())
        .env(CONFIGURATION, folder.path().join("softhsm2.conf"))
        .status()
        .expect("this program again");
    if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn make(folder: &Path, label: &str) {
    fs::create_dir(folder.join("tokens")).expect("a folder for tokens");
    let settings = format!("directories.tokendir = {}\nlog.level = ERROR\n", folder.join("tokens").display());
    fs::write(folder.join("softhsm2.conf"), settings).expect("settings");
    fs::write(folder.join("pin"), format!("{PIN}\n")).expect("a PIN");
    fs::set_permissions(folder.join("pin"), fs::Permissions::from_mode(0o600)).expect("permissions");
    add(folder, label);
}

/// Makes a token in the folder.
pub fn add(folder: &Path, label: &str) {
    let token = ["--init-token", "--free", "--label", label, "--so-pin", "654321", "--pin", PIN];
    run(softhsm(folder).args(token));
}

/// SoftHSM's own program, for the tokens of a folder.
pub fn softhsm(folder: &Path) -> Command {
    let mut command = Command::new("softhsm2-util");
    command.env(CONFIGURATION, folder.join("softhsm2.conf"));
    command
}

/// Runs what must succeed.
pub fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
