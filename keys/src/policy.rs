//! Who gets a class key: the policy of one key, judged rule by rule, so that a refusal names the rule.
//!
//! | field | default | meaning |
//! | --- | --- | --- |
//! | `classes` | any | classes of devices in the registry |
//! | `certificate` | false | the device's factory certificate must be there and verify |
//! | `not-before`, `not-after` | always | seconds since 1970 |
//! | `quota` | none | `releases` to one device within `seconds` |
//! | `min-versions` | none | component type to the lowest version, for example `{"trustbox": "0.1.0"}` |
//! | `evidence` | lifecycle secured | reference values for the token: see `trustbox_verifier::ReferenceValues` |
//! | `compatibility` | false | also released, to anybody, through the endpoint of the original: see `README.md` |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use trustbox_verifier::{Claims, ReferenceValues, Tier, appraise};

/// Lifecycle claim of a secured device (RFC 9783, 4.3.1).
const SECURED: u64 = 0x3000;

/// The policy of one class key.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Policy {
    /// Classes of devices that may have it; all, where there is none.
    pub classes: Vec<String>,
    /// Whether the device needs a certificate of the factory.
    pub certificate: bool,
    /// First second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<u64>,
    /// Last second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_after: Option<u64>,
    /// How often one device may have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// The lowest version of a component.
    pub min_versions: BTreeMap<String, String>,
    /// What the token must say. Without lifecycles, the device must be secured.
    pub evidence: ReferenceValues,
    /// Whose packages may have their content keys wrapped under it.
    pub packages: Packages,
    /// Whether the original's endpoint has it too.
    pub compatibility: bool,
}

/// Which packages a key is for: all, where nothing is named.
#[derive(Clone, Default, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Packages {
    /// Names of build agents.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<String>,
    /// Ids of publishers: SHA-256 of their keys, hexadecimal digits.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub publishers: Vec<String>,
    /// UUIDs of applications.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub applications: Vec<String>,
}

/// A package that is held against a policy.
#[derive(Clone, Copy, Debug)]
pub struct PackageFacts<'a> {
    /// Name of the client that packs.
    pub agent: &'a str,
    /// Id of the publisher in its manifest.
    pub publisher: &'a str,
    /// UUID of its application.
    pub application: &'a str,
    /// Now, in seconds since 1970.
    pub now: u64,
}

/// How often one device may have a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Releases at most.
    pub releases: u32,
    /// Within so many seconds.
    pub seconds: u32,
}

/// What is held against a policy.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Class of the device.
    pub class: &'a str,
    /// Now, in seconds since 1970.
    pub now: u64,
    /// Whether a certificate of the factory verifies, or why not.
    pub certificate: Result<(), &'a str>,
    /// The verified token; `None` where somebody only asks what would be.
    pub claims: Option<&'a Claims<'a>>,
}

/// What a rule says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Nothing against it.
    Allowed,
    /// No.
    Denied,
    /// It depends on what was not given.
    Open,
}

/// One rule, judged.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// The rule.
    pub rule: String,
    /// What it says.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
}

impl Finding {
    /// A rule that holds or does not.
    pub fn of(rule: &str, holds: bool, reason: impl Into<String>) -> Self {
        let verdict = if holds { Verdict::Allowed } else { Verdict::Denied };
        Self { rule: rule.to_owned(), verdict, reason: reason.into() }
    }

    /// A rule that nobody can judge yet.
    pub fn open(rule: &str, reason: impl Into<String>) -> Self {
        Self { rule: rule.to_owned(), verdict: Verdict::Open, reason: reason.into() }
    }
}

impl Policy {
    /// Every rule of it.
    pub fn judge(&self, facts: &Facts<'_>) -> Vec<Finding> {
        let mut findings = vec![self.class(facts.class), self.time(facts.now), self.certificate(facts)];
        match facts.claims {
            Some(claims) => {
                findings.extend(self.claims(claims));
                findings.extend(self.min_versions.iter().map(|(kind, least)| version(claims, kind, least)));
            }
            None => findings.push(Finding::open("evidence", "no token was given")),
        }
        findings
    }

    /// Every rule of it that is about packages.
    pub fn judge_package(&self, facts: &PackageFacts<'_>) -> Vec<Finding> {
        let listed = |rule: &str, found: &str, allowed: &[String]| {
            let holds = allowed.is_empty() || allowed.iter().any(|allowed| allowed == found);
            Finding::of(rule, holds, format!("{found:?}, allowed are {allowed:?}"))
        };
        let packages = &self.packages;
        vec![
            self.time(facts.now),
            listed("package:agent", facts.agent, &packages.agents),
            listed("package:publisher", facts.publisher, &packages.publishers),
            listed("package:application", facts.application, &packages.applications),
        ]
    }

    fn class(&self, class: &str) -> Finding {
        let holds = self.classes.is_empty() || self.classes.iter().any(|allowed| allowed == class);
        Finding::of(
            "class",
            holds,
            format!("the device is of class {class:?}, allowed are {:?}", self.classes),
        )
    }

    /// Whether it is within the time.
    pub fn is_open(&self, now: u64) -> bool {
        self.not_before.is_none_or(|first| first <= now) && self.not_after.is_none_or(|last| now <= last)
    }

    fn time(&self, now: u64) -> Finding {
        let shown = |bound: Option<u64>| bound.map_or_else(|| "…".to_owned(), |bound| bound.to_string());
        let (first, last) = (shown(self.not_before), shown(self.not_after));
        Finding::of("time", self.is_open(now), format!("it is {now}, allowed from {first} to {last}"))
    }

    fn certificate(&self, facts: &Facts<'_>) -> Finding {
        let reason = facts.certificate.err().unwrap_or("verifies");
        Finding::of("certificate", !self.certificate || facts.certificate.is_ok(), reason)
    }

    fn claims(&self, claims: &Claims<'_>) -> Vec<Finding> {
        let mut reference = self.evidence.clone();
        if reference.lifecycles.is_empty() {
            reference.lifecycles.push(SECURED);
        }
        let appraisal = appraise(claims, &reference).findings.into_iter();
        let judged = appraisal.map(|found| {
            Finding::of(
                &format!("evidence:{}", found.claim),
                found.tier != Tier::Contraindicated,
                found.reason,
            )
        });
        judged.collect()
    }
}

fn version(claims: &Claims<'_>, kind: &str, least: &str) -> Finding {
    let rule = format!("min-version:{kind}");
    let Some(component) = claims.component(kind) else {
        return Finding::of(&rule, false, "the token does not list it");
    };
    let holds = match (numbers(component.version), numbers(least)) {
        (Some(found), Some(least)) => found >= least,
        _ => false,
    };
    Finding::of(&rule, holds, format!("{}, at least {least} expected", component.version))
}

/// `4.10.0` in an order in which 4.10 comes after 4.9.
fn numbers(version: &str) -> Option<Vec<u32>> {
    version.split('.').map(|number| number.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use trustbox_verifier::Component;

    fn claims(lifecycle: u64) -> Claims<'static> {
        let component = |kind, version| Component { kind, measurement: [1; 32], version, signer: None };
        Claims {
            nonce: &[0; 48],
            attestation_key: [0; 32],
            boot_seed: &[0; 16],
            client_id: -1,
            lifecycle,
            implementation_id: [0; 32],
            components: vec![component("optee", "4.10.0"), component("trustbox", "0.1.0")],
            wrapping_key: [0; 32],
            rollback_protection: 0,
            hardware_key: 0,
            security_epoch: 0,
            log_entries: [0; 3],
            log_head: [0; 32],
            owner_root: None,
            enclave_data: None,
            transport_key: None,
        }
    }

    fn denying(policy: &Policy, claims: &Claims<'_>) -> Vec<String> {
        let facts =
            Facts { class: "edge", now: 100, certificate: Err("there is none"), claims: Some(claims) };
        let denied = policy.judge(&facts).into_iter().filter(|finding| finding.verdict == Verdict::Denied);
        denied.map(|finding| finding.rule).collect()
    }

    #[test]
    fn a_device_that_is_not_secured_is_denied_unless_said_otherwise() {
        assert!(denying(&Policy::default(), &claims(SECURED)).is_empty());
        assert_eq!(denying(&Policy::default(), &claims(0x2000)), ["evidence:lifecycle"]);
        let evidence = ReferenceValues { lifecycles: vec![0x2000], ..Default::default() };
        let policy = Policy { evidence, ..Default::default() };
        assert!(denying(&policy, &claims(0x2000)).is_empty());
    }

    #[test]
    fn every_rule_denies_by_its_name() {
        let with = |change: fn(&mut Policy)| {
            let mut policy = Policy::default();
            change(&mut policy);
            denying(&policy, &claims(SECURED))
        };
        assert_eq!(with(|policy| policy.classes = vec!["other".to_owned()]), ["class"]);
        assert_eq!(with(|policy| policy.not_before = Some(101)), ["time"]);
        assert_eq!(with(|policy| policy.not_after = Some(99)), ["time"]);
        assert_eq!(with(|policy| policy.certificate = true), ["certificate"]);
        let least = |kind: &str, version: &str| BTreeMap::from([(kind.to_owned(), version.to_owned())]);
        let denied = |kind: &str, version: &str| {
            denying(&Policy { min_versions: least(kind, version), ..Default::default() }, &claims(SECURED))
        };
        assert!(denied("optee", "4.9.1").is_empty());
        assert_eq!(denied("optee", "4.11"), ["min-version:optee"]);
        assert_eq!(denied("optee", "four"), ["min-version:optee"]);
        assert_eq!(denied("meter", "1"), ["min-version:meter"]);
        assert_eq!(
            with(|policy| policy.evidence.rollback_protection = true),
            ["evidence:rollback-protection"]
        );
    }

    #[test]
    fn without_a_token_evidence_stays_open() {
        let facts = Facts { class: "", now: 0, certificate: Ok(()), claims: None };
        let findings = Policy::default().judge(&facts);
        assert!(
            findings.iter().any(|finding| finding.verdict == Verdict::Open && finding.rule == "evidence")
        );
    }
}
