//! One atomic change across two stores: our record and OP-TEE's database of trusted applications (INV-6).
//!
//! A change writes its intent first, then changes the database, then writes what is now. Where the power went in between,
//! [`resolve`] looks at what the database holds and makes the record say that: the change was made, or it was not.

use alloc::boxed::Box;

use trustbox_api::limits::MAX_COUNTERS;
use trustbox_api::{Bytes, Error, Secret};

use crate::records::{EnclaveRecord, EnclavesRecord, Holdings, Installed, Intent, load, store};
use crate::tee::{Held, Tee};

/// The record, with the interrupted change of every enclave finished or undone. Only from within `undisturbed` and
/// `exclusively`.
pub fn resolve_all<T: Tee>(tee: &mut T) -> Result<Box<EnclavesRecord>, Error> {
    let mut record: Box<EnclavesRecord> = load(tee)?;
    if record.enclaves.iter().any(|enclave| enclave.intent.is_some()) {
        record.enclaves.iter_mut().try_for_each(|enclave| resolve(tee, enclave))?;
        record.forget_unused();
        store(tee, &*record)?;
    }
    Ok(record)
}

/// Finishes or undoes the interrupted change of one enclave. Where OP-TEE does not answer, the intent stays.
pub fn resolve<T: Tee>(tee: &mut T, enclave: &mut EnclaveRecord) -> Result<(), Error> {
    match enclave.intent {
        None => return Ok(()),
        Some(Intent::Install { next, contents, .. }) => {
            if tee.held(&enclave.uuid)? == Some(Held { version: next.version, contents }) {
                finish(tee, enclave);
            }
        }
        Some(Intent::Uninstall { .. }) => {
            tee.uninstall(&enclave.uuid)?;
            finish(tee, enclave);
        }
    }
    enclave.intent = None;
    Ok(())
}

/// Makes the record say that the intent is done.
pub fn finish<T: Tee>(tee: &mut T, enclave: &mut EnclaveRecord) {
    match enclave.intent.take() {
        None => {}
        Some(Intent::Install { next, name, .. }) => {
            enclave.name = name;
            enclave.floor = enclave.floor.max(next.version);
            enclave.installed = Some(next);
            keep_holdings(tee, enclave, &next);
        }
        Some(Intent::Uninstall { erase }) => {
            enclave.installed = None;
            if erase {
                enclave.holdings = None;
            }
        }
    }
}

/// A new publisher inherits nothing.
fn keep_holdings<T: Tee>(tee: &mut T, enclave: &mut EnclaveRecord, next: &Installed) {
    if enclave.holdings.as_ref().is_some_and(|held| held.publisher == next.publisher) {
        return;
    }
    let (mut generation, mut sealing_key) = (Bytes([0; 8]), Secret::zero());
    tee.random(&mut generation.0);
    tee.random(sealing_key.expose_mut());
    let (publisher, counters) = (next.publisher, [0; MAX_COUNTERS]);
    enclave.holdings = Some(Holdings { publisher, generation, sealing_key, counters });
}
