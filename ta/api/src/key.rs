//! Identifiers and public keys.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::bytes::Bytes;
use crate::limits::{MAX_KEY_NAME, MAX_NAME};

/// Identity of a device: derived from its hardware unique key, so it survives a storage wipe.
pub type DeviceId = Bytes<32>;
/// SHA-256 of a key's DER SubjectPublicKeyInfo (RFC 5280, 4.1.2.7).
pub type KeyId = Bytes<32>;
/// An enclave's display name.
pub type Name = arrayvec::ArrayString<MAX_NAME>;
/// A class key's name.
pub type KeyName = arrayvec::ArrayString<MAX_KEY_NAME>;

/// A UUID in RFC 9562 byte order, as OP-TEE's signed header carries it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Uuid(pub Bytes<16>);

/// A class key by name and version.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct KeyRef {
    /// Name of the key, for example the device class.
    pub name: KeyName,
    /// Version, counted up by rotation.
    pub version: u32,
}

/// An ECDSA P-256 public key: X and Y, 32 bytes each, big-endian (SEC 1 without the 0x04).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PublicKey(pub Bytes<64>);

/// DER up to the point of a P-256 SubjectPublicKeyInfo (RFC 5480), the 0x04 included.
const P256_SPKI_PREFIX: [u8; 27] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00, 0x04,
];

impl PublicKey {
    /// SHA-256 of the key's SubjectPublicKeyInfo, as `openssl pkey -pubout -outform DER | sha256sum`.
    pub fn id(&self) -> KeyId {
        Bytes(Sha256::digest(self.spki()).into())
    }

    /// The key's DER SubjectPublicKeyInfo.
    pub fn spki(&self) -> [u8; 91] {
        let mut out = [0; 91];
        let (prefix, point) = out.split_at_mut(P256_SPKI_PREFIX.len());
        prefix.copy_from_slice(&P256_SPKI_PREFIX);
        point.copy_from_slice(&self.0.0);
        out
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.0.iter().enumerate() {
            let dash = if matches!(index, 4 | 6 | 8 | 10) { "-" } else { "" };
            write!(f, "{dash}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is not a UUID of the form 8-4-4-4-12.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotAUuid;

impl fmt::Display for NotAUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a UUID of the form 01234567-89ab-cdef-0123-456789abcdef")
    }
}

impl core::error::Error for NotAUuid {}

impl FromStr for Uuid {
    type Err = NotAUuid;

    fn from_str(text: &str) -> Result<Self, NotAUuid> {
        let text = text.as_bytes();
        let dashes = [8, 13, 18, 23].iter().all(|&at| text.get(at) == Some(&b'-'));
        if text.len() != 36 || !dashes {
            return Err(NotAUuid);
        }
        let mut digits =
            text.iter().enumerate().filter(|(at, _)| !matches!(at, 8 | 13 | 18 | 23)).map(|(_, c)| *c);
        let mut out = [0; 16];
        for byte in &mut out {
            *byte = hex_digit(digits.next())? << 4 | hex_digit(digits.next())?;
        }
        Ok(Self(Bytes(out)))
    }
}

fn hex_digit(character: Option<u8>) -> Result<u8, NotAUuid> {
    let digit = character.and_then(|c| char::from(c).to_digit(16)).ok_or(NotAUuid)?;
    u8::try_from(digit).map_err(|_| NotAUuid)
}

impl KeyRef {
    /// A key reference, or `None` where the name is longer than [`MAX_KEY_NAME`].
    pub fn new(name: &str, version: u32) -> Option<Self> {
        Some(Self { name: KeyName::from(name).ok()?, version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn uuid_text_round_trips_and_refuses_everything_else() {
        let text = "b8a6e9d4-3f0c-4f7e-9a53-1d2c7e50b4c1";
        assert_eq!(crate::TRUSTBOX_UUID.to_string(), text);
        assert_eq!(text.parse(), Ok(crate::TRUSTBOX_UUID));
        for bad in
            ["", "b8a6e9d43f0c4f7e9a531d2c7e50b4c1", "b8a6e9d4-3f0c-4f7e-9a53-1d2c7e50b4cg", &text[1..]]
        {
            assert_eq!(bad.parse::<Uuid>(), Err(NotAUuid));
        }
    }
}
