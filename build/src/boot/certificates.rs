//! The chain of X.509 certificates that TF-A wants beside its images: made by TF-A's own `cert_create`, from any keys.
//!
//! Signing is a step of its own: images are built without private keys, and the same images can be signed again with another
//! counter.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use trustbox_boot_image::fip::{Fip, Kind};

use crate::boot::keys::{BITS, Keys, Role};
use crate::builder::Builder;
use crate::firmware::make;
use crate::hash::Key;
use crate::tool::Tool;

/// Steps that a device can count: fuses of an LS1028A, words of the emulated device's flash.
const LAST_COUNTER: u32 = 32;
/// What `cert_create` is built from.
const TOOL_SOURCES: [&str; 3] = ["tools/cert_create", "include", "make_helpers"];

/// Counters of a firmware: a device takes none that is lower than the highest it ran.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counters {
    /// BL2, BL31 and OP-TEE.
    pub(crate) trusted: u32,
    /// U-Boot.
    pub(crate) normal: u32,
}

impl Counters {
    pub(crate) fn check(self) -> Result<Self> {
        let highest = self.trusted.max(self.normal);
        ensure!(
            highest <= LAST_COUNTER,
            "counter {highest} is beyond the last, {LAST_COUNTER}\nhelp: a device counts {LAST_COUNTER} steps in its life"
        );
        Ok(self)
    }
}

/// Images that are signed, as files.
pub(crate) struct Signed<'a> {
    /// Not where the boot ROM verifies it.
    pub(crate) bl2: Option<&'a Path>,
    pub(crate) bl31: &'a Path,
    /// OP-TEE, and its second and third part where it has any.
    pub(crate) optee: &'a [PathBuf],
    pub(crate) u_boot: &'a Path,
}

const OPTEE: [(Kind, &str); 3] =
    [(Kind::Bl32, "--tos-fw"), (Kind::Bl32Extra1, "--tos-fw-extra1"), (Kind::Bl32Extra2, "--tos-fw-extra2")];
const CERTIFICATES: [(Kind, &str); 7] = [
    (Kind::TrustedKeyCertificate, "--trusted-key-cert"),
    (Kind::MonitorKeyCertificate, "--soc-fw-key-cert"),
    (Kind::MonitorCertificate, "--soc-fw-cert"),
    (Kind::OpteeKeyCertificate, "--tos-fw-key-cert"),
    (Kind::OpteeCertificate, "--tos-fw-cert"),
    (Kind::UBootKeyCertificate, "--nt-fw-key-cert"),
    (Kind::UBootCertificate, "--nt-fw-cert"),
];
/// The program wants a key for a processor that is not there, and signs nothing with it.
const KEYS: [(Role, &str); 7] = [
    (Role::TrustedWorld, "--scp-fw-key"),
    (Role::Root, "--rot-key"),
    (Role::TrustedWorld, "--trusted-world-key"),
    (Role::NormalWorld, "--non-trusted-world-key"),
    (Role::Monitor, "--soc-fw-key"),
    (Role::Optee, "--tos-fw-key"),
    (Role::UBoot, "--nt-fw-key"),
];

impl Builder {
    /// TF-A's `cert_create`.
    pub(crate) fn cert_create(&self) -> Result<PathBuf> {
        let source = self.source("arm-trusted-firmware")?;
        let key = Key::new("cert-create").text(&source.key).finish();
        let folder = self.cached("cert-create", &key, |dirs| {
            for name in TOOL_SOURCES {
                let to = dirs.out.join(name);
                fs::create_dir_all(&to)?;
                Tool::new("cp").arg("-a").arg(source.folder.join(name).join(".")).arg(&to).run(&dirs.log)?;
            }
            make(&dirs.out.join("tools/cert_create")).run(&dirs.log)
        })?;
        Ok(folder.join("tools/cert_create/cert_create"))
    }

    /// A FIP with the images and their certificates, signed with these keys.
    pub(crate) fn signed_fip(
        &self,
        images: &Signed<'_>,
        keys: &Keys,
        counters: Counters,
        scratch: &Path,
    ) -> Result<Vec<u8>> {
        let counters = counters.check()?;
        let mut tool = Tool::new(self.cert_create()?).args([
            "--key-alg",
            "rsa",
            "--key-size",
            BITS,
            "--hash-alg",
            "sha256",
        ]);
        tool = tool.args([
            "--tfw-nvctr",
            &counters.trusted.to_string(),
            "--ntfw-nvctr",
            &counters.normal.to_string(),
        ]);
        tool = KEYS.iter().fold(tool, |tool, (role, name)| tool.arg(name).arg(keys.private(*role)));
        let mut parts: Vec<(Kind, PathBuf)> = Vec::new();
        if let Some(bl2) = images.bl2 {
            parts.push((Kind::Bl2, bl2.to_path_buf()));
            let certificate = scratch.join("bl2.crt");
            tool = tool.arg("--tb-fw").arg(bl2).arg("--tb-fw-cert").arg(&certificate);
            parts.push((Kind::Bl2Certificate, certificate));
        }
        for (number, (kind, name)) in CERTIFICATES.iter().enumerate() {
            let certificate = scratch.join(format!("{number}.crt"));
            tool = tool.arg(name).arg(&certificate);
            parts.push((*kind, certificate));
        }
        for (file, (kind, name)) in images.optee.iter().zip(OPTEE) {
            tool = tool.arg(name).arg(file);
            parts.push((kind, file.clone()));
        }
        tool = tool.arg("--soc-fw").arg(images.bl31).arg("--nt-fw").arg(images.u_boot);
        parts.extend([(Kind::Bl31, images.bl31.to_path_buf()), (Kind::Bl33, images.u_boot.to_path_buf())]);
        tool.run(&self.log("cert-create-run"))?;
        let parts = parts.into_iter().map(|(kind, file)| Ok((kind, fs::read(file)?)));
        Ok(Fip::of(parts.collect::<Result<Vec<_>>>()?).encode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_end_where_the_device_ends() {
        assert!(Counters { trusted: 32, normal: 0 }.check().is_ok());
        let error = Counters { trusted: 0, normal: 33 }.check().unwrap_err().to_string();
        assert!(error.starts_with("counter 33 is beyond the last, 32\nhelp: "), "{error}");
    }
}
