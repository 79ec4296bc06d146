//! Request files: what a device asks its owner for, as JSON. `trustbox` writes them, `trustbox-keys` answers.
//!
//! ```json
//! {"type":"provision","device_id":"<64 hex digits>","nonce":"<64 hex digits>"}
//! {"type":"key-import","device_id":"…","nonce":"…","device_key":"<standard base64 of DER SubjectPublicKeyInfo>"}
//! ```

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
}

impl Request {
    /// The file, one line.
    pub fn to_json(&self) -> serde_json::Result<String> {
        serde_json::to_string(self)
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
        let import = Request::KeyImport {
            device_id: Bytes([0xab; 32]),
            nonce: Bytes([1; 32]),
            device_key: vec![0x30, 0x82],
        };
        assert!(import.to_json().unwrap().starts_with(r#"{"type":"key-import","device_id":""#));
        assert!(import.to_json().unwrap().ends_with(r#","device_key":"MII="}"#));
        for request in [provision, import] {
            assert_eq!(Request::from_json(request.to_json().unwrap().as_bytes()).unwrap(), request);
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
