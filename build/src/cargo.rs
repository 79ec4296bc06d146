//! Cargo for the host, for trusted applications and for programs that run on the device.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::builder::Builder;
use crate::image::archive::Archive;
use crate::tool::Tool;
use crate::ui;

/// The Rust target of everything that runs on the device, in both worlds.
pub(crate) const TARGET: &str = "aarch64-unknown-linux-gnu";
/// What turns the device suite into a program of the device.
pub(crate) const DEVICE_FEATURES: [&str; 2] = ["--features", "trustbox-test/optee"];
const LINKER: &str = "aarch64-linux-gnu-gcc";
/// No libc and no start files: OP-TEE's loader refuses a TA that needs either. AES and SHA instructions are always
/// there, and a TA cannot ask for them at run time. A build id is a digest over debug information too, which has paths.
pub(crate) const TA_FLAGS: &str = "-C panic=abort -C link-arg=-nostartfiles -C link-arg=-nostdlib \
    -C link-arg=-Wl,--build-id=none -C target-feature=+aes,+sha2,+neon";

/// What folders of crates are called in what is built.
pub(crate) const REGISTRY: &str = "/crates";

/// Names cargo a compiler for crates of the workspace alone.
pub(crate) const WORKSPACE_COMPILER: &str = "RUSTC_WORKSPACE_WRAPPER";

/// Writes the wrapper around the compiler that adds flags, for [`WORKSPACE_COMPILER`].
pub(crate) fn compiler_with(flags: &str, folder: &Path) -> Result<PathBuf> {
    let path = folder.join("rustc");
    fs::create_dir_all(folder)?;
    fs::write(&path, format!("#!/bin/sh\nexec \"$@\" {flags}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

impl Builder {
    /// Cargo on the workspace, for the host.
    pub(crate) fn cargo(&self) -> Tool {
        let cargo = Tool::new("cargo").dir(self.repo.root());
        let cargo = cargo.without_env("RUSTFLAGS").without_env("CARGO_TARGET_DIR");
        self.archive.iter().fold(cargo, |cargo, archive| archive.cargo(cargo))
    }

    /// Cargo for trusted applications; `kit` is OP-TEE's development kit.
    pub(crate) fn cargo_for_ta(&self, kit: &Path) -> Result<Tool> {
        let authority = self.provisioning_authority()?;
        let flags = format!("{TA_FLAGS} {}", self.remapped_paths()?);
        Ok(self
            .cross("target/ta", &flags)
            .env("TA_DEV_KIT_DIR", kit)
            .env("TRUSTBOX_PROVISIONING_AUTHORITY", authority)
            .env("TRUSTBOX_BOARD", self.board.name.get_ref())
            .env("TRUSTBOX_ROLLBACK_PROTECTION", self.board.ta.rollback_protection.name())
            .env("TRUSTBOX_MAX_IMAGE", self.board.ta.max_image.to_string())
            .env("TRUSTBOX_PROFILE", self.board.profile.name()))
    }

    /// Builds `trustbox-keys` for this host.
    pub(crate) fn keys_program(&self) -> Result<PathBuf> {
        let log = self.log("trustbox-keys-build");
        // Without naming its package: the host tests then share what is compiled.
        let build = self.cargo().args(["build", "--color=never", "--bin", "trustbox-keys"]);
        ui::step("trustbox-keys", || build.run(&log))?;
        Ok(self.repo.root().join("target/debug/trustbox-keys"))
    }

    /// Cargo for programs of the device's Linux.
    pub(crate) fn cargo_for_device(&self) -> Result<Tool> {
        let export = self.client_export()?;
        let flags = format!("-L native={} {}", export.join("usr/lib").display(), self.remapped_paths()?);
        Ok(self.cross("target/device", &flags).env("OPTEE_CLIENT_EXPORT", &export))
    }

    /// Keeps the places of this host out of what is measured and signed, so that others can build the same.
    fn remapped_paths(&self) -> Result<String> {
        let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
        let home = home.context("neither CARGO_HOME nor HOME is set")?;
        let sysroot = Tool::new("rustc").dir(self.repo.root()).args(["--print", "sysroot"]).output()?;
        let mut places = vec![
            (self.repo.root().display().to_string(), "/trustbox"),
            (home.display().to_string(), "/cargo"),
            (sysroot.trim().to_owned(), "/rust"),
        ];
        // The last that fits counts. Folders of registries are named by where they are.
        let registries = std::fs::read_dir(home.join("registry/src")).into_iter().flatten().flatten();
        let mut registries: Vec<_> = registries.map(|entry| entry.path().display().to_string()).collect();
        registries.sort();
        places.extend(registries.into_iter().map(|folder| (folder, REGISTRY)));
        places.extend(self.archive.as_ref().map(Archive::remapped));
        let flags: Vec<_> =
            places.iter().map(|(from, to)| format!("--remap-path-prefix={from}={to}")).collect();
        Ok(flags.join(" "))
    }

    fn cross(&self, target_dir: &str, flags: &str) -> Tool {
        self.cargo()
            .env("CARGO_TARGET_DIR", self.repo.root().join(target_dir))
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", LINKER)
            .env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS", flags)
            .env("CC_aarch64_unknown_linux_gnu", LINKER)
    }

    /// libteec in the layout that `optee-teec-sys` looks for.
    fn client_export(&self) -> Result<PathBuf> {
        let library = self.binary("libteec2")?.join("usr/lib/aarch64-linux-gnu/libteec.so.2.0.0");
        let key = crate::hash::Key::new("client-export").file(&library)?.finish();
        self.cached("client-export", &key, |dirs| {
            let folder = dirs.out.join("usr/lib");
            std::fs::create_dir_all(&folder)?;
            crate::firmware::copy(&library, &folder.join("libteec.so"))
        })
    }

    /// Names and folders of the workspace's packages.
    pub(crate) fn packages(&self) -> Result<Vec<(String, PathBuf)>> {
        let text = self.cargo().args(["metadata", "--no-deps", "--format-version=1", "--quiet"]).output()?;
        let metadata: Value = serde_json::from_str(&text).context("cargo metadata is not JSON")?;
        let packages = metadata["packages"].as_array().context("cargo metadata has no packages")?;
        Ok(packages.iter().filter_map(name_and_folder).collect())
    }
}

fn name_and_folder(package: &Value) -> Option<(String, PathBuf)> {
    let folder = Path::new(package["manifest_path"].as_str()?).parent()?;
    Some((package["name"].as_str()?.to_owned(), folder.to_path_buf()))
}
