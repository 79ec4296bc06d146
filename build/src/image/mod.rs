//! `tb image`: everything on a device's medium in one file, from boot region to data partition, signed, and the same for everybody
//! who builds it.
//!
//! Plan, make the parts, write. What is in it is `platform/image`; where it is, `platform/image/layout.toml` and the board.

pub(crate) mod archive;
pub(crate) mod bmap;
pub(crate) mod description;
pub(crate) mod emulate;
pub(crate) mod evidence;
pub(crate) mod factory;
pub(crate) mod flash;
pub(crate) mod gpt;
pub(crate) mod layout;
pub(crate) mod manifest;
pub(crate) mod parts;
mod scripts;
pub(crate) mod tree;
pub(crate) mod verify;
pub(crate) mod verity;
mod write;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use trustbox_boot_image::boot_state::{BootState, STRIDE};

use crate::anchors::Anchors;
use crate::board::soc::MediumKind;
use crate::boot::certificates::Counters;
use crate::boot::keys::Keys;
use crate::boot::root_keys::Choice;
use crate::boot::u_boot::Request;
use crate::builder::Builder;
use crate::image::archive::Archive;
use crate::image::bmap::Bmap;
use crate::image::layout::{Fill, Plan};
use crate::image::manifest::Manifest;
use crate::image::parts::{Edition, RootImage};
use crate::image::write::Region;
use crate::ui;

/// Octets that are zero at the start of a partition that the device fills.
const CLEARED: u64 = 1 << 20;
/// Tries that a slot has until a boot reports itself.
const TRIES: u8 = 3;

/// Builds an image.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Board
    #[arg(long, value_name = "BOARD", default_value = crate::board::DEFAULT)]
    platform: String,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// With a shell on the console, for development; NOT-TRUSTED
    #[arg(long)]
    dev: bool,
    /// With podman and crun, for containers that the image itself names
    #[arg(long)]
    containers: bool,
    /// Files of your own to put into the root besides, as units and containers; none replaces one of the image
    #[arg(long, value_name = "DIR")]
    with: Option<PathBuf>,
    /// Medium of a real board that the image is for
    #[arg(long, value_name = "MEDIUM", default_value = "sd")]
    medium: String,
    /// Take packages and crates from an archive that `tb archive` made, and ask nobody else
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Counter of the firmware: a device takes none that is lower than the highest it ran
    #[arg(long, value_name = "N", default_value_t = 0)]
    counter: u32,
    #[command(flatten)]
    root_keys: Choice,
    /// Keys of certificates and of the signed FIT: a folder with ROLE.pub.pem, and ROLE.key or ROLE.uri (pkcs11:…), for each role;
    /// development keys where it is left out
    #[arg(long, value_name = "DIR")]
    boot_keys: Option<PathBuf>,
    #[command(flatten)]
    anchors: Anchors,
}

/// Runs `tb image`.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut builder = Builder::open(&args.platform)?;
    builder.archive = args.from.as_deref().map(Archive::open).transpose()?;
    builder.anchors = args.anchors.clone();
    let request = args.request(&builder)?;
    let made = builder.image(&request)?;
    ui::step("write", || made.write(&args.out))?;
    ui::step("evidence", || evidence::write(&builder, &made.manifest, &evidence::beside(&args.out)))?;
    print!("{}", made.summary(&args.out));
    println!("NOT-TRUSTED: {}", request.not_trusted(&builder));
    Ok(())
}

impl Args {
    fn request(&self, builder: &Builder) -> Result<ImageRequest> {
        let counters = Counters { trusted: self.counter, normal: self.counter };
        let keys = builder.boot_keys_of(self.boot_keys.as_deref())?;
        let edition = Edition { dev: self.dev, containers: self.containers };
        let (more, medium) = (self.with.clone(), self.medium.clone());
        Ok(ImageRequest { edition, more, medium, counters, keys, root_keys: self.root_keys.clone() })
    }
}

/// Which image.
pub(crate) struct ImageRequest {
    pub(crate) edition: Edition,
    /// A folder with files of somebody else.
    pub(crate) more: Option<PathBuf>,
    pub(crate) medium: String,
    pub(crate) counters: Counters,
    pub(crate) keys: Keys,
    /// Super root keys, of boards.
    pub(crate) root_keys: Choice,
}

impl ImageRequest {
    /// Why nobody should trust a device with such an image yet.
    fn not_trusted(&self, builder: &Builder) -> String {
        let board = builder.board.hardware().is_some();
        let signed = [
            ("super root keys", board && self.root_keys.development()),
            ("boot keys", self.keys.development),
        ];
        let besides = if board { "not tried on hardware" } else { "an emulated device" };
        builder.anchors.not_trusted(&signed, besides)
    }

    /// An image for SD cards with development keys.
    pub(crate) fn development(builder: &Builder, edition: Edition) -> Result<Self> {
        let (medium, counters) = ("sd".to_owned(), Counters::default());
        let keys = builder.boot_keys()?;
        Ok(Self { edition, more: None, medium, counters, keys, root_keys: Choice::default() })
    }
}

/// An image that is not written yet.
pub(crate) struct Made {
    pub(crate) plan: Plan,
    regions: Vec<Region>,
    pub(crate) manifest: Manifest,
    root: RootImage,
    board: String,
    fit: u64,
}

/// Firmware of a board: named regions of the boot region, and what U-Boot's image is signed with.
struct Firmware {
    regions: Vec<Region>,
    u_boot: PathBuf,
    /// Where the boot state is.
    state: u64,
    boot_region: Option<u64>,
}

impl Builder {
    /// Makes all parts and puts them in their places.
    pub(crate) fn image(&self, request: &ImageRequest) -> Result<Made> {
        let keys = &request.keys;
        let firmware = self.image_firmware(request)?;
        let plan = Plan::of(self, firmware.boot_region)?;
        let root = self.image_root(request.edition, request.more.as_deref(), firmware.state)?;
        let fit = fs::read(self.image_fit(&root.root, request.edition, keys, &firmware.u_boot)?)?;
        let content = fs::read(&root.file)?;
        plan.fits(Fill::Boot, "the signed FIT", fit.len() as u64)?;
        plan.fits(Fill::Root, "the root with its hash tree", content.len() as u64)?;
        let mut regions = firmware.regions;
        let state = BootState { generation: 1, order: [0, 1], tries: [TRIES; 2] };
        regions.push(Region::new("boot-state", firmware.state, state.encode().to_vec()));
        let board = self.board.name.get_ref();
        let seed = format!("{board} {}", hex_of(&root.root.hash));
        for (number, (at, table)) in gpt::tables(&plan, &seed)?.into_iter().enumerate() {
            regions.push(Region::new(
                ["mbr", "gpt", "gpt-entries", "gpt-entries-2", "gpt-2"][number],
                at,
                table,
            ));
        }
        for partition in &plan.partitions {
            match partition.fills {
                Some(Fill::Boot) => regions.push(Region::new(&partition.name, partition.start, fit.clone())),
                Some(Fill::Root) => {
                    regions.push(Region::new(&partition.name, partition.start, content.clone()))
                }
                None => {}
            }
        }
        regions.sort_by_key(|region| region.start);
        let facts = manifest::Facts { builder: self, request, plan: &plan, root: &root.root };
        let manifest = manifest::of(&facts, &regions)?;
        regions.push(Region::new("manifest", plan.manifest, manifest.signed(keys)?));
        write::check(&regions, plan.size)?;
        Ok(Made { plan, regions, manifest, root, board: board.clone(), fit: fit.len() as u64 })
    }

    fn image_firmware(&self, request: &ImageRequest) -> Result<Firmware> {
        match self.board.hardware() {
            None => self.emulated_firmware(request),
            Some(_) => self.board_regions(request),
        }
    }

    fn emulated_firmware(&self, request: &ImageRequest) -> Result<Firmware> {
        let keys = &request.keys;
        let (u_boot, state) = self.emulated_u_boot(keys)?;
        let bios = self.verifying_firmware(&u_boot.join("u-boot.bin"), keys, request.counters)?;
        let at = self.board.image()?.firmware.context("the emulated board has no image.firmware")?;
        let regions = vec![Region::new("firmware", at, fs::read(bios.join("firmware.bios"))?)];
        Ok(Firmware { regions, u_boot, state, boot_region: None })
    }

    /// The emulated board's U-Boot, with the programs that sign and verify, and where it finds the boot state.
    pub(crate) fn emulated_u_boot(&self, keys: &Keys) -> Result<(PathBuf, u64)> {
        let facts = self.board.verified()?;
        let state = facts.state.context("the emulated board has no verified.state")?;
        let machine = self.machine_tree(&self.board.emulator()?.clone())?;
        Ok((self.verifying_u_boot(&Request::of(facts, state, &machine), keys)?, state))
    }

    /// The signed images of a real board's medium.
    fn board_regions(&self, request: &ImageRequest) -> Result<Firmware> {
        let hardware = self.board.hardware().context("the board is emulated")?;
        let known = || {
            format!(
                "the board has no medium {}\nhelp: it has {}",
                request.medium,
                self.media().collect::<Vec<_>>().join(", ")
            )
        };
        let found = hardware.media.iter().find(|(kind, _)| kind.name() == request.medium);
        let (kind, medium): (&MediumKind, _) = found.with_context(known)?;
        let region = |name: &str| {
            medium.region(name).with_context(|| format!("medium {} has no region {name}", kind.name()))
        };
        let folder = self.work("image-firmware")?.join(self.board.name.get_ref());
        let root = self.root_keys(&request.root_keys)?;
        self.signed_board(&root, &request.keys, request.counters, &folder)?;
        let read = |part: &str| fs::read(folder.join(format!("{}-{part}.bin", kind.name())));
        let regions = vec![
            Region::new("pbl", region("pbl")?.start, read("pbl")?),
            Region::new("fip", region("fip")?.start, read("fip")?),
        ];
        let u_boot = self.locked_u_boot(&hardware, &request.keys)?;
        Ok(Firmware { regions, u_boot, state: region("boot-state")?.start, boot_region: Some(medium.size) })
    }
}

impl Made {
    /// Writes the image.
    pub(crate) fn write(&self, file: &Path) -> Result<()> {
        let map = write::write(file, &self.regions, self.plan.size, &self.extents())?;
        Ok(fs::write(Bmap::beside(file), map.xml())?)
    }

    /// What a medium must get: every region, and zeros where the device would otherwise find what another one left.
    fn extents(&self) -> Vec<(u64, u64)> {
        let regions = self.regions.iter().map(|region| (region.start, region.end()));
        let fresh = self.plan.partitions.iter().filter(|partition| partition.fills.is_none());
        let fresh = fresh.map(|partition| (partition.start, partition.start + CLEARED.min(partition.size)));
        let state = self
            .regions
            .iter()
            .filter(|region| region.name == "boot-state")
            .map(|region| (region.start, region.start + 2 * STRIDE));
        let mut extents: Vec<_> = regions.chain(fresh).chain(state).collect();
        extents.sort_unstable();
        extents
    }

    /// The root with its hash tree, the hash, and where the tree starts.
    pub(crate) fn root(&self) -> (&Path, String, u64) {
        (&self.root.file, hex_of(&self.root.root.hash), self.root.data)
    }

    /// The signed FIT.
    pub(crate) fn fit(&self) -> Option<&[u8]> {
        let fills = |region: &&Region| {
            self.plan.partition(&region.name).is_ok_and(|part| part.fills == Some(Fill::Boot))
        };
        self.regions.iter().find(fills).map(|region| &*region.content)
    }

    /// Octets of the compressed root alone.
    pub(crate) fn root_octets(&self) -> u64 {
        self.root.data
    }

    fn summary(&self, file: &Path) -> String {
        let mib = |octets: u64| octets as f64 / f64::from(1 << 20);
        let written: usize = self.regions.iter().map(|region| region.content.len()).sum();
        format!(
            "{}: {}, {:.0} MiB, of which {:.1} MiB are written\nroot {:.1} MiB compressed, signed FIT {:.1} MiB, root hash {}\n",
            file.display(),
            self.board,
            mib(self.plan.size),
            mib(written as u64),
            mib(self.root.data),
            mib(self.fit),
            hex_of(&self.root.root.hash),
        )
    }
}

fn hex_of(octets: &[u8]) -> String {
    crate::hash::hex(octets)
}
