//! A class key: the AES-256 key that devices of one class share and that wraps content keys.

use trustbox_api::Secret;

/// A class key; wiped when dropped, never shown or compared.
#[derive(Clone)]
pub struct ClassKey(Secret<32>);

impl ClassKey {
    /// Takes over a key.
    pub fn new(key: Secret<32>) -> Self {
        Self(key)
    }

    /// A fresh random key.
    pub fn generate() -> Result<Self, getrandom::Error> {
        random_secret().map(Self)
    }

    /// The key itself, to store it or to wrap it for a device.
    pub fn expose(&self) -> &[u8; 32] {
        self.0.expose()
    }
}

pub(crate) fn random_secret() -> Result<Secret<32>, getrandom::Error> {
    let mut secret = Secret::zero();
    getrandom::fill(secret.expose_mut())?;
    Ok(secret)
}
