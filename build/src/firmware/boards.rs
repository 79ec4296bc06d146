//! A real board's firmware: builds the parts, puts the images together, and writes down what they are.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::board::soc::{Hardware, MediumKind};
use crate::builder::Builder;
use crate::firmware::hardening::Built;
use crate::firmware::images::{Inputs, assemble};
use crate::firmware::measurement::Measurements;
use crate::firmware::{copy, hardening, manifest};
use crate::hash::{Key, files_below};

/// A file that `--part` asks for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub(crate) enum Part {
    /// RCW and PBI commands
    Rcw,
    /// What the boot ROM reads: RCW, PBI commands, BL2
    Pbl,
    /// What BL2 reads: BL31, OP-TEE, U-Boot
    Fip,
    /// The boot region of the medium
    Boot,
    /// The kernel's device tree
    Dtb,
    /// U-Boot
    UBoot,
    /// OP-TEE with the TrustBox TA
    Optee,
}

impl Part {
    /// Its name in the folder of the firmware.
    pub(crate) fn file(self, medium: &str) -> String {
        match self {
            Self::Rcw => format!("{medium}-rcw.bin"),
            Self::Pbl => format!("{medium}-pbl.bin"),
            Self::Fip => format!("{medium}-fip.bin"),
            Self::Boot => format!("{medium}-boot.img"),
            Self::Dtb => "linux.dtb".to_owned(),
            Self::UBoot => "u-boot.bin".to_owned(),
            Self::Optee => "tee-raw.bin".to_owned(),
        }
    }
}

/// What the command line asks for.
pub(crate) struct Request<'a> {
    pub(crate) part: Option<Part>,
    pub(crate) medium: &'a str,
    pub(crate) out: Option<&'a Path>,
}

/// Runs `tb firmware` for a real board.
pub(crate) fn run(builder: &Builder, request: &Request<'_>) -> Result<()> {
    let folder = builder.board_firmware()?;
    match (request.part, request.out) {
        (Some(part), Some(out)) => {
            let file = folder.join(part.file(request.medium));
            let known = || builder.media().collect::<Vec<_>>().join(", ");
            let missing = || format!("the board has no {}\nhelp: media are {}", file.display(), known());
            file.is_file().then_some(()).with_context(missing)?;
            copy(&file, out)?;
            println!("{}", out.display());
        }
        (_, Some(out)) => {
            copy_folder(&folder, out)?;
            show(out)?;
        }
        _ => show(&folder)?,
    }
    Ok(())
}

/// The summary, and where the files are.
fn show(folder: &Path) -> Result<()> {
    print!("{}", fs::read_to_string(folder.join("SUMMARY"))?);
    println!("{}", folder.display());
    Ok(())
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot make {}", to.display()))?;
    files_below(from)?.iter().try_for_each(|file| copy(file, &to.join(file.file_name().unwrap_or_default())))
}

/// The parts of a board that all media share.
struct Parts {
    ta: PathBuf,
    optee: PathBuf,
    u_boot: PathBuf,
    trees: PathBuf,
    tfa: Vec<(MediumKind, PathBuf)>,
}

impl Builder {
    /// Names of the board's media.
    pub(crate) fn media(&self) -> impl Iterator<Item = &'static str> {
        self.board.hardware().into_iter().flat_map(|hardware| hardware.media.keys()).map(|kind| kind.name())
    }

    /// The folder with a board's images and what is written about them.
    pub(crate) fn board_firmware(&self) -> Result<PathBuf> {
        let hardware = self.board.hardware().context("the board is emulated")?;
        let parts = self.parts(&hardware)?;
        let mut key = Key::new("board-firmware").text(self.board.name.get_ref()).text(manifest::FORMAT);
        // What a report says follows from the program that writes it.
        key = key.text(&format!("{:?}", self.board)).text(include_str!("hardening.rs"));
        key = key.text(include_str!("measurement.rs")).text(include_str!("reference.rs"));
        key = key.texts(self.anchors.development()).text(&self.anchors.signs().to_string());
        for folder in parts.folders() {
            key = key.text(&folder.to_string_lossy());
        }
        let name = format!("firmware-{}", self.board.name.get_ref());
        self.cached(&name, &key.finish(), |dirs| {
            let out = &dirs.out;
            copy(&parts.optee.join("tee-raw.bin"), &out.join("tee-raw.bin"))?;
            copy(&parts.u_boot.join("u-boot.bin"), &out.join("u-boot.bin"))?;
            copy(&parts.u_boot.join("u-boot.config"), &out.join("u-boot.config"))?;
            copy(&parts.trees.join("linux.dtb"), &out.join("linux.dtb"))?;
            let mut media = Vec::new();
            for (kind, tfa) in &parts.tfa {
                let u_boot = parts.u_boot.join("u-boot.bin");
                let inputs = Inputs { tfa, optee: &parts.optee, u_boot: &u_boot };
                let images = assemble(&hardware, *kind, &inputs, None)?;
                write_images(out, *kind, &images.files())?;
                media.push((*kind, images));
            }
            let built = Built {
                bl31: parts.tfa.iter().map(|(_, folder)| folder.join("bl31.elf")).collect(),
                optee: &parts.optee,
                u_boot_config: out.join("u-boot.config"),
                tree: out.join("linux.dtb"),
            };
            let findings = hardening::examine(self, &hardware, &built)?;
            hardening::write(out, &self.board, &findings)?;
            let measured = Measurements::of(&parts.optee.join("tee.elf"), &parts.ta)?;
            manifest::write(self, out, &parts.ta, &measured, &media)?;
            self.board_log(out)
        })
    }

    fn parts(&self, hardware: &Hardware<'_>) -> Result<Parts> {
        let ta = self.board_ta()?;
        let optee = self.board_optee(&ta)?;
        let trees = self.board_trees(hardware)?;
        let u_boot = self.board_u_boot(hardware, &trees.join("u-boot.dtb"))?;
        let tfa = hardware.media.keys().map(|kind| Ok((*kind, self.board_tfa(hardware, *kind)?)));
        Ok(Parts { ta, optee, u_boot, trees, tfa: tfa.collect::<Result<_>>()? })
    }

    /// The logs of all steps that made this; they say where and when, and are no part of what is compared.
    fn board_log(&self, out: &Path) -> Result<()> {
        let mut text = String::new();
        for name in [
            "board-ta",
            "board-optee",
            "board-trees",
            "board-u-boot",
            "board-tfa/sd",
            "board-tfa/emmc",
            "board-tfa/nor",
        ] {
            let log = fs::read(self.log(name)).unwrap_or_default();
            text.push_str(&format!("== {name}\n{}\n", String::from_utf8_lossy(&log)));
        }
        Ok(fs::write(out.join("build.log"), text)?)
    }
}

impl Parts {
    fn folders(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.optee, &self.u_boot, &self.trees].into_iter().chain(self.tfa.iter().map(|(_, folder)| folder))
    }
}

/// Writes images of a medium; returns their paths.
pub(crate) fn write_images(out: &Path, kind: MediumKind, files: &[(Part, &[u8])]) -> Result<Vec<PathBuf>> {
    let write = |(part, content): &(Part, &[u8])| {
        let path = out.join(part.file(kind.name()));
        fs::write(&path, content).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    };
    files.iter().map(write).collect()
}
