//! Launch tickets: as what an enclave was launched, in words that only this TA can have written.

use trustbox_api::launch::{Identity, Ticket};
use trustbox_api::{Bytes, Error, wire};

use crate::records::DeviceRecord;
use crate::seal;
use crate::tee::Tee;

/// Purpose of the key that authenticates tickets.
const KEY: &[u8] = b"TrustBox launch ticket\0";

/// Writes a ticket.
pub fn issue<T: Tee>(tee: &mut T, identity: Identity) -> Result<Ticket, Error> {
    let key = tee.derive(KEY)?;
    let mut nonce = Bytes([0; 12]);
    tee.random(&mut nonce.0);
    let mut encoded = [0; 128];
    let tag = seal::authenticate(&key, &nonce, wire::encode(&identity, &mut encoded)?)?;
    Ok(Ticket { identity, nonce, tag })
}

/// The identity of the enclave that calls: from its ticket, which must be for the UUID that OP-TEE names (INV-9).
pub fn check<T: Tee>(tee: &mut T, ticket: &Ticket) -> Result<Identity, Error> {
    let key = tee.derive(KEY)?;
    let mut encoded = [0; 128];
    let encoded = wire::encode(&ticket.identity, &mut encoded)?;
    seal::check_authentic(&key, &ticket.nonce, encoded, &ticket.tag)?;
    if tee.caller()? != Some(ticket.identity.uuid) {
        return Err(Error::TicketInvalid);
    }
    Ok(ticket.identity)
}

/// Refuses an enclave whose version or publisher was revoked since its launch.
pub fn check_not_revoked(device: &DeviceRecord, identity: &Identity) -> Result<(), Error> {
    device.owner()?.revoked.check_enclave(&identity.uuid, identity.version, &identity.publisher)
}
