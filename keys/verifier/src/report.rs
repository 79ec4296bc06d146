//! An enclave's report: a token that names exactly one enclave, and has what that one vouches for.

use alloc::string::ToString;

use trustbox_api::launch::Enclave;
use trustbox_api::token::{OPTEE, TRUSTBOX};
use trustbox_api::{Bytes, PublicKey, Uuid};

use crate::claims::{Claims, Component};
use crate::refusal::Refusal;

/// What a verified report says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Report<'a> {
    /// What it says of the device.
    pub claims: Claims<'a>,
    /// The enclave, as it was launched.
    pub enclave: Enclave,
    /// What the enclave vouches for.
    pub data: &'a [u8],
    /// The key that the enclave holds, if it says so.
    pub transport_key: Option<PublicKey>,
}

impl<'a> Report<'a> {
    pub(crate) fn of(claims: Claims<'a>) -> Result<Self, Refusal> {
        let data = claims.enclave_data.ok_or(Refusal::Missing("enclave-data"))?;
        let wrong = |what| Refusal::Claim { claim: "software-components", what };
        let mut enclaves =
            claims.components.iter().filter(|component| ![OPTEE, TRUSTBOX].contains(&component.kind));
        let (Some(component), None) = (enclaves.next(), enclaves.next()) else {
            return Err(wrong("not exactly one enclave"));
        };
        let enclave = enclave(component).ok_or(wrong("not an enclave with UUID, version and signer"))?;
        Ok(Self { enclave, data, transport_key: claims.transport_key, claims })
    }
}

fn enclave(component: &Component<'_>) -> Option<Enclave> {
    let (uuid, version) = (component.kind.parse::<Uuid>().ok()?, component.version.parse::<u32>().ok()?);
    // One spelling each: what is compared as text must be the same.
    let plain = uuid.to_string() == component.kind && version.to_string() == component.version;
    let (digest, publisher) = (Bytes(component.measurement), Bytes(component.signer?));
    plain.then_some(Enclave { uuid, digest, version, publisher })
}
