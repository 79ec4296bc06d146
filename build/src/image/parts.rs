//! The parts of an image, each a cached step: programs, root with its hash tree, RAM disk, signed FIT.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::json;

use crate::boot::image::Parts;
use crate::boot::keys::Keys;
use crate::builder::Builder;
use crate::cargo::TARGET;
use crate::firmware::EPOCH;
use crate::guest::TEST_TAS;
use crate::hash::{Key, files_below};
use crate::image::description::Description;
use crate::image::tree::Tree;
use crate::image::verity::{self, Root};
use crate::modules::{ModuleTree, module_folder};
use crate::tool::Tool;
use crate::ui;

/// Programs of ours in the root.
const PROGRAMS: [&str; 2] = ["trustbox", "trustbox-system"];
/// Where modules and their lists are; `trustbox-system` looks there.
const MODULES: &str = "usr/lib/trustbox/modules";
/// Processors that compress: the result is the same for any number.
pub(crate) const COMPRESSION: [&str; 6] = ["-comp", "zstd", "-Xcompression-level", "12", "-b", "256K"];

/// Which image of a board; the production image without containers where nothing is said.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Edition {
    /// With a shell, NOT-TRUSTED.
    pub(crate) dev: bool,
    /// With podman and crun.
    pub(crate) containers: bool,
}

/// A root file system with its hash tree, as it is written to a partition.
pub(crate) struct RootImage {
    pub(crate) file: PathBuf,
    pub(crate) root: Root,
    /// Octets of the file system alone.
    pub(crate) data: u64,
}

impl Builder {
    /// The folder of what every image is made of.
    pub(crate) fn image_folder(&self) -> PathBuf {
        self.repo.root().join("platform/image")
    }

    /// The root, with a folder's files besides; `boot_state` is where the boot state is on the medium.
    pub(crate) fn image_root(
        &self,
        edition: Edition,
        more: Option<&Path>,
        boot_state: u64,
    ) -> Result<RootImage> {
        let mut tree = self.root_tree(edition, boot_state)?;
        more.map(|folder| tree.more(folder)).transpose()?;
        self.root_of(&tree)
    }

    /// A tree as a file system with its hash tree.
    pub(crate) fn root_of(&self, tree: &Tree) -> Result<RootImage> {
        let version = Tool::new("mksquashfs").arg("-version").command().output();
        let version =
            version.context("cannot start mksquashfs\nhelp: install Debian package squashfs-tools")?;
        let version = String::from_utf8_lossy(&version.stdout).lines().next().unwrap_or_default().to_owned();
        let key = Key::new("image-root").text(&tree.key("root")).text(&version).texts(COMPRESSION).finish();
        let folder = self.cached("image-root", &key, |dirs| {
            let staged = dirs.out.join("staged");
            tree.write(&staged)?;
            let file = dirs.out.join("root.img");
            let tool = Tool::new("mksquashfs").without_env("SOURCE_DATE_EPOCH").arg(&staged).arg(&file);
            let tool = tool.args(["-noappend", "-no-progress", "-no-xattrs", "-all-root"]).args(COMPRESSION);
            tool.args(["-all-time", EPOCH, "-mkfs-time", EPOCH]).run(&dirs.log)?;
            fs::remove_dir_all(&staged)?;
            let (root, hashes) = verity::tree(&fs::read(&file)?)?;
            fs::write(dirs.out.join("root.word"), root.word())?;
            Ok(File::options().append(true).open(file)?.write_all(&hashes)?)
        })?;
        let root = Root::from_word(&fs::read_to_string(folder.join("root.word"))?)?;
        let data = root.blocks * verity::BLOCK as u64;
        Ok(RootImage { file: folder.join("root.img"), root, data })
    }

    /// Everything in the root, checked.
    pub(crate) fn root_tree(&self, edition: Edition, boot_state: u64) -> Result<Tree> {
        let description = Description::load(&self.image_folder())?;
        let kernel = std::iter::once(self.board.linux.package.as_str());
        self.check_scripts(description.names(edition).into_iter().chain(kernel))?;
        let mut tree = Tree::default();
        for folder in &description.folders {
            tree.folder(folder);
        }
        for part in description.root(edition) {
            tree.package(part, &self.binary(&part.name)?)?;
        }
        tree.overlay(&self.image_folder().join("files"))?;
        let programs = self.system_programs()?;
        for name in PROGRAMS {
            tree.host_file(&format!("usr/bin/{name}"), &programs.join(name))?;
        }
        let facts = self.board.image()?;
        let mut modules = facts.modules.clone();
        if edition.containers {
            modules.extend_from_slice(&facts.container_modules);
            tree.overlay(&self.image_folder().join("containers"))?;
        }
        self.put_modules(&mut tree, "system.list", &modules)?;
        description.links.iter().for_each(|(path, to)| tree.link(path, to));
        if edition.dev {
            tree.overlay(&self.image_folder().join("dev"))?;
            self.put_tests(&mut tree)?;
            description.dev_links.iter().for_each(|(path, to)| tree.link(path, to));
        }
        tree.file("usr/lib/os-release", self.os_release(edition).into_bytes(), false);
        let about = serde_json::to_string(&self.about(edition, boot_state))? + "\n";
        tree.file("usr/lib/trustbox/image.json", about.into_bytes(), false);
        tree.check_libraries()?;
        Ok(tree)
    }

    /// Trusted applications of xtest, which OP-TEE believes where its key is this clone's.
    fn put_tests(&self, tree: &mut Tree) -> Result<()> {
        let package = self.binary("optee-test-qemu")?;
        for path in files_below(&self.resigned_test_tas(&package.join(TEST_TAS))?)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            tree.file(&format!("{TEST_TAS}/{name}"), fs::read(&path)?, false);
        }
        Ok(())
    }

    fn os_release(&self, edition: Edition) -> String {
        let variant = if edition.dev { "dev" } else { "production" };
        format!(
            "NAME=TrustBox\nID=trustbox\nID_LIKE=debian\nPRETTY_NAME=\"TrustBox {version}\"\nVERSION_ID={version}\n\
             VARIANT_ID={variant}\nIMAGE_ID=trustbox-{}\n",
            self.board.name.get_ref(),
            version = env!("CARGO_PKG_VERSION"),
        )
    }

    /// What an image says of itself, in its boot report, and where it finds the boot state.
    fn about(&self, edition: Edition, boot_state: u64) -> serde_json::Value {
        json!({
            "board": self.board.name.get_ref(), "version": env!("CARGO_PKG_VERSION"), "dev": edition.dev,
            "containers": edition.containers,
            "board_profile": self.board.profile.name(), "boot_state": boot_state,
        })
    }

    fn put_modules(&self, tree: &mut Tree, list: &str, names: &[String]) -> Result<()> {
        let all = ModuleTree::read(&module_folder(&self.binary(&self.board.linux.package)?)?)?;
        let modules = all.in_load_order(names)?;
        let text: String = modules.iter().map(|module| format!("{}\n", module.name)).collect();
        tree.file(&format!("{MODULES}/{list}"), text.into_bytes(), false);
        for module in modules {
            tree.file(&format!("{MODULES}/{}.ko", module.name), module.content, false);
        }
        Ok(())
    }

    /// Builds our programs; the folder where they are.
    fn system_programs(&self) -> Result<PathBuf> {
        let tool = self.cargo_for_device()?.args(["build", "--release", "--target", TARGET]);
        let tool = tool.args(PROGRAMS.iter().flat_map(|name| ["-p", name]));
        let log = self.log("system-programs");
        let _ = fs::remove_file(&log);
        ui::step("system programs", || tool.help("the compiler's message above names the line").run(&log))?;
        Ok(self.repo.root().join("target/device").join(TARGET).join("release"))
    }

    /// The RAM disk.
    fn image_early(&self) -> Result<PathBuf> {
        let mut tree = Tree::default();
        for folder in ["dev", "proc", "run", "sys", "sysroot"] {
            tree.folder(folder);
        }
        for part in &Description::load(&self.image_folder())?.early {
            tree.package(part, &self.binary(&part.name)?)?;
        }
        tree.host_file("init", &self.system_programs()?.join("trustbox-system"))?;
        tree.link("lib", "usr/lib");
        self.put_modules(&mut tree, "early.list", &self.board.image()?.early_modules)?;
        tree.check_libraries()?;
        let mut archive = tree.archive();
        archive.character("dev/console", 5, 1);
        let folder = self.cached("image-early", &archive.key()?, |dirs| {
            Ok(fs::write(dirs.out.join("early.cpio"), archive.bytes()?)?)
        })?;
        Ok(folder.join("early.cpio"))
    }

    /// Kernel, device tree with the command line that names the root, and RAM disk, signed.
    pub(crate) fn image_fit(
        &self,
        root: &Root,
        edition: Edition,
        keys: &Keys,
        u_boot: &Path,
    ) -> Result<PathBuf> {
        let linux = &self.board.linux;
        let more = fs::read_to_string(self.image_folder().join("command-line"))?;
        let command_line = format!("{} {} {}", linux.command_line, more.trim(), root.word());
        let tree = match self.board.hardware() {
            Some(hardware) => {
                self.tree_with(&self.board_trees(&hardware)?.join("linux.dtb"), &command_line)?
            }
            None => {
                let emulator = self.board.emulator()?.clone();
                self.linux_tree(&self.machine_tree(&emulator)?, &emulator, &command_line)?
            }
        };
        let dev = if edition.dev { " -dev, NOT-TRUSTED" } else { "" };
        let description =
            format!("TrustBox {} {}{dev}", env!("CARGO_PKG_VERSION"), self.board.name.get_ref());
        let kernel = self.binary(&linux.package)?.join(&linux.image);
        let (initrd, address) = (self.image_early()?, self.board.verified()?.kernel);
        let parts =
            Parts { kernel: &kernel, tree: &tree, initrd: &initrd, address, description: &description };
        self.signed_image(&parts, keys, u_boot)
    }

    fn tree_with(&self, tree: &Path, command_line: &str) -> Result<PathBuf> {
        let key = Key::new("image-tree").file(tree)?.text(command_line).finish();
        let folder = self.cached("image-tree", &key, |dirs| {
            let out = dirs.out.join("linux.dtb");
            fs::copy(tree, &out)?;
            let tool = Tool::new("fdtput").args(["-p", "-t", "s"]).arg(&out);
            tool.args(["/chosen", "bootargs", command_line]).run(&dirs.log)
        })?;
        Ok(folder.join("linux.dtb"))
    }
}
