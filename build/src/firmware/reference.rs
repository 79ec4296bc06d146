//! Reference values of a firmware: what a token must say of a device that runs it, for `trustbox-keys verify --reference`.
//!
//! Signed by the provisioning authority, whose key is compiled into that very firmware: whoever made it says what it is. Where only its
//! public key is here, the file has no signature yet.

use std::path::{Path, PathBuf};

use anyhow::Result;
use trustbox_api::command::Lifecycle;
use trustbox_api::message::Profile as api;
use trustbox_api::token::{IMPLEMENTATION_DOMAIN, OPTEE, TRUSTBOX, lifecycle};
use trustbox_keys::reference;
use trustbox_verifier::{Reference, ReferenceValues};

use crate::board::{Board, Profile};
use crate::builder::Builder;
use crate::firmware::measurement::Measurements;
use crate::hash::{hex, sha256_hex};

/// Name of the file; its signature has `.sig` behind it.
pub(crate) const FILE: &str = "reference-values.toml";

/// Writes the file and its signature into `folder`.
pub(crate) fn write(builder: &Builder, folder: &Path, measured: &Measurements) -> Result<PathBuf> {
    let (board, path) = (&builder.board, folder.join(FILE));
    let notes = format!("{}, {}", board.title, board.profile.name());
    reference::write(&path, &notes, &values(board, measured), builder.reference_signer()?.as_deref())?;
    Ok(path)
}

fn values(board: &Board, measured: &Measurements) -> ReferenceValues {
    let production = board.profile == Profile::Production;
    let kind = [IMPLEMENTATION_DOMAIN, board.name.get_ref().as_bytes()].concat();
    let locked = lifecycle(Lifecycle::Locked, if production { api::Production } else { api::Dev });
    let component = |kind: &str, measurement: &[u8; 32]| Reference {
        kind: kind.to_owned(),
        measurements: vec![hex(measurement)],
        required: true,
        ..Reference::default()
    };
    ReferenceValues {
        implementation_ids: vec![sha256_hex(&kind)],
        lifecycles: vec![locked.into()],
        rollback_protection: production,
        unique_hardware_key: production,
        components: vec![component(OPTEE, &measured.optee), component(TRUSTBOX, &measured.trustbox)],
        ..ReferenceValues::default()
    }
}

impl Builder {
    /// Writes the reference values of the board's firmware as it is now into `folder`.
    pub(crate) fn write_reference(&self, folder: &Path) -> Result<PathBuf> {
        let (optee, ta) = match self.board.hardware() {
            Some(_) => {
                let ta = self.board_ta()?;
                (self.board_optee(&ta)?, ta)
            }
            None => (self.optee_of_firmware(false)?, self.trustbox_ta(&self.dev_kit(false)?)?.stripped),
        };
        write(self, folder, &Measurements::of(&optee.join("tee.elf"), &ta)?)
    }
}
