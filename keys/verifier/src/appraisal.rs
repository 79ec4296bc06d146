//! Verified claims against reference values: a result for each claim, with its reason (after EAR, draft-ietf-rats-ear).

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt::Write;

use trustbox_api::token::{OPTEE, TRUSTBOX};

use crate::claims::{Claims, Component};

/// What a verifier expects. Whatever is not named here is not asked for, and the result says so.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields, rename_all = "kebab-case", default))]
pub struct ReferenceValues {
    /// Kinds of device, as 64 hexadecimal digits.
    pub implementation_ids: Vec<String>,
    /// Lifecycle claims that are good enough, 12288 for secured.
    pub lifecycles: Vec<u64>,
    /// The owner root, as 64 hexadecimal digits.
    pub owner_root: Option<String>,
    /// The lowest security epoch.
    pub min_security_epoch: u64,
    /// Whether storage must be protected against rollback.
    pub rollback_protection: bool,
    /// Whether the hardware key must be unique to the device.
    pub unique_hardware_key: bool,
    /// What may run. An enclave that is not named here is a warning; a component named here must be there if it is required.
    pub components: Vec<Reference>,
}

/// A component that may run.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize, serde::Serialize))]
#[cfg_attr(feature = "serde", serde(deny_unknown_fields, rename_all = "kebab-case"))]
pub struct Reference {
    /// `optee`, `trustbox`, or the UUID of an enclave.
    #[cfg_attr(feature = "serde", serde(rename = "type"))]
    pub kind: String,
    /// Measurements that are good, as 64 hexadecimal digits; any where there is none.
    #[cfg_attr(feature = "serde", serde(default))]
    pub measurements: Vec<String>,
    /// The signer, as 64 hexadecimal digits.
    #[cfg_attr(feature = "serde", serde(default))]
    pub signer: Option<String>,
    /// Whether it must be there.
    #[cfg_attr(feature = "serde", serde(default))]
    pub required: bool,
}

/// How good a claim is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Tier {
    /// As it should be.
    Affirming,
    /// Nothing is known against it, and nothing for it.
    Warning,
    /// Not as it should be.
    Contraindicated,
}

/// The result for one claim.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Finding {
    /// The claim, or the component.
    pub claim: String,
    /// How good it is.
    pub tier: Tier,
    /// Why.
    pub reason: String,
}

/// The results.
#[derive(Clone, PartialEq, Eq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Appraisal {
    /// The worst of them.
    pub status: Tier,
    /// One for each claim.
    pub findings: Vec<Finding>,
}

/// Holds verified claims against reference values.
pub fn appraise(claims: &Claims<'_>, reference: &ReferenceValues) -> Appraisal {
    let mut findings = Vec::from([
        one_of("implementation-id", &hex(&claims.implementation_id), &reference.implementation_ids),
        lifecycle(claims, reference),
        owner(claims, reference),
        least("security-epoch", claims.security_epoch, reference.min_security_epoch),
        required("rollback-protection", claims.rollback_protection == 1, reference.rollback_protection),
        required("hardware-key", claims.hardware_key == 2, reference.unique_hardware_key),
    ]);
    for kind in [OPTEE, TRUSTBOX] {
        if claims.component(kind).is_none() {
            findings.push(finding(kind, Tier::Contraindicated, "the token does not list it".to_string()));
        }
    }
    findings.extend(claims.components.iter().map(|component| one_component(component, reference)));
    findings.extend(absent(claims, reference));
    let status = findings.iter().map(|finding| finding.tier).max().unwrap_or(Tier::Contraindicated);
    Appraisal { status, findings }
}

fn finding(claim: &str, tier: Tier, reason: String) -> Finding {
    Finding { claim: claim.to_string(), tier, reason }
}

fn one_of(claim: &str, found: &str, wanted: &[String]) -> Finding {
    if wanted.is_empty() {
        return finding(claim, Tier::Warning, format!("{found}, and no reference value"));
    }
    if wanted.iter().any(|wanted| wanted == found) {
        return finding(claim, Tier::Affirming, found.to_string());
    }
    finding(claim, Tier::Contraindicated, format!("{found}, expected {}", wanted.join(" or ")))
}

fn lifecycle(claims: &Claims<'_>, reference: &ReferenceValues) -> Finding {
    let wanted: Vec<String> = reference.lifecycles.iter().map(|value| lifecycle_name(*value)).collect();
    one_of("lifecycle", &lifecycle_name(claims.lifecycle), &wanted)
}

/// The lifecycle claim in words, as RFC 9783, 4.3.1 calls it; the lower byte is the implementation's.
pub fn lifecycle_name(value: u64) -> String {
    let name = match value >> 8 {
        0x10 => "assembly-and-test",
        0x20 => "psa-rot-provisioning",
        0x30 => "secured",
        0x40 => "non-psa-rot-debug",
        0x50 => "recoverable-psa-rot-debug",
        0x60 => "decommissioned",
        _ => "unknown",
    };
    format!("{name} (0x{value:04x})")
}

fn owner(claims: &Claims<'_>, reference: &ReferenceValues) -> Finding {
    let found = claims.owner_root.map_or_else(|| "none".to_string(), |root| hex(&root));
    one_of("owner-root", &found, reference.owner_root.as_slice())
}

fn least(claim: &str, found: u64, wanted: u64) -> Finding {
    let tier = if found >= wanted { Tier::Affirming } else { Tier::Contraindicated };
    finding(claim, tier, format!("{found}, at least {wanted} expected"))
}

fn required(claim: &str, found: bool, wanted: bool) -> Finding {
    match (found, wanted) {
        (true, _) => finding(claim, Tier::Affirming, "there".to_string()),
        (false, true) => finding(claim, Tier::Contraindicated, "lacking, and required".to_string()),
        (false, false) => finding(claim, Tier::Warning, "lacking, and not required".to_string()),
    }
}

fn one_component(component: &Component<'_>, reference: &ReferenceValues) -> Finding {
    let named = reference.components.iter().find(|reference| reference.kind == component.kind);
    let Some(wanted) = named else {
        let found = format!("{}, and no reference value", hex(&component.measurement));
        return finding(component.kind, Tier::Warning, found);
    };
    if let Some(signer) = &wanted.signer
        && component.signer.map(|found| hex(&found)).as_ref() != Some(signer)
    {
        let found = component.signer.map_or_else(|| "nobody".to_string(), |found| hex(&found));
        return finding(
            component.kind,
            Tier::Contraindicated,
            format!("signed by {found}, expected {signer}"),
        );
    }
    one_of(component.kind, &hex(&component.measurement), &wanted.measurements)
}

fn absent<'a>(claims: &'a Claims<'_>, reference: &'a ReferenceValues) -> impl Iterator<Item = Finding> + 'a {
    let missing = move |wanted: &&Reference| wanted.required && claims.component(&wanted.kind).is_none();
    reference.components.iter().filter(missing).map(|wanted| {
        finding(&wanted.kind, Tier::Contraindicated, "required, and the token does not list it".to_string())
    })
}

fn hex(bytes: &[u8]) -> String {
    let mut out = String::new();
    for byte in bytes {
        let _ = write!(out, "{byte:02x}");
    }
    out
}
