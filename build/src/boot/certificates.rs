//! The chain of X.509 certificates that TF-A wants beside its images: the certificates of TBBR (Trusted Board Boot
//! Requirements, Arm DEN0006), each in the form that TF-A's own `cert_create` gives it, signed with keys from anywhere.
//!
//! Signing is a step of its own: images are built without private keys, and the same images can be signed again with another
//! counter.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use trustbox_boot_image::fip::{Fip, Kind};

use crate::boot::keys::{Keys, Role};
use crate::boot::x509::{Says, Statement};

/// Steps that a device can count: fuses of an LS1028A, words of the emulated device's flash.
const LAST_COUNTER: u32 = 32;
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

/// OP-TEE's parts in a FIP.
const OPTEE: [Kind; 3] = [Kind::Bl32, Kind::Bl32Extra1, Kind::Bl32Extra2];
/// Configuration files that a platform may have: ours have none, and their digest is zeros.
const NONE: Says = Says::Digest([0; 32]);

impl Signed<'_> {
    /// A FIP with the images and their certificates, signed with these keys.
    pub(crate) fn fip(&self, keys: &Keys, counters: Counters) -> Result<Fip> {
        let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
        let mut parts = Vec::new();
        if let Some(bl2) = self.bl2 {
            parts.push((Kind::Bl2, read(bl2)?));
        }
        for (kind, statement) in self.statements(counters.check()?)? {
            let certificate = statement.sign(keys).with_context(|| format!("certificate {}", kind.name()))?;
            parts.push((kind, certificate));
        }
        for (kind, file) in OPTEE.into_iter().zip(self.optee) {
            parts.push((kind, read(file)?));
        }
        parts.extend([(Kind::Bl31, read(self.bl31)?), (Kind::Bl33, read(self.u_boot)?)]);
        Ok(Fip::of(parts))
    }

    /// What each certificate says. Numbers are those of the extensions.
    fn statements(&self, counters: Counters) -> Result<Vec<(Kind, Statement)>> {
        let trusted = || (1, Says::Counter(counters.trusted));
        let normal = || (2, Says::Counter(counters.normal));
        let optee = |number: usize| self.optee.get(number).map_or(Ok(NONE), |file| digest(file));
        let of = |kind, subject, signer, says| (kind, Statement { subject, signer, says });
        let mut all = Vec::new();
        if let Some(bl2) = self.bl2 {
            let says = vec![trusted(), (201, digest(bl2)?), (202, NONE), (203, NONE), (204, NONE)];
            all.push(of(Kind::Bl2Certificate, "Trusted Boot FW Certificate", Role::Root, says));
        }
        all.extend([
            of(
                Kind::TrustedKeyCertificate,
                "Trusted Key Certificate",
                Role::Root,
                vec![trusted(), (302, Says::Key(Role::TrustedWorld)), (303, Says::Key(Role::NormalWorld))],
            ),
            of(
                Kind::MonitorKeyCertificate,
                "SoC Firmware Key Certificate",
                Role::TrustedWorld,
                vec![trusted(), (501, Says::Key(Role::Monitor))],
            ),
            of(
                Kind::MonitorCertificate,
                "SoC Firmware Content Certificate",
                Role::Monitor,
                vec![trusted(), (603, digest(self.bl31)?), (604, NONE)],
            ),
            of(
                Kind::OpteeKeyCertificate,
                "Trusted OS Firmware Key Certificate",
                Role::TrustedWorld,
                vec![trusted(), (901, Says::Key(Role::Optee))],
            ),
            of(
                Kind::OpteeCertificate,
                "Trusted OS Firmware Content Certificate",
                Role::Optee,
                vec![trusted(), (1001, optee(0)?), (1002, optee(1)?), (1003, optee(2)?), (1004, NONE)],
            ),
            of(
                Kind::UBootKeyCertificate,
                "Non-Trusted Firmware Key Certificate",
                Role::NormalWorld,
                vec![normal(), (1101, Says::Key(Role::UBoot))],
            ),
            of(
                Kind::UBootCertificate,
                "Non-Trusted Firmware Content Certificate",
                Role::UBoot,
                vec![normal(), (1201, digest(self.u_boot)?), (1202, NONE)],
            ),
        ]);
        Ok(all)
    }
}

fn digest(file: &Path) -> Result<Says> {
    let content = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    Ok(Says::Digest(Sha256::digest(content).into()))
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
