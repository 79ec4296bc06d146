//! The signed image of a slot: kernel, device tree and RAM disk in one FIT, whose one configuration is signed as a whole.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::board::Emulator;
use crate::boot::fit;
use crate::boot::keys::{Keys, Role};
use crate::builder::Builder;
use crate::firmware::EPOCH;
use crate::hash::Key;
use crate::tool::Tool;

/// What is put into an image.
pub(crate) struct Parts<'a> {
    pub(crate) kernel: &'a Path,
    pub(crate) tree: &'a Path,
    pub(crate) initrd: &'a Path,
    /// Where the kernel is unpacked to.
    pub(crate) address: u64,
    /// For people, and signed like everything else.
    pub(crate) description: &'a str,
}

impl Builder {
    /// An image signed with the key of these, laid out by U-Boot's own program.
    pub(crate) fn signed_image(&self, parts: &Parts<'_>, keys: &Keys, u_boot: &Path) -> Result<PathBuf> {
        let key = Key::new("signed-image-3").file(parts.kernel)?.file(parts.tree)?.file(parts.initrd)?;
        let key = keys.add_to(key.text(&format!("{:x}", parts.address)).text(parts.description))?;
        let folder = self.cached("signed-image", &key.finish(), |dirs| {
            let kernel = self.packed_kernel(parts.kernel)?;
            let source = dirs.out.join("image.its");
            fs::write(&source, description(parts, &kernel))?;
            let (image, no_keys) = (dirs.out.join("image.fit"), self.work("no-keys")?);
            let tool = Tool::new(u_boot.join("mkimage")).env("SOURCE_DATE_EPOCH", EPOCH).arg("-q");
            // In a folder without keys it leaves the signature out.
            let tool = tool.args(["-D", "-q -I dts -O dtb"]).arg("-f").arg(&source).arg("-k").arg(no_keys);
            tool.arg(&image).run(&dirs.log)?;
            fit::sign(&image, keys, &dirs.log)
        })?;
        Ok(folder.join("image.fit"))
    }

    /// Larger than with gzip, and unpacked by U-Boot in a fraction of the time.
    fn packed_kernel(&self, kernel: &Path) -> Result<PathBuf> {
        let key = Key::new("packed-kernel-2").file(kernel)?.finish();
        let folder = self.cached("packed-kernel", &key, |dirs| {
            let tool = Tool::new("lz4").args(["-9", "-q", "--no-frame-crc"]).arg(kernel);
            tool.arg(dirs.out.join("kernel.lz4")).help("install Debian package lz4").run(&dirs.log)
        })?;
        Ok(folder.join("kernel.lz4"))
    }

    /// The device tree of the emulated machine as QEMU describes it, for U-Boot.
    pub(crate) fn machine_tree(&self, emulator: &Emulator) -> Result<PathBuf> {
        let words = [&emulator.program, &emulator.machine, &emulator.cpu];
        let numbers = format!("{} {}", emulator.cpus, emulator.memory_mib);
        let version = Tool::new(&emulator.program).arg("--version").output()?;
        let key = Key::new("machine-tree-2").texts(words).text(&numbers).text(&version).finish();
        let folder = self.cached("machine-tree", &key, |dirs| {
            let (whole, firmware) = (dirs.out.join("whole.dtb"), dirs.out.join("any-firmware"));
            // A machine with firmware has other devices than one without; which firmware does not matter.
            fs::write(&firmware, "none")?;
            let mut machine =
                std::ffi::OsString::from(format!("{},dtb-randomness=off,dumpdtb=", emulator.machine));
            machine.push(&whole);
            let tool =
                Tool::new(&emulator.program).args(["-nodefaults", "-display", "none", "-cpu", &emulator.cpu]);
            let tool =
                tool.args(["-smp", &emulator.cpus.to_string(), "-m", &emulator.memory_mib.to_string()]);
            tool.arg("-bios").arg(&firmware).arg("-machine").arg(machine).run(&dirs.log)?;
            // QEMU leaves room for a megabyte.
            let dtc = Tool::new("dtc")
                .args(["-q", "-I", "dtb", "-O", "dtb", "-o"])
                .arg(dirs.out.join("machine.dtb"));
            dtc.arg(&whole).run(&dirs.log)?;
            fs::remove_file(firmware)?;
            Ok(fs::remove_file(whole)?)
        })?;
        Ok(folder.join("machine.dtb"))
    }

    /// The same for Linux: with the secure world, which QEMU does not know, and the command line.
    pub(crate) fn linux_tree(
        &self,
        machine: &Path,
        emulator: &Emulator,
        command_line: &str,
    ) -> Result<PathBuf> {
        let key = Key::new("linux-tree").file(machine)?.text(command_line).finish();
        let folder = self.cached("linux-tree", &key, |dirs| {
            let tree = dirs.out.join("linux.dtb");
            fs::copy(machine, &tree).with_context(|| format!("cannot read {}", machine.display()))?;
            let put = || Tool::new("fdtput").args(["-p", "-t", "s"]).arg(&tree);
            for (node, name, values) in [
                ("/firmware/optee", "compatible", vec!["linaro,optee-tz"]),
                ("/firmware/optee", "method", vec!["smc"]),
                ("/psci", "compatible", vec!["arm,psci-1.0", "arm,psci-0.2"]),
                ("/psci", "method", vec!["smc"]),
                ("/chosen", "bootargs", vec![command_line]),
            ] {
                put().args([node, name]).args(values).run(&dirs.log)?;
            }
            // With it OP-TEE wakes Linux up: shared peripheral interrupt 187, edge triggered.
            let interrupt = Tool::new("fdtput").args(["-t", "i"]).arg(&tree);
            interrupt.args(["/firmware/optee", "interrupts", "0", "187", "1"]).run(&dirs.log)?;
            for cpu in 0..emulator.cpus {
                put().args([&format!("/cpus/cpu@{cpu}"), "enable-method", "psci"]).run(&dirs.log)?;
            }
            Ok(())
        })?;
        Ok(folder.join("linux.dtb"))
    }
}

/// The image as source for `mkimage`. Paths are of our own cache; quotes in them would end the string.
fn description(parts: &Parts<'_>, kernel: &Path) -> String {
    let (kernel, tree, initrd) = (quoted(kernel), quoted(parts.tree), quoted(parts.initrd));
    let (text, key, at) = (parts.description, Role::Image.name(), parts.address);
    let hash = "hash-1 { algo = \"sha256\"; };";
    let common = "arch = \"arm64\";";
    format!(
        r#"/dts-v1/;
/ {{
    description = "{text}";
    #address-cells = <1>;
    images {{
        kernel {{
            data = /incbin/({kernel}); type = "kernel"; {common} os = "linux"; compression = "lz4";
            load = <0x{at:x}>; entry = <0x{at:x}>; {hash}
        }};
        fdt {{ data = /incbin/({tree}); type = "flat_dt"; {common} compression = "none"; {hash} }};
        ramdisk {{
            data = /incbin/({initrd}); type = "ramdisk"; {common} os = "linux"; compression = "none"; {hash}
        }};
    }};
    configurations {{
        default = "conf";
        conf {{
            kernel = "kernel"; fdt = "fdt"; ramdisk = "ramdisk";
            signature-1 {{
                algo = "sha256,rsa3072"; key-name-hint = "{key}"; sign-images = "kernel", "fdt", "ramdisk";
            }};
        }};
    }};
}};
"#
    )
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.to_string_lossy().replace('\\', "\\\\").replace('"', "\\\""))
}
