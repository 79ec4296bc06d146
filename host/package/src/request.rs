//! Request files: what a device asks its owner for, as JSON. `trustbox` writes them, `trustbox-keys` answers.
//!
//! ```json
//! {"type":"provision","device_id":"<64 hex digits>","nonce":"<64 hex digits>"}
//! {"type":"key-import","device_id":"…","nonce":"…","device_key":"<standard base64 of DER SubjectPublicKeyInfo>"}
//! {"type":"lock","device_id":"…","nonce":"…"}
//! {"type":"rotate-root","device_id":"…","nonce":"…"}
//! {"type":"decommission","device_id":"…","nonce":"…"}
//! ```

use std::fmt::Write;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use trustbox_api::message::Nonce;
use trustbox_api::{Bytes, DeviceId};

/// Bytes of a request file at most.
pub const MAX_REQUEST_FILE: u64 = 8192;

/// What a device asks for.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// An owner root, answered with a statement of kind `PinRoot`.
    Provision {
        /// The device.
        #[serde(with = "hex_bytes")]
        device_id: DeviceId,
        /// The nonce of the TA.
        #[serde(with = "hex_bytes")]
        nonce: Nonce,
    },
    /// A class key, answered with a statement of kind `KeyBundle`.
    KeyImport {
        /// The device.
        #[serde(with = "hex_bytes")]
        device_id: DeviceId,
        /// The nonce of the TA.
        #[serde(with = "hex_bytes")]
        nonce: Nonce,
        /// DER SubjectPublicKeyInfo of the device key.
        #[serde(with = "base64_bytes")]
        device_key: Vec<u8>,
    },
    /// To be locked, answered with a statement of kind `Lock`.
    Lock {
        /// The device.
        #[serde(with = "hex_bytes")]
        device_id: DeviceId,
        /// The nonce of the TA.
        #[serde(with = "hex_bytes")]
        nonce: Nonce,
    },
    /// Another owner root, answered with a statement of kind `RotateRoot`.
    RotateRoot {
        /// The device.
        #[serde(with = "hex_bytes")]
        device_id: DeviceId,
        /// The nonce of the TA.
        #[serde(with = "hex_bytes")]
        nonce: Nonce,
    },
    /// The end of its life, answered with a statement of kind `Decommission`.
    Decommission {
        /// The device.
        #[serde(with = "hex_bytes")]
        device_id: DeviceId,
        /// The nonce of the TA.
        #[serde(with = "hex_bytes")]
        nonce: Nonce,
    },
}

impl Request {
    /// The file, one line.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
    }

    /// The `type` in the file.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Provision { .. } => "provision",
            Self::KeyImport { .. } => "key-import",
            Self::Lock { .. } => "lock",
            Self::RotateRoot { .. } => "rotate-root",
            Self::Decommission { .. } => "decommission",
        }
    }

    /// The device that asks, and its nonce.
    pub const fn asking(&self) -> (DeviceId, Nonce) {
        match *self {
            Self::Provision { device_id, nonce }
            | Self::KeyImport { device_id, nonce, .. }
            | Self::Lock { device_id, nonce }
            | Self::RotateRoot { device_id, nonce }
            | Self::Decommission { device_id, nonce } => (device_id, nonce),
        }
    }

    /// Reads a file.
    pub fn from_json(text: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(text)
    }
}

/// Bytes of hexadecimal digits, or `None` where the text is not exactly `2 * N` of them.
pub fn parse_hex<const N: usize>(text: &str) -> Option<Bytes<N>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len() == 2 * N)?;
    Some(Bytes(std::array::from_fn(|index| (digits[2 * index] << 4 | digits[2 * index + 1]) as u8)))
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Bytes of hexadecimal digits, however many, or `None` where the text is something else.
pub fn hex_bytes_of(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect())
}

mod hex_bytes {
    use super::*;

    pub(super) fn serialize<S: Serializer, const N: usize>(
        bytes: &Bytes<N>,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>, const N: usize>(
        from: D,
    ) -> Result<Bytes<N>, D::Error> {
        let text = String::deserialize(from)?;
        let wrong = || serde::de::Error::custom(format_args!("expected {} hexadecimal digits", 2 * N));
        parse_hex(&text).ok_or_else(wrong)
    }
}

mod base64_bytes {
    use super::*;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        BASE64_STANDARD.decode(text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_as_documented_and_read_back() {
        let provision = Request::Provision { device_id: Bytes([0xab; 32]), nonce: Bytes([1; 32]) };
        let (id, nonce) = ("ab".repeat(32), "01".repeat(32));
        assert_eq!(
            provision.to_json().unwrap(),
            format!(r#"{{"type":"provision","device_id":"{id}","nonce":"{nonce}"}}"#)
        );
        assert_eq!(hex(&[0, 0xab]), "00ab");
        assert_eq!(hex_bytes_of("00aB"), Some(vec![0, 0xab]));
        assert!(hex_bytes_of("0").is_none() && hex_bytes_of("0g").is_none() && hex_bytes_of("+1").is_none());
        let import = Request::KeyImport {
            device_id: Bytes([0xab; 32]),
            nonce: Bytes([1; 32]),
            device_key: vec![0x30, 0x82],
        };
        assert!(import.to_json().unwrap().starts_with(r#"{"type":"key-import","device_id":""#));
        assert!(import.to_json().unwrap().ends_with(r#","device_key":"MII="}"#));
        let (device_id, nonce) = (Bytes([2; 32]), Bytes([3; 32]));
        let lock = Request::Lock { device_id, nonce };
        let rotate = Request::RotateRoot { device_id, nonce };
        let decommission = Request::Decommission { device_id, nonce };
        for request in [provision, import, lock, rotate, decommission] {
            let text = request.to_json().unwrap();
            assert!(
                text.starts_with(&format!(r#"{{"type":"{}","device_id":"#, request.type_name())),
                "{text}"
            );
            assert_eq!(Request::from_json(text.as_bytes()).unwrap(), request);
            assert!(
                text.contains(&request.asking().0.to_string())
                    && text.contains(&request.asking().1.to_string())
            );
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let good = Request::Provision { device_id: Bytes([0; 32]), nonce: Bytes([0; 32]) }.to_json().unwrap();
        for bad in [
            good.replace("provision", "other"),
            good.replacen("00", "", 1),
            good.replacen("00", "0g", 1),
            good.replace("\"nonce\"", "\"nonsense\""),
            good.replace('}', ",\"extra\":1}"),
            String::new(),
        ] {
            assert!(Request::from_json(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
