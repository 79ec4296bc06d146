//! Parts of a real board's firmware, each a cached step: OP-TEE, U-Boot, device trees, TF-A for each medium.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::board::soc::{Hardware, MediumKind};
use crate::builder::Builder;
use crate::cargo::TA_FLAGS;
use crate::firmware::{CROSS, EPOCH, copy, copy_if_changed, facts, make};
use crate::hash::Key;
use crate::sources::Source;
use crate::tool::Tool;

/// Warnings about the kernel's own files, which are not ours to change.
pub(crate) const QUIET_DTC: [&str; 7] = [
    "-Wno-interrupt_provider",
    "-Wno-unique_unit_address",
    "-Wno-unit_address_vs_reg",
    "-Wno-avoid_unnecessary_addr_size",
    "-Wno-alias_paths",
    "-Wno-graph_child_address",
    "-Wno-simple_bus_reg",
];
/// The kernel's device trees and bindings, as U-Boot's source package has them.
const KERNEL_TREES: &str = "dts/upstream";

impl Builder {
    /// The TrustBox TA for this board. Its key is all that it is made of, so that nothing is compiled in vain.
    pub(crate) fn board_ta(&self) -> Result<PathBuf> {
        let kit = self.dev_kit(false)?;
        let root = self.repo.root();
        let mut key =
            Key::new("board-ta").text(&kit.to_string_lossy()).text(TA_FLAGS).tree(&root.join("ta"))?;
        for name in ["Cargo.toml", "Cargo.lock", "rust-toolchain.toml"] {
            key = key.file(&root.join(name))?;
        }
        let ta = &self.board.ta;
        let key = key
            .file(&self.provisioning_authority()?)?
            .text(self.board.profile.name())
            .text(self.board.name.get_ref());
        let key = key.text(ta.rollback_protection.name()).text(&ta.max_image.to_string());
        let folder = self.cached("board-ta", &key.finish(), |dirs| {
            copy(&self.trustbox_ta(&kit)?.stripped, &dirs.out.join("trustbox-ta.elf"))
        })?;
        Ok(folder.join("trustbox-ta.elf"))
    }

    /// OP-TEE with the TA inside: `tee-raw.bin` and `tee.elf`.
    pub(crate) fn board_optee(&self, ta: &Path) -> Result<PathBuf> {
        let source = self.source("optee-os")?;
        let tree = self.optee_key(&source, false)?;
        let key = Key::new("board-optee").text(&tree).file(ta)?.finish();
        self.cached("board-optee", &key, |dirs| {
            let work = self.build_tree("optee", &tree)?;
            let early = self.work("early-ta")?.join(format!("{}.stripped.elf", crate::TRUSTBOX_UUID));
            copy_if_changed(ta, &early)?;
            let _ = fs::remove_file(work.join("core/.buildcount"));
            self.optee_make(&source, &work, false)?.assign("EARLY_TA_PATHS", &early).run(&dirs.log)?;
            copy(&work.join("conf.mk"), &dirs.out.join("optee.config"))?;
            ["tee-raw.bin", "tee.elf"]
                .iter()
                .try_for_each(|name| copy(&work.join("core").join(name), &dirs.out.join(name)))
        })
    }

    /// The device trees: `linux.dtb` for the kernel, `u-boot.dtb` for U-Boot itself.
    pub(crate) fn board_trees(&self, hardware: &Hardware<'_>) -> Result<PathBuf> {
        let source = self.source("u-boot")?;
        let text = facts::device_tree(hardware)?;
        let board = self.board_file(&hardware.device_tree.source)?;
        let key = Key::new("board-trees").text(&source.key).text(&text).file(&board)?.finish();
        self.cached("board-trees", &key, |dirs| {
            fs::write(dirs.out.join("facts.dtsi"), &text)?;
            let upstream = source.folder.join(KERNEL_TREES);
            let (arm64, include) = (upstream.join("src/arm64"), upstream.join("include"));
            let linux = [arm64.join("freescale"), arm64, include.clone()];
            let u_boot = [source.folder.join("arch/arm/dts"), source.folder.join("include"), include];
            for (name, folders) in [("linux", linux), ("u-boot", u_boot)] {
                compile_tree(&board, &folders, &dirs.out, name, &dirs.log)?;
            }
            Ok(())
        })
    }

    /// U-Boot with the board's device tree: `u-boot.bin` and its configuration.
    pub(crate) fn board_u_boot(&self, hardware: &Hardware<'_>, tree: &Path) -> Result<PathBuf> {
        let facts = self.board.u_boot.get_ref();
        let source = self.source(&facts.package)?;
        let defconfig = facts.defconfig.as_ref().context("the board has no configuration of U-Boot")?;
        let mut options: Vec<_> =
            facts.options.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        options.extend(facts::u_boot_options(hardware));
        let words = options.iter().flat_map(|(name, value)| [name, value]);
        let config = Key::new("u-boot-tree").text(&source.key).text(defconfig).texts(words).finish();
        let key = Key::new("board-u-boot").text(&config).file(tree)?.finish();
        self.cached("board-u-boot", &key, |dirs| {
            let work = self.build_tree("u-boot", &config)?;
            let make = |target: &str| u_boot_make(&source, &work).arg(target).run(&dirs.log);
            make(defconfig)?;
            let file = work.join(".config");
            fs::write(&file, with_options(&fs::read_to_string(&file)?, &options))?;
            make("olddefconfig")?;
            check_options(&fs::read_to_string(&file)?, &options)?;
            u_boot_make(&source, &work).assign("EXT_DTB", tree).arg("u-boot.bin").run(&dirs.log)?;
            copy(&work.join("u-boot.bin"), &dirs.out.join("u-boot.bin"))?;
            copy(&file, &dirs.out.join("u-boot.config"))
        })
    }

    /// TF-A for one medium: BL2 and BL31, each as image and with symbols.
    pub(crate) fn board_tfa(&self, hardware: &Hardware<'_>, kind: MediumKind) -> Result<PathBuf> {
        let source = self.source("arm-trusted-firmware")?;
        let (header, tfa) = (facts::header(hardware)?, &self.board.tfa);
        let flags = tfa.flags.iter().flat_map(|(name, value)| [name, value]);
        let key = Key::new("board-tfa").text(&source.key).text(&tfa.platform).texts(flags).text(&header);
        let key = key.text(kind.boot_mode()).finish();
        self.cached(&format!("board-tfa/{}", kind.name()), &key, |dirs| {
            let work = self.build_tree("tfa", &key)?;
            let generated = work.join("facts");
            fs::create_dir_all(&generated)?;
            fs::write(generated.join("trustbox_board.h"), &header)?;
            let make = self.tfa_base(&source, &work).assign("BOOT_MODE", kind.boot_mode());
            make.assign("TRUSTBOX_BOARD", &generated).args(["bl2", "bl31"]).run(&dirs.log)?;
            let built = work.join(&tfa.platform).join("release");
            for name in ["bl2", "bl31"] {
                copy(&built.join(format!("{name}.bin")), &dirs.out.join(format!("{name}.bin")))?;
                copy(&built.join(name).join(format!("{name}.elf")), &dirs.out.join(format!("{name}.elf")))?;
            }
            Ok(())
        })
    }

    /// A file beside the board's description; an heir has those of the board it inherits.
    fn board_file(&self, name: &str) -> Result<PathBuf> {
        let folder = self.board.name.get_ref();
        let folders = [folder.as_str(), folder.trim_end_matches("-dev")];
        let paths = folders.map(|folder| self.repo.platform(folder).join(name));
        let found = paths.iter().find(|path| path.is_file()).cloned();
        found.with_context(|| format!("no {}\nhelp: device-tree.source names it", paths[0].display()))
    }
}

/// Preprocesses and compiles; warnings of dtc about our own text stop it.
fn compile_tree(board: &Path, folders: &[PathBuf], out: &Path, name: &str, log: &Path) -> Result<()> {
    let text = out.join(format!("{name}.dts"));
    let tool =
        Tool::new("gcc").args(["-E", "-nostdinc", "-undef", "-D__DTS__", "-P", "-x", "assembler-with-cpp"]);
    let tool = folders.iter().fold(tool.arg("-I").arg(out), |tool, folder| tool.arg("-I").arg(folder));
    tool.arg(board).arg("-o").arg(&text).run(log)?;
    let tool = Tool::new("dtc").args(["-q", "-I", "dts", "-O", "dtb", "-@"]).args(QUIET_DTC);
    let tool = tool.arg("-o").arg(out.join(format!("{name}.dtb"))).arg(&text);
    tool.help("dtc's message above names the node").run(log)
}

pub(crate) fn u_boot_make(source: &Source, work: &Path) -> Tool {
    let mut output = std::ffi::OsString::from("O=");
    output.push(work);
    make(&source.folder).arg(output).assign("CROSS_COMPILE", CROSS).env("SOURCE_DATE_EPOCH", EPOCH)
}

/// A configuration with options changed: later lines win in Kconfig, so they replace what is there.
pub(crate) fn with_options(config: &str, options: &[(String, String)]) -> String {
    let named = |line: &str, name: &str| {
        let rest = line.strip_prefix("# ").unwrap_or(line).strip_prefix(name);
        rest.is_some_and(|rest| rest.starts_with('=') || rest.starts_with(" is not set"))
    };
    let kept = config.lines().filter(|line| !options.iter().any(|(name, _)| named(line, name)));
    let added = options.iter().map(|(name, value)| option_line(name, value));
    kept.map(str::to_owned).chain(added).map(|line| line + "\n").collect()
}

fn option_line(name: &str, value: &str) -> String {
    if value == "n" { format!("# {name} is not set") } else { format!("{name}={value}") }
}

/// What was asked for must still be there after Kconfig has resolved dependencies.
pub(crate) fn check_options(config: &str, options: &[(String, String)]) -> Result<()> {
    for (name, value) in options {
        let wanted = option_line(name, value);
        let gone = value == "n" && !config.lines().any(|line| line.starts_with(&format!("{name}=")));
        anyhow::ensure!(
            gone || config.lines().any(|line| line == wanted),
            "U-Boot's configuration does not take {wanted}\nhelp: correct u-boot.options in board.toml"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_replaced_and_checked() {
        let options =
            [("CONFIG_A", "n"), ("CONFIG_B", "0x10")].map(|(name, value)| (name.into(), value.into()));
        let config = with_options("CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_AB=y\n", &options);
        assert_eq!(config, "CONFIG_AB=y\n# CONFIG_A is not set\nCONFIG_B=0x10\n");
        assert!(check_options(&config, &options).is_ok());
        assert!(check_options("CONFIG_B=0x10\n", &options).is_ok());
        let error = check_options("CONFIG_A=y\nCONFIG_B=0x10\n", &options).unwrap_err().to_string();
        assert!(error.contains("# CONFIG_A is not set"));
    }
}
