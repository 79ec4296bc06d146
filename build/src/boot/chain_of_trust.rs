//! The certificates and images of a FIP, verified as BL1 and BL2 do: from the root of trust to each image that runs.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use trustbox_boot_image::fip::{Fip, Kind};

use crate::boot::certificates::Counters;
use crate::boot::keys::{Role, public_der};
use crate::boot::x509::Found;
use crate::builder::Repo;
use crate::hash::sha256_hex;
use crate::verify::{Outcome, Verdict};

/// A certificate: whose key signs it, where it has its counter, and which images its extensions are about.
struct Link {
    kind: Kind,
    signer: Signer,
    counter: u32,
    images: &'static [(u32, Kind)],
}

#[derive(Clone, Copy)]
enum Signer {
    Root,
    /// The key in an extension of another certificate.
    In(Kind, u32),
}

/// Numbers of the counters' extensions.
const TRUSTED: u32 = 1;
const NORMAL: u32 = 2;
/// TBBR's chain; who signs comes before what is signed.
const CHAIN: [Link; 8] = [
    link(Kind::Bl2Certificate, Signer::Root, TRUSTED, &[(201, Kind::Bl2)]),
    link(Kind::TrustedKeyCertificate, Signer::Root, TRUSTED, &[]),
    link(Kind::MonitorKeyCertificate, Signer::In(Kind::TrustedKeyCertificate, 302), TRUSTED, &[]),
    link(
        Kind::MonitorCertificate,
        Signer::In(Kind::MonitorKeyCertificate, 501),
        TRUSTED,
        &[(603, Kind::Bl31)],
    ),
    link(Kind::OpteeKeyCertificate, Signer::In(Kind::TrustedKeyCertificate, 302), TRUSTED, &[]),
    link(
        Kind::OpteeCertificate,
        Signer::In(Kind::OpteeKeyCertificate, 901),
        TRUSTED,
        &[(1001, Kind::Bl32), (1002, Kind::Bl32Extra1), (1003, Kind::Bl32Extra2)],
    ),
    link(Kind::UBootKeyCertificate, Signer::In(Kind::TrustedKeyCertificate, 303), NORMAL, &[]),
    link(Kind::UBootCertificate, Signer::In(Kind::UBootKeyCertificate, 1101), NORMAL, &[(1201, Kind::Bl33)]),
];

const fn link(kind: Kind, signer: Signer, counter: u32, images: &'static [(u32, Kind)]) -> Link {
    Link { kind, signer, counter, images }
}

/// Whether there is anything to verify: firmware that nobody signed has no certificate.
pub(crate) fn is_signed(fip: &Fip) -> bool {
    fip.image(Kind::TrustedKeyCertificate).is_some()
}

/// Adds what was found of each certificate and each image; the counters that all certificates agree on.
pub(crate) fn verify(fip: &Fip, root: Option<&Path>, verdict: &mut Verdict) -> Result<Option<Counters>> {
    let (name, trusted) = root_of(root)?;
    let mut good = true;
    for link in CHAIN.iter().filter(|link| link.is_wanted(fip)) {
        let outcome = match link.holds(fip) {
            Ok(key) if matches!(link.signer, Signer::Root) => known(&key, trusted.as_deref(), root.is_some()),
            result => Outcome::of(result.map(drop).map_err(|error| format!("{error:#}"))),
        };
        good &= !matches!(outcome, Outcome::Fails(_));
        // What others sign is worth as much as the root is.
        match link.signer {
            Signer::Root => {
                let by = if outcome == Outcome::Holds { &name } else { "a root key" };
                verdict.add_signature(link.kind.name(), by, outcome);
            }
            Signer::In(kind, _) => verdict.add(link.kind.name(), kind.name(), outcome),
        }
        for (number, image) in link.images {
            let outcome = Outcome::of(link.has(fip, *number, *image).map_err(|error| format!("{error:#}")));
            good &= outcome == Outcome::Holds;
            verdict.add(image.name(), link.kind.name(), outcome);
        }
    }
    if !good {
        return Ok(None);
    }
    let counters = counters(fip);
    verdict.add(
        "counters of the certificates",
        "",
        Outcome::of(counters.as_ref().map(drop).map_err(|e| format!("{e:#}"))),
    );
    Ok(counters.ok())
}

/// The key that must be the root: the one that was named, or this clone's own.
fn root_of(named: Option<&Path>) -> Result<(String, Option<Vec<u8>>)> {
    if let Some(path) = named {
        return Ok((format!("key {}", path.display()), Some(public_der(path)?)));
    }
    let own = Repo::find()?.dev_keys().join("boot").join(format!("{}.pub.pem", Role::Root.name()));
    let own = own.is_file().then(|| public_der(&own)).transpose()?;
    Ok(("this clone's development key, NOT-TRUSTED".to_owned(), own))
}

/// Of a key that somebody brings along, only who knows it can say what it is worth.
fn known(key: &[u8], trusted: Option<&[u8]>, named: bool) -> Outcome {
    match trusted {
        Some(trusted) if trusted == key => Outcome::Holds,
        Some(_) if named => Outcome::Fails("it is signed with another root key".to_owned()),
        _ => Outcome::NotChecked(format!(
            "it holds under the root key with SHA-256 {}\nhelp: --rot-key says which one is yours",
            sha256_hex(key)
        )),
    }
}

impl Link {
    /// BL2 is in a FIP only where no boot ROM verifies it.
    fn is_wanted(&self, fip: &Fip) -> bool {
        self.kind != Kind::Bl2Certificate || fip.image(Kind::Bl2).is_some() || fip.image(self.kind).is_some()
    }

    /// Signed with the key that the chain gives; that key.
    fn holds(&self, fip: &Fip) -> Result<Vec<u8>> {
        let certificate = found(fip, self.kind)?;
        let key = match self.signer {
            Signer::Root => certificate.key()?,
            Signer::In(kind, number) => found(fip, kind)?.key_of(number)?,
        };
        ensure!(certificate.signed_by(&key)?, "its signature is not of that key");
        Ok(key)
    }

    /// An image is the one whose digest is there, and one without a digest is not there.
    fn has(&self, fip: &Fip, number: u32, kind: Kind) -> Result<()> {
        let wanted = found(fip, self.kind)?.digest(number)?;
        let there = fip.image(kind).map(|content| Sha256::digest(content).into());
        ensure!(wanted == there, "it is not the image that was signed");
        Ok(())
    }
}

fn found(fip: &Fip, kind: Kind) -> Result<Found> {
    let der = fip.image(kind).with_context(|| format!("there is no {}", kind.name()))?;
    Found::decode(der).with_context(|| format!("{} is damaged", kind.name()))
}

fn counters(fip: &Fip) -> Result<Counters> {
    let mut all = [None; 2];
    for link in CHAIN.iter().filter(|link| link.is_wanted(fip)) {
        let counter = found(fip, link.kind)?.counter(link.counter)?;
        let first = all[(link.counter - TRUSTED) as usize].get_or_insert(counter);
        ensure!(*first == counter, "{} has counter {counter}, the others have {first}", link.kind.name());
    }
    let [trusted, normal] = all.map(Option::unwrap_or_default);
    Ok(Counters { trusted, normal })
}
