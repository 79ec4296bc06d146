//! The device's Linux side as files for QEMU: the kernel and a small initial RAM disk from pinned Debian packages.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::board::{Emulator, SecureFlash};
use crate::builder::{Builder, Repo};
use crate::cargo::{DEVICE_FEATURES, TARGET};
use crate::cpio::Archive;
use crate::modules::{ModuleTree, module_folder};
use crate::sign_ta::subkeys::{Subkeys, is_chain};
use crate::sign_ta::{self, Algorithm};
use crate::ui;

const LIBRARY_FOLDER: &str = "usr/lib/aarch64-linux-gnu";
/// Shared libraries of every guest: package and file name.
const LIBRARIES: [(&str, &str); 3] =
    [("libc6", "libc.so.6"), ("libgcc-s1", "libgcc_s.so.1"), ("libteec2", "libteec.so.2")];
/// More files of the C library that programs load.
const LIBC_FILES: [&str; 4] = ["libm.so.6", "libpthread.so.0", "libdl.so.2", "librt.so.1"];
/// Shared libraries that only xtest needs.
const XTEST_LIBRARIES: [(&str, &str); 5] = [
    ("libckteec0t64", "libckteec.so.0"),
    ("libssl3t64", "libssl.so.3"),
    ("libssl3t64", "libcrypto.so.3"),
    ("zlib1g", "libz.so.1"),
    ("libzstd1", "libzstd.so.1"),
];
/// Where trusted applications of xtest are, in its package and on the device.
pub(crate) const TEST_TAS: &str = "usr/lib/optee_armtz";
/// A plugin of tee-supplicant that xtest calls.
const XTEST_PLUGIN: &str = "f07bfc66-958c-4a15-99c0-260e4e7375dd";
/// Programs of ours on the device, and the packages that build them.
pub(crate) const PROGRAMS: [&str; 2] = ["trustbox", "trustbox-test"];

/// What the guest is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum GuestKind {
    /// The device as it is used.
    Plain,
    /// With OP-TEE's own test program and its trusted applications, signed with our key.
    Xtest,
}

/// Everything QEMU needs to boot the device.
#[derive(Clone, Debug)]
pub struct Images {
    pub(crate) repo: Repo,
    pub(crate) emulator: Emulator,
    pub(crate) secure_flash: SecureFlash,
    /// A medium that the device boots from, instead of the kernel and RAM disk that QEMU brings.
    pub(crate) medium: Option<PathBuf>,
    pub(crate) command_line: String,
    /// TF-A, OP-TEE and U-Boot.
    pub firmware: PathBuf,
    /// The kernel.
    pub kernel: PathBuf,
    /// The initial RAM disk.
    pub initrd: PathBuf,
    /// The TrustBox TA with symbols, for a debugger.
    pub ta_elf: PathBuf,
}

impl Images {
    /// Builds what lacks for a board, then lets go of the cache.
    pub fn build(platform: &str, kind: GuestKind) -> Result<Self> {
        Builder::open(platform)?.images(kind, false)
    }
}

impl Builder {
    /// Firmware, kernel and RAM disk.
    pub fn images(&self, kind: GuestKind, debug: bool) -> Result<Images> {
        self.board.emulator()?;
        self.images_with(&self.firmware(debug)?, kind)
    }

    /// Kernel and RAM disk for a firmware.
    pub(crate) fn images_with(&self, firmware: &Path, kind: GuestKind) -> Result<Images> {
        let emulator = self.board.emulator()?.clone();
        let linux = &self.board.linux;
        Ok(Images {
            repo: self.repo.clone(),
            emulator,
            medium: None,
            secure_flash: self.board.secure_flash()?,
            command_line: linux.command_line.clone(),
            firmware: firmware.join("firmware.bios"),
            kernel: self.binary(&linux.package)?.join(&linux.image),
            initrd: self.initrd(kind)?,
            ta_elf: self.repo.root().join("target/ta").join(TARGET).join("ta/trustbox-ta"),
        })
    }

    fn initrd(&self, kind: GuestKind) -> Result<PathBuf> {
        let mut archive = self.base()?;
        self.add_programs(&mut archive)?;
        if kind == GuestKind::Xtest {
            self.add_xtest(&mut archive)?;
        }
        let folder = self.cached("initrd", &archive.key()?, |dirs| {
            Ok(fs::write(dirs.out.join("initrd.cpio"), archive.bytes()?)?)
        })?;
        Ok(folder.join("initrd.cpio"))
    }

    fn base(&self) -> Result<Archive> {
        let mut archive = Archive::default();
        for (link, to) in [("bin", "usr/bin"), ("sbin", "usr/sbin"), ("lib", "usr/lib")] {
            archive.symlink(link, to);
        }
        for name in
            ["proc", "sys", "dev", "tmp", "run", "root", "var/lib/tee", "mnt/share", "mnt/host", "mnt/.host"]
        {
            archive.folder(name);
        }
        archive.character("dev/console", 5, 1);
        archive.file("init", 0o755, include_bytes!("guest/init.sh").to_vec());
        archive.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n".to_vec());
        archive.file("etc/group", 0o644, b"root:x:0:\n".to_vec());
        let agent = include_bytes!("../../keys/deploy/station-agent");
        archive.file("usr/sbin/station-agent", 0o755, agent.to_vec());
        archive.folder("usr/lib/optee_armtz");
        archive.host_file("usr/bin/busybox", &self.binary("busybox-static")?.join("usr/bin/busybox"))?;
        archive.host_file(
            "usr/sbin/tee-supplicant",
            &self.binary("tee-supplicant")?.join("usr/sbin/tee-supplicant"),
        )?;
        self.add_libraries(&mut archive)?;
        self.add_modules(&mut archive)?;
        Ok(archive)
    }

    fn add_libraries(&self, archive: &mut Archive) -> Result<()> {
        self.add_library_list(archive, &LIBRARIES)?;
        let libc = self.binary("libc6")?.join(LIBRARY_FOLDER);
        for name in LIBC_FILES {
            archive.host_file(&format!("{LIBRARY_FOLDER}/{name}"), &libc.join(name))?;
        }
        let loader = "ld-linux-aarch64.so.1";
        archive.host_file(&format!("usr/lib/{loader}"), &libc.join(loader))
    }

    fn add_library_list(&self, archive: &mut Archive, list: &[(&str, &str)]) -> Result<()> {
        for (package, name) in list {
            let path = format!("{LIBRARY_FOLDER}/{name}");
            archive.host_file(&path, &self.binary(package)?.join(&path))?;
        }
        Ok(())
    }

    fn add_modules(&self, archive: &mut Archive) -> Result<()> {
        let linux = &self.board.linux;
        let tree = ModuleTree::read(&module_folder(&self.binary(&linux.package)?)?)?;
        for (occasion, names) in &linux.modules {
            let modules = tree.in_load_order(names)?;
            let list: String = modules.iter().map(|module| format!("{}\n", module.name)).collect();
            archive.file(&format!("usr/lib/modules/{occasion}.list"), 0o644, list.into_bytes());
            for module in modules {
                archive.file(&format!("usr/lib/modules/{}.ko", module.name), 0o644, module.content);
            }
        }
        Ok(())
    }

    fn add_programs(&self, archive: &mut Archive) -> Result<()> {
        let folder = self.device_programs()?;
        PROGRAMS.iter().try_for_each(|name| archive.host_file(&format!("usr/bin/{name}"), &folder.join(name)))
    }

    /// Builds our programs of the device; the folder where they are.
    pub(crate) fn device_programs(&self) -> Result<PathBuf> {
        let tool = self.cargo_for_device()?.args(["build", "--release", "--target", TARGET]);
        let tool = tool.args(PROGRAMS.iter().flat_map(|name| ["-p", name])).args(DEVICE_FEATURES);
        let log = self.log("device-programs");
        let _ = fs::remove_file(&log);
        ui::step("device programs", || tool.help("the compiler's message above names the line").run(&log))?;
        Ok(self.repo.root().join("target/device").join(TARGET).join("release"))
    }

    fn add_xtest(&self, archive: &mut Archive) -> Result<()> {
        self.add_library_list(archive, &XTEST_LIBRARIES)?;
        let package = self.binary("optee-test-qemu")?;
        archive.host_file("usr/bin/xtest", &package.join("usr/bin/xtest"))?;
        let plugin = format!("usr/lib/tee-supplicant/plugins/{XTEST_PLUGIN}.plugin");
        archive.host_file(&plugin, &package.join(&plugin))?;
        let folder = self.resigned_test_tas(&package.join(TEST_TAS))?;
        for path in crate::hash::files_below(&folder)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            archive.host_file(&format!("{TEST_TAS}/{name}"), &path)?;
        }
        Ok(())
    }

    /// xtest's trusted applications with our signature, those that are signed through subkeys included.
    pub(crate) fn resigned_test_tas(&self, folder: &Path) -> Result<PathBuf> {
        let key = crate::hash::Key::new("xtest-tas-2").tree(folder)?.file(&self.ta_public_key()?)?.finish();
        self.cached("xtest-tas", &key, |dirs| {
            let key = self.ta_signing_key()?;
            let subkeys = Subkeys::ensure(&self.repo.dev_keys(), &dirs.log)?;
            for path in crate::hash::files_below(folder)? {
                let image = fs::read(&path)?;
                let signed = match () {
                    () if sign_ta::is_bootstrap(&image) => sign_ta::resign(&key, Algorithm::Pss, &image)?,
                    () if is_chain(&image) => subkeys.resign(&key, &image)?,
                    () => continue,
                };
                fs::write(dirs.out.join(path.file_name().unwrap_or_default()), signed)?;
            }
            Ok(())
        })
    }
}
