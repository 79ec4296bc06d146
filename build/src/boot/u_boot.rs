//! A U-Boot that boots a signed image of one of two slots and nothing else: the key is in its own device tree, which is in
//! `u-boot.bin`, which is signed itself.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::board::Verified;
use crate::boot::keys::{Keys, Role};
use crate::boot::options;
use crate::boot::x509::wrapped;
use crate::builder::Builder;
use crate::firmware::copy;
use crate::firmware::parts::{check_options, u_boot_make, with_options};
use crate::hash::Key;
use crate::tool::Tool;

/// Functions of a command line. None may be in what was linked: the linker leaves out what nothing can reach.
pub(crate) const SHELL: [&str; 4] = ["cli_loop", "cli_simple_loop", "bootdelay_process", "autoboot_command"];
/// How much a device tree may grow by a key.
pub(crate) const ROOM_FOR_A_KEY: &str = "4096";
/// Programs of U-Boot's that sign and verify.
const TOOLS: [&str; 3] = ["mkimage", "fdt_add_pubkey", "fit_check_sign"];

/// What a verifying U-Boot is made of.
pub(crate) struct Request<'a> {
    package: &'a str,
    defconfig: &'a str,
    options: Vec<(String, String)>,
    /// Its device tree, without the key.
    tree: &'a Path,
}

impl<'a> Request<'a> {
    /// What a board says of it; `state` is where the boot state is on the medium.
    pub(crate) fn of(facts: &'a Verified, state: u64, tree: &'a Path) -> Self {
        Self { package: &facts.package, defconfig: &facts.defconfig, options: asked_of(facts, state), tree }
    }
}

/// Every option that is asked for, and then looked for.
pub(crate) fn asked_of(facts: &Verified, state: u64) -> Vec<(String, String)> {
    let places = [
        ("MEDIA", format!("\"{}\"", facts.media)),
        ("STATE_OFFSET", format!("0x{state:x}")),
        ("IMAGE_ADDRESS", format!("0x{:x}", facts.image)),
        ("IMAGE_SIZE", format!("0x{:x}", facts.room)),
    ];
    let places = places.map(|(name, value)| (format!("CONFIG_TRUSTBOX_{name}"), value));
    options::asked(&facts.options.clone().into_iter().chain(places).collect())
}

impl Builder {
    /// A folder with `u-boot.bin`, `u-boot` with symbols, `u-boot.config`, and the programs that sign images for it.
    pub(crate) fn verifying_u_boot(&self, request: &Request<'_>, keys: &Keys) -> Result<PathBuf> {
        let source = self.source(request.package)?;
        let asked = &request.options;
        let words = asked.iter().flat_map(|(name, value)| [name, value]);
        let config = Key::new("u-boot-tree").text(&source.key).text(request.defconfig).texts(words).finish();
        let key = Key::new("verifying-u-boot-3")
            .text(&config)
            .file(request.tree)?
            .file(&keys.public(Role::Image))?;
        let name = format!("verifying-u-boot/{}", self.board.name.get_ref());
        self.cached(&name, &key.finish(), |dirs| {
            let work = self.build_tree("u-boot", &config)?;
            let make = || u_boot_make(&source, &work);
            make().arg(request.defconfig).run(&dirs.log)?;
            let file = work.join(".config");
            fs::write(&file, with_options(&fs::read_to_string(&file)?, asked))?;
            make().arg("olddefconfig").run(&dirs.log)?;
            let resolved = fs::read_to_string(&file)?;
            check_options(&resolved, asked)?;
            options::check(&resolved)?;
            make().arg("tools").run(&dirs.log)?;
            let tree = work.join("with-key.dtb");
            add_key(&work, request.tree, keys, &tree, &dirs.log)?;
            make().assign("EXT_DTB", &tree).arg("u-boot.bin").run(&dirs.log)?;
            check_program(&work.join("u-boot"))?;
            for name in ["u-boot.bin", "u-boot"] {
                copy(&work.join(name), &dirs.out.join(name))?;
            }
            TOOLS.iter().try_for_each(|name| copy(&work.join("tools").join(name), &dirs.out.join(name)))?;
            copy(&file, &dirs.out.join("u-boot.config"))
        })
    }
}

/// The device tree with the image's public key, which every configuration must be signed with.
fn add_key(work: &Path, tree: &Path, keys: &Keys, out: &Path, log: &Path) -> Result<()> {
    let dtc = Tool::new("dtc").args(["-q", "-I", "dtb", "-O", "dtb", "-p", ROOM_FOR_A_KEY, "-o"]);
    dtc.arg(out).arg(tree).run(log)?;
    let folder = work.join("image-key");
    fs::create_dir_all(&folder)?;
    let name = Role::Image.name();
    fs::write(folder.join(format!("{name}.crt")), wrapped(name, &keys.public_der(Role::Image)?)?)?;
    let tool = Tool::new(work.join("tools/fdt_add_pubkey")).args(["-a", "sha256,rsa3072", "-r", "conf"]);
    tool.arg("-k").arg(folder).args(["-n", name]).arg(out).run(log)
}

/// Looks at what was linked: no way to a command line.
fn check_program(program: &Path) -> Result<()> {
    let symbols = Tool::new("aarch64-linux-gnu-nm").arg(program).output()?;
    let names: Vec<_> = symbols.lines().filter_map(|line| line.split(' ').next_back()).collect();
    ensure!(names.contains(&"trustbox_boot"), "{} has no trustbox_boot", program.display());
    let found = SHELL.iter().find(|name| names.contains(name));
    let found = found.map(|name| format!("{} has a command line: {name}", program.display()));
    found.map_or(Ok(()), Err).map_err(anyhow::Error::msg).context("U-Boot would not be locked")
}
