//! Who is on the other end: role and name from the client certificate that TLS verified.
//!
//! The certificate's subject says it all: organisational unit (OU) is the role, common name (CN) the name. The CA for clients
//! is the operator's own, so whoever may issue there decides on roles. A certificate is known by its fingerprint, SHA-256 of
//! its DER, under which it can be revoked.

use sha2::{Digest, Sha256};
use trustbox_api::Bytes;
use x509_cert::Certificate;
use x509_cert::der::Decode;

/// What a client may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Keys, policies, states of devices.
    Admin,
    /// Reads everything, changes nothing.
    Auditor,
    /// Enrols devices, asks in their name.
    Factory,
    /// Learns which keys there are.
    BuildAgent,
    /// A device, or the gateway in front of it.
    Device,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Admin, Self::Auditor, Self::Factory, Self::BuildAgent, Self::Device];

    /// As in certificates.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Auditor => "auditor",
            Self::Factory => "factory",
            Self::BuildAgent => "build-agent",
            Self::Device => "device",
        }
    }

    /// The role of a name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.name() == name)
    }
}

/// A client whose certificate TLS verified.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Client {
    /// Its role, if the certificate gives one.
    pub role: Option<Role>,
    /// Its name.
    pub name: String,
    /// SHA-256 of the certificate.
    pub fingerprint: String,
}

impl Client {
    /// Reads a certificate.
    pub fn of_certificate(der: &[u8]) -> Self {
        let certificate = Certificate::from_der(der).ok();
        let subject = certificate.as_ref().map(|certificate| certificate.tbs_certificate().subject());
        let unit = subject.and_then(|subject| subject.organization_unit().ok().flatten());
        let name = subject.and_then(|subject| subject.common_name().ok().flatten());
        Self {
            role: unit.and_then(|unit| Role::parse(&unit.value())),
            name: name
                .map(|name| name.value().chars().filter(|c| !c.is_control()).take(128).collect())
                .unwrap_or_default(),
            fingerprint: Bytes::<32>(Sha256::digest(der).into()).to_string(),
        }
    }

    /// As in the audit log.
    pub fn actor(&self) -> String {
        let role = self.role.map_or("none", Role::name);
        format!("{role}:{}:{}", self.name, &self.fingerprint[..16])
    }
}
