//! The device says what it is and runs, and this side believes it only after checking.

use std::fs;

use anyhow::{Result, anyhow, ensure};
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};
use trustbox_api::{Bytes, PublicKey};
use trustbox_package::sign::public_key;
use trustbox_verifier::{Claims, Reference, ReferenceValues, Tier, Token, appraise};

use super::later::from_base64;
use super::talk::{json, say, text};
use super::{Demo, Known};
use crate::device::Device;

impl Demo {
    /// A fresh token, believed because the attestation key that was noted at provisioning signed it, and held against what the
    /// build says of OP-TEE and the TA. `meter` is whether the meter must be installed.
    pub(super) fn attest(&self, device: &mut Device, known: &Known, meter: bool) -> Result<()> {
        let mut nonce = [0; 32];
        SystemRandom::new().fill(&mut nonce).map_err(|_| anyhow!("no random numbers"))?;
        let answer = json(device, &["attest", "--nonce", &Bytes(nonce).to_string()])?;
        let bytes = from_base64(&text(&answer, "token")?)?;
        let key = attestation_key(device, known)?;
        let claims = Token::parse(&bytes).and_then(|token| token.verify(&key, &nonce))?;
        let stale = Token::parse(&bytes).and_then(|token| token.verify(&key, &[0; 32]));
        ensure!(stale.is_err(), "the token answers any nonce");
        self.check_claims(&claims, known, meter)
    }

    fn check_claims(&self, claims: &Claims<'_>, known: &Known, meter: bool) -> Result<()> {
        let wrapping = Bytes(claims.wrapping_key).to_string();
        ensure!(wrapping == known.device_key, "the token binds key {wrapping}, not {}", known.device_key);
        let mut reference = ReferenceValues {
            lifecycles: vec![0x2000],
            owner_root: Some(public_key(self.keys.owner_root.verifying_key()).id().to_string()),
            ..self.firmware.clone()
        };
        if meter {
            reference.components.push(self.meter_reference()?);
        }
        let appraisal = appraise(claims, &reference);
        for finding in &appraisal.findings {
            say(&format!("  {:?} {}: {}", finding.tier, finding.claim, finding.reason));
        }
        ensure!(appraisal.status != Tier::Contraindicated, "the device is not as it should be");
        for component in &mut reference.components {
            component.measurements = vec!["00".repeat(32)];
        }
        let wrong = appraise(claims, &reference).findings.into_iter();
        let wrong = wrong.filter(|finding| finding.tier == Tier::Contraindicated).count();
        ensure!(wrong == reference.components.len(), "{wrong} components differ from values that none has");
        Ok(())
    }

    fn meter_reference(&self) -> Result<Reference> {
        Ok(Reference {
            kind: self.meter.uuid.clone(),
            measurements: vec![Bytes::<32>(Sha256::digest(fs::read(&self.meter.signed)?).into()).to_string()],
            signer: Some(public_key(self.keys.publisher.verifying_key()).id().to_string()),
            required: true,
        })
    }
}

/// The attestation key as the device tells it, held against what was noted of it.
pub(super) fn attestation_key(device: &mut Device, known: &Known) -> Result<PublicKey> {
    let exported = json(device, &["key", "export", "--attestation"])?;
    let spki = from_base64(&text(&exported, "attestation_key")?)?;
    let point = spki.get(spki.len().saturating_sub(64)..).and_then(Bytes::from_slice);
    let key = PublicKey(point.ok_or_else(|| anyhow!("the attestation key is too short"))?);
    let id = key.id().to_string();
    ensure!(id == known.attestation_key, "the device shows key {id}, not {}", known.attestation_key);
    Ok(key)
}
