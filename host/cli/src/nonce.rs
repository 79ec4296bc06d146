//! Nonces of whoever relies on what the device signs.

use trustbox_api::message::Nonce;
use trustbox_package::request::parse_hex;

use crate::failure::Failure;

/// A nonce as on a command line.
pub(crate) fn parse(text: &str) -> Result<Nonce, String> {
    parse_hex(text).ok_or_else(|| "not 64 hexadecimal digits".to_owned())
}

/// The nonce given, or a random one.
pub(crate) fn or_random(given: Option<Nonce>) -> Result<Nonce, Failure> {
    let Some(nonce) = given else {
        let mut nonce = Nonce::default();
        let filled = getrandom::fill(&mut nonce.0);
        return filled.map(|()| nonce).map_err(|error| Failure::file("read", "random numbers", error));
    };
    Ok(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn given_nonces_are_kept_and_others_differ() {
        let given = parse(&"0aB1".repeat(16)).unwrap();
        assert_eq!((given.0[0], given.0[31]), (0x0a, 0xb1));
        assert_eq!(or_random(Some(given)), Ok(given));
        assert_ne!(or_random(None), or_random(None));
        assert!(parse("").is_err() && parse(&"0".repeat(63)).is_err() && parse(&"g".repeat(64)).is_err());
    }
}
