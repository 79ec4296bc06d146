//! Challenges for attestation: 24 random bytes, the second of expiry (8 bytes, big-endian), and HMAC-SHA256 over both.
//!
//! Nothing is stored when one is given out, so asking for many costs the service nothing, and every instance with the same
//! database knows those of the others: the key is a setting there. One that was used is known by its release.

use ring::hmac::{HMAC_SHA256, Key, sign, verify};

use crate::protocol::CHALLENGE;

const DOMAIN: &[u8] = b"TrustBox challenge\0";
const RANDOM: usize = 24;
const SIGNED: usize = RANDOM + 8;

/// Makes and recognises challenges.
pub struct Challenger(Key);

impl Challenger {
    /// With a key that all instances share.
    pub fn new(key: &[u8]) -> Self {
        Self(Key::new(HMAC_SHA256, key))
    }

    /// A challenge that is good until then.
    pub fn issue(&self, expires: u64) -> Result<[u8; CHALLENGE], getrandom::Error> {
        let mut challenge = [0; CHALLENGE];
        getrandom::fill(&mut challenge[..RANDOM])?;
        challenge[RANDOM..SIGNED].copy_from_slice(&expires.to_be_bytes());
        let mac = sign(&self.0, &[DOMAIN, &challenge[..SIGNED]].concat());
        challenge[SIGNED..].copy_from_slice(mac.as_ref());
        Ok(challenge)
    }

    /// Until when a challenge is good; `None` for one that is not of this service.
    pub fn expires(&self, challenge: &[u8]) -> Option<u64> {
        let (signed, mac) = challenge.split_at_checked(SIGNED)?;
        verify(&self.0, &[DOMAIN, signed].concat(), mac).ok()?;
        signed[RANDOM..].try_into().ok().map(u64::from_be_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ones_of_our_own_are_recognised() {
        let (ours, theirs) = (Challenger::new(&[1; 32]), Challenger::new(&[2; 32]));
        let challenge = ours.issue(1000).unwrap();
        assert_eq!(ours.expires(&challenge), Some(1000));
        assert_eq!(theirs.expires(&challenge), None);
        assert_ne!(ours.issue(1000).unwrap(), challenge);
        for at in 0..CHALLENGE {
            let mut changed = challenge;
            changed[at] ^= 1;
            assert_eq!(ours.expires(&changed), None, "{at}");
        }
        assert_eq!(ours.expires(&challenge[1..]), None);
        assert_eq!(ours.expires(&[]), None);
    }
}
