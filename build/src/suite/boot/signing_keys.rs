//! Keys of the boot chain: what is signed is what TF-A's and U-Boot's own programs make of it, a token's keys give the same as
//! files, and a device boots it. Everything that is wrong with a folder of keys says so.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use trustbox_boot_image::fip::{Fip, Kind};
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

use crate::boot::chain::FIP_OFFSET;
use crate::boot::chain_of_trust;
use crate::boot::emulated::Set;
use crate::boot::image::Parts;
use crate::boot::keys::{BITS, OCTETS, Role};
use crate::boot::medium;
use crate::builder::Builder;
use crate::device::{BootOptions, Device};
use crate::guest::Images;
use crate::hash::Key;
use crate::tool::Tool;
use crate::verify::{Outcome, Verdict};

const MODULE: &str = "/usr/lib/softhsm/libsofthsm2.so";
const TOKEN: &str = "boot";
const PIN: &str = "274951";
/// What `cert_create` is built from.
const TOOL_SOURCES: [&str; 3] = ["tools/cert_create", "include", "make_helpers"];
/// Keys as `cert_create` names them. It wants one for a processor that is not there.
const KEYS: [(&str, Role); 7] = [
    ("--scp-fw-key", Role::TrustedWorld),
    ("--rot-key", Role::Root),
    ("--trusted-world-key", Role::TrustedWorld),
    ("--non-trusted-world-key", Role::NormalWorld),
    ("--soc-fw-key", Role::Monitor),
    ("--tos-fw-key", Role::Optee),
    ("--nt-fw-key", Role::UBoot),
];
/// Images and certificates as it names them.
const FILES: [(&str, Kind); 14] = [
    ("--tb-fw", Kind::Bl2),
    ("--tb-fw-cert", Kind::Bl2Certificate),
    ("--trusted-key-cert", Kind::TrustedKeyCertificate),
    ("--soc-fw-key-cert", Kind::MonitorKeyCertificate),
    ("--soc-fw-cert", Kind::MonitorCertificate),
    ("--tos-fw-key-cert", Kind::OpteeKeyCertificate),
    ("--tos-fw-cert", Kind::OpteeCertificate),
    ("--nt-fw-key-cert", Kind::UBootKeyCertificate),
    ("--nt-fw-cert", Kind::UBootCertificate),
    ("--tos-fw", Kind::Bl32),
    ("--tos-fw-extra1", Kind::Bl32Extra1),
    ("--tos-fw-extra2", Kind::Bl32Extra2),
    ("--soc-fw", Kind::Bl31),
    ("--nt-fw", Kind::Bl33),
];

/// What the checks work with: a set that was signed with keys in files.
pub(super) struct Bench<'a> {
    pub(super) builder: &'a Builder,
    pub(super) set: &'a Set,
    pub(super) folder: PathBuf,
}

impl Bench<'_> {
    /// Each certificate says what TF-A's own program says, under the same key.
    pub(super) fn certificates(&self) -> Result<()> {
        let ours = fip(&self.set.images.firmware)?;
        let (folder, log) = (self.fresh("cert-create")?, self.builder.log("cert-create-run"));
        let mut tool = Tool::new(cert_create(self.builder)?);
        tool = tool.args(["--key-alg", "rsa", "--key-size", BITS, "--hash-alg", "sha256"]);
        tool = tool.args(["--tfw-nvctr", "0", "--ntfw-nvctr", "0"]);
        let dev = self.builder.repo.dev_keys().join("boot");
        for (option, role) in KEYS {
            tool = tool.arg(option).arg(dev.join(format!("{}.key", role.name())));
        }
        for (option, kind) in FILES {
            let file = folder.join(option);
            if !option.ends_with("-cert") {
                fs::write(&file, part(&ours, kind)?)?;
            }
            tool = tool.arg(option).arg(file);
        }
        tool.run(&log)?;
        for (option, kind) in FILES.iter().filter(|(option, _)| option.ends_with("-cert")) {
            let (ours, theirs) = (said(part(&ours, *kind)?)?, said(&fs::read(folder.join(option))?)?);
            ensure!(ours == theirs, "{option}: {ours:?}, cert_create has {theirs:?}");
        }
        Ok(())
    }

    /// An octet anywhere, a part that lacks, certificates that change places, another root: none is believed.
    pub(super) fn chain(&self) -> Result<()> {
        let good = fip(&self.set.images.firmware)?;
        let dev = self.builder.repo.dev_keys().join("boot");
        let root = |role: Role| dev.join(format!("{}.pub.pem", role.name()));
        let why = |fip: &Fip, role: Role| {
            let mut verdict = Verdict::new("FIP");
            let counters = chain_of_trust::verify(fip, Some(&root(role)), &mut verdict)?;
            let open = verdict.checks.iter().find(|check| check.result != Outcome::Holds);
            ensure!(open.is_some() == counters.is_none(), "counters of a chain that does not hold");
            Ok(open.map(|check| check.what.to_string()))
        };
        ensure!(why(&good, Role::Root)?.is_none(), "{:?} of what is signed", why(&good, Role::Root)?);
        ensure!(why(&good, Role::Image)?.is_some(), "another root key is taken");
        for (number, part) in good.images.iter().enumerate() {
            let name = part.kind.name();
            let size = part.content.len();
            for at in [0, size / 2, size.saturating_sub(1)] {
                let mut changed = good.clone();
                match changed.images[number].content.get_mut(at) {
                    Some(octet) => *octet ^= 1,
                    // OP-TEE's third part is empty
                    None => changed.images[number].content.push(0),
                }
                ensure!(why(&changed, Role::Root)?.is_some(), "octet {at} of {name}");
            }
            let mut without = good.clone();
            without.images.remove(number);
            ensure!(why(&without, Role::Root)?.is_some(), "without {name}");
        }
        for pair in FILES.windows(2) {
            let mut swapped = good.clone();
            let [a, b] =
                [pair[0].1, pair[1].1].map(|kind| swapped.images.iter().position(|part| part.kind == kind));
            let (Some(a), Some(b)) = (a, b) else { continue };
            let other = swapped.images[a].content.clone();
            swapped.images[a].content = std::mem::replace(&mut swapped.images[b].content, other);
            ensure!(why(&swapped, Role::Root)?.is_some(), "{} in the other's place", pair[0].0);
        }
        Ok(())
    }

    /// The FIT's signature is the one that U-Boot's own program makes of the same FIT.
    pub(super) fn image(&self) -> Result<()> {
        let folder = self.fresh("mkimage")?;
        let parts = ["kernel", "fdt", "ramdisk"].map(|name| folder.join(name));
        for (number, file) in parts.iter().enumerate() {
            let content: Vec<u8> = (0..5000 + number).map(|octet| (octet * 31 + number) as u8).collect();
            fs::write(file, content)?;
        }
        let [kernel, tree, initrd] = &parts;
        let parts = Parts { kernel, tree, initrd, address: 0x4040_0000, description: "trial" };
        let ours = self.builder.signed_image(&parts, &self.set.keys, &self.set.u_boot)?;
        let theirs = folder.join("theirs.fit");
        let tool = Tool::new(self.set.u_boot.join("mkimage")).arg("-q").args(["-D", "-q -I dts -O dtb"]);
        let tool = tool.env("SOURCE_DATE_EPOCH", crate::firmware::EPOCH).arg("-f");
        let tool = tool.arg(ours.with_file_name("image.its")).arg("-k");
        tool.arg(self.builder.repo.dev_keys().join("boot")).arg(&theirs).run(&self.builder.log("mkimage"))?;
        let [ours, theirs] = [&ours, &theirs].map(|file| signature(file));
        let (ours, theirs) = (ours?, theirs?);
        ensure!(ours.len() == OCTETS && ours == theirs, "the signature of a FIT is not that of mkimage");
        Ok(())
    }

    /// The same keys in a token: the same firmware but for salts, the same image, and a device boots both.
    pub(super) fn token(&self) -> Result<()> {
        let token = Token::make(self)?;
        let out = self.fresh("from-token")?;
        token.firmware(self.builder, &token.keys, &out)?;
        let (ours, theirs) = (fip(&out.join("firmware.bios"))?, fip(&self.set.images.firmware)?);
        for (kind, _) in FILES.map(|(option, kind)| (kind, option)) {
            let (ours, theirs) = (part(&ours, kind)?, part(&theirs, kind)?);
            let signed = if kind.name().contains("certificate") { OCTETS } else { 0 };
            ensure!(ours.len() == theirs.len(), "{} has another size", kind.name());
            let same = ours.len() - signed.min(ours.len());
            ensure!(ours[..same] == theirs[..same], "{} differs before its signature", kind.name());
            ensure!(signed == 0 || ours != theirs, "{} was not signed anew", kind.name());
        }
        let image = out.join("image.fit");
        ensure!(fs::read(&image)? == fs::read(&self.set.image)?, "the image differs from that of files");
        let medium = out.join("medium.img");
        medium::make(&medium, [Some(&image), None])?;
        let images = Images { firmware: out.join("firmware.bios"), ..self.set.images_for(&medium) };
        let mut device = Device::boot(&images, &BootOptions::default())?;
        let info = device.exec(&["trustbox", "--json", "info"])?;
        ensure!(info.status == 0, "trustbox info: {}", String::from_utf8_lossy(&info.stderr));
        device.power_off()?;
        self.refusals(&token)
    }

    /// Each folder that is wrong in one thing.
    fn refusals(&self, token: &Token) -> Result<()> {
        let uri = |object: &str, token: &str, pin: &str| {
            format!("pkcs11:token={token};object={object}?module-path={MODULE}&pin-source=file:{pin}")
        };
        let pin = token.folder.join("pin").display().to_string();
        let wrong_pin = token.folder.join("wrong-pin");
        secret(&wrong_pin, "000000")?;
        let wrong_pin = wrong_pin.display().to_string();
        let (small, open) = (token.folder.join("small.pub.pem"), token.folder.join("open.key"));
        let dev = self.builder.repo.dev_keys().join("boot");
        fs::copy(dev.join("root.key"), &open)?;
        fs::set_permissions(&open, fs::Permissions::from_mode(0o644))?;
        let read = |path: &Path| fs::read_to_string(path).with_context(|| path.display().to_string());
        let (small, open, other) = (read(&small)?, read(&open)?, read(&dev.join("optee.key"))?);
        for (name, content, why) in [
            ("root.uri", None, "has neither root.key nor root.uri"),
            ("root.key", Some(other.clone()), "are both there"),
            ("root.pub.pem", None, "cannot read"),
            ("root.pub.pem", Some(small), "RSA key of 2048 bits, exponent 0x010001; expected 3072 bits"),
            ("root.pub.pem", Some("none".to_owned()), "it is an RSA public key in PEM"),
            ("root.uri", Some(uri("optee", TOKEN, &pin)), "is not the other half of"),
            ("root.uri", Some(uri("p256", TOKEN, &pin)), "not an RSA key"),
            ("root.uri", Some(uri("gone", TOKEN, &pin)), "the token has no"),
            ("root.uri", Some(uri("root", "gone", &pin)), "no such token"),
            ("root.uri", Some(uri("root", TOKEN, &wrong_pin)), "wrong PIN"),
            ("root.uri", Some(uri("root", TOKEN, "/nowhere")), "cannot read /nowhere"),
            ("root.uri", Some("pkcs11:object=root?pin-value=274951".to_owned()), "is not secret"),
            ("root.uri", Some("root".to_owned()), "does not start with pkcs11:"),
        ] {
            let bad = token.copy(self, &[(name, content)])?;
            token.refused(self.builder, &bad, why)?;
        }
        let changes = [("root.uri", None), ("root.key", Some(open))];
        let bad = token.copy(self, &changes)?;
        fs::set_permissions(bad.join("root.key"), fs::Permissions::from_mode(0o644))?;
        token.refused(self.builder, &bad, "has mode 644, not 600")?;
        fs::rename(token.folder.join("tokens"), token.folder.join("unplugged"))?;
        fs::create_dir(token.folder.join("tokens"))?;
        token.refused(self.builder, &token.keys, "no such token")
    }

    fn fresh(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

/// A SoftHSM token with the development keys, and a folder of keys that names them. SoftHSM learns its own folder from the
/// environment, so other processes work with it.
struct Token {
    folder: PathBuf,
    keys: PathBuf,
}

impl Token {
    fn make(bench: &Bench<'_>) -> Result<Self> {
        let folder = bench.fresh("token")?;
        let keys = folder.join("keys");
        for name in ["tokens", "keys"] {
            fs::create_dir(folder.join(name))?;
        }
        let settings =
            format!("directories.tokendir = {}\nlog.level = ERROR\n", folder.join("tokens").display());
        fs::write(folder.join("softhsm2.conf"), settings)?;
        // Another PIN file each time: what was signed before is not taken from the cache.
        let pin = folder.join(format!("pin-{}", std::process::id()));
        secret(&pin, PIN)?;
        secret(&folder.join("pin"), PIN)?;
        let token = Self { folder, keys };
        let init = ["--init-token", "--free", "--label", TOKEN, "--so-pin", "654321", "--pin", PIN];
        token.softhsm().args(init).output()?;
        let dev = bench.builder.repo.dev_keys().join("boot");
        for (number, role) in Role::ALL.into_iter().enumerate() {
            let name = role.name();
            token.import(&dev.join(format!("{name}.key")), name, number)?;
            fs::copy(dev.join(format!("{name}.pub.pem")), token.keys.join(format!("{name}.pub.pem")))?;
            let place = format!("module-path={MODULE}&pin-source=file:{}", pin.display());
            let uri = format!("pkcs11:token={TOKEN};object={name}?{place}\n");
            fs::write(token.keys.join(format!("{name}.uri")), uri)?;
        }
        token.other_keys()?;
        Ok(token)
    }

    /// A key of another type, and one of another size.
    fn other_keys(&self) -> Result<()> {
        let [ec, small] = ["p256.key", "small.key"].map(|name| self.folder.join(name));
        let make = || Tool::new("openssl").args(["genpkey", "-quiet", "-algorithm"]);
        make().args(["EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"]).arg(&ec).output()?;
        make().args(["RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out"]).arg(&small).output()?;
        let public = self.folder.join("small.pub.pem");
        Tool::new("openssl").args(["rsa", "-pubout", "-in"]).arg(small).arg("-out").arg(public).output()?;
        self.import(&ec, "p256", Role::ALL.len())
    }

    fn import(&self, file: &Path, label: &str, number: usize) -> Result<()> {
        let tool = self.softhsm().arg("--import").arg(file);
        let id = format!("{:02x}", number + 1);
        tool.args(["--token", TOKEN, "--label", label, "--id", &id, "--pin", PIN]).output().map(drop)
    }

    fn softhsm(&self) -> Tool {
        self.with(Tool::new("softhsm2-util"))
    }

    fn with(&self, tool: Tool) -> Tool {
        tool.env("SOFTHSM2_CONF", self.folder.join("softhsm2.conf"))
    }

    /// `tb firmware` with a folder of keys.
    fn firmware(&self, builder: &Builder, keys: &Path, out: &Path) -> Result<()> {
        let tool = self.with(Tool::new(std::env::current_exe()?)).env("TRUSTBOX_ROOT", builder.repo.root());
        let tool = tool.args(["firmware", "--verified", "--boot-keys"]).arg(keys).arg("--out").arg(out);
        tool.output().map(drop)
    }

    fn refused(&self, builder: &Builder, keys: &Path, why: &str) -> Result<()> {
        let error = self.firmware(builder, keys, &self.folder.join("nothing"));
        let error = format!("{:#}", error.err().with_context(|| format!("taken, though \"{why}\""))?);
        ensure!(error.contains(why), "\"{why}\" is not in: {error}");
        ensure!(!error.contains(PIN) && !error.contains("000000"), "a PIN is in: {error}");
        Ok(())
    }

    /// The folder of keys with changed files.
    fn copy(&self, bench: &Bench<'_>, changes: &[(&str, Option<String>)]) -> Result<PathBuf> {
        let folder = bench.fresh("bad-keys")?;
        for entry in fs::read_dir(&self.keys)? {
            let entry = entry?;
            fs::copy(entry.path(), folder.join(entry.file_name()))?;
        }
        for (name, content) in changes {
            match content {
                Some(content) => secret(&folder.join(name), content)?,
                None => fs::remove_file(folder.join(name))?,
            }
        }
        Ok(folder)
    }
}

fn secret(path: &Path, content: &str) -> Result<()> {
    fs::write(path, content)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o600))?)
}

/// The FIP behind BL1.
fn fip(firmware: &Path) -> Result<Fip> {
    let content = fs::read(firmware).with_context(|| format!("cannot read {}", firmware.display()))?;
    Ok(Fip::decode(content.get(FIP_OFFSET..).context("no FIP")?)?)
}

fn part(fip: &Fip, kind: Kind) -> Result<&[u8]> {
    let part = fip.images.iter().find(|part| part.kind == kind);
    Ok(&part.with_context(|| format!("no {}", kind.name()))?.content)
}

/// What a certificate says to TF-A: subject, key, algorithm, and Arm's extensions.
fn said(der: &[u8]) -> Result<BTreeMap<String, Vec<u8>>> {
    let certificate = Certificate::from_der(der)?;
    let body = certificate.tbs_certificate();
    let mut said = BTreeMap::from([
        ("subject".to_owned(), body.subject().to_string().into_bytes()),
        ("key".to_owned(), body.subject_public_key_info().to_der()?),
        ("algorithm".to_owned(), body.signature().to_der()?),
        ("algorithm of the signature".to_owned(), certificate.signature_algorithm().to_der()?),
    ]);
    let extensions = body.extensions().into_iter().flatten();
    let arms = extensions.filter(|extension| extension.extn_id.to_string().starts_with("1.3.6.1.4.1.4128"));
    for extension in arms {
        said.insert(extension.extn_id.to_string(), extension.to_der()?);
    }
    Ok(said)
}

/// The signature in a FIT.
fn signature(fit: &Path) -> Result<Vec<u8>> {
    let tool =
        Tool::new("fdtget").args(["-t", "bx"]).arg(fit).args(["/configurations/conf/signature-1", "value"]);
    let text = tool.output()?;
    text.split_whitespace().map(|word| Ok(u8::from_str_radix(word, 16)?)).collect()
}

/// TF-A's `cert_create`.
fn cert_create(builder: &Builder) -> Result<PathBuf> {
    let source = builder.source("arm-trusted-firmware")?;
    let key = Key::new("cert-create").text(&source.key).finish();
    let folder = builder.cached("cert-create", &key, |dirs| {
        for name in TOOL_SOURCES {
            let to = dirs.out.join(name);
            fs::create_dir_all(&to)?;
            Tool::new("cp").arg("-a").arg(source.folder.join(name).join(".")).arg(&to).run(&dirs.log)?;
        }
        crate::firmware::make(&dirs.out.join("tools/cert_create")).run(&dirs.log)
    })?;
    Ok(folder.join("tools/cert_create/cert_create"))
}
