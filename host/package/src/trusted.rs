//! The trusted manifest of a package: the statement in it, taken apart. Needs no heap.
//!
//! Nothing is verified here: that is the TA's business, and on a host that of module `verify`.

use thiserror::Error;
use trustbox_api::limits::MAX_REQUEST;
use trustbox_api::manifest::{self, Terms};
use trustbox_api::statement::{Envelope, Header, Kind};
use trustbox_api::{PublicKey, wire};

/// The trusted manifest of a package, and what it says.
#[derive(Clone, Debug)]
pub struct Trusted<'a> {
    /// The statement, for the TA.
    pub statement: &'a [u8],
    /// The same, taken apart.
    pub envelope: Envelope<'a>,
    /// Who claims to have signed it.
    pub signer: PublicKey,
    /// What it says; the signature was not verified.
    pub manifest: manifest::Parsed<'a>,
}

/// Why bytes are not a trusted manifest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum TrustedError {
    /// Longer than the TA takes.
    #[error("trusted manifest has {found} bytes, the limit is {MAX_REQUEST}")]
    TooLarge {
        /// Bytes there are.
        found: usize,
    },
    /// The envelope, the header or the manifest does not decode.
    #[error("trusted manifest does not decode: {part} is damaged")]
    Encoding {
        /// Which of them.
        part: &'static str,
    },
    /// It is a statement of another kind.
    #[error("statement is of kind {}, expected {}", found.name(), Kind::Manifest.name())]
    Kind {
        /// Its kind.
        found: Kind,
    },
}

impl<'a> Trusted<'a> {
    /// Takes a trusted manifest apart.
    pub fn read(statement: &'a [u8]) -> Result<Self, TrustedError> {
        if statement.len() > MAX_REQUEST {
            return Err(TrustedError::TooLarge { found: statement.len() });
        }
        let damaged = |part| move |_| TrustedError::Encoding { part };
        let envelope: Envelope<'a> = wire::decode(statement).map_err(damaged("its envelope"))?;
        let header = wire::decode_prefix::<Header>(envelope.payload).map_err(damaged("its header"))?.0;
        if header.kind != Kind::Manifest {
            return Err(TrustedError::Kind { found: header.kind });
        }
        let manifest = manifest::parse(envelope.payload).map_err(damaged("its body"))?;
        Ok(Self { statement, envelope, signer: envelope.signer, manifest })
    }

    /// What the publisher says about the enclave.
    pub fn terms(&self) -> &Terms {
        &self.manifest.manifest.terms
    }
}
