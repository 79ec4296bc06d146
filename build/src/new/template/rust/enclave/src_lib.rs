//! The enclave. Whoever holds the package sees ciphertext; whoever holds the device sees what the commands reply.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::format;
use alloc::vec::Vec;

use trustbox_enclave::{Bytes, EnclaveError, Launch, Launched, Sealed, TrustBox};
use {{ident}}_interface::{Greeting, {{Type}}, {{Type}}Error};

/// Where the count is sealed.
const COUNT: &str = "count";

/// One launch of the enclave.
pub struct Enclave {
    storage: Sealed,
    trustbox: TrustBox,
}

impl Launch for Enclave {
    fn launch(launched: Launched) -> Result<Self, EnclaveError> {
        Ok(Self { storage: launched.storage, trustbox: launched.trustbox })
    }
}

impl {{Type}} for Enclave {
    fn greet(&mut self, name: &str) -> Result<Greeting, EnclaveError> {
        if !(1..=64).contains(&name.len()) {
            return Err({{Type}}Error::Name.into());
        }
        // Another launch of the enclave may count at the same time.
        let _lock = self.storage.lock()?;
        let count = self.count()? + 1;
        self.storage.save(COUNT, &count)?;
        Ok(Greeting { text: format!("hello {name}, from inside OP-TEE"), count })
    }

    fn report(&mut self, nonce: [u8; 32]) -> Result<Vec<u8>, EnclaveError> {
        self.trustbox.report(Bytes(nonce), &self.count()?.to_be_bytes())
    }
}

impl Enclave {
    fn count(&self) -> Result<u64, EnclaveError> {
        Ok(self.storage.load(COUNT)?.unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use trustbox_enclave::{Typed, fake};
    use {{ident}}_interface::{{{Type}}Client, {{Type}}Service};

    use super::*;

    /// The host program's client, over the enclave on a device in memory.
    fn client() -> {{Type}}Client<fake::Session<Typed<{{Type}}Service, Enclave>>> {
        {{Type}}Client::new(fake::launch::<{{Type}}Service, Enclave>().unwrap())
    }

    #[test]
    fn greetings_are_counted_across_launches() {
        assert_eq!(client().greet("Ada").unwrap().count, 1);
        let greeting = client().greet("Grace").unwrap();
        assert_eq!((greeting.text.as_str(), greeting.count), ("hello Grace, from inside OP-TEE", 2));
    }

    #[test]
    fn nobody_and_a_long_name_are_refused() {
        for name in ["", &"x".repeat(65)] {
            assert_eq!(client().greet(name).unwrap_err().own(), Some({{Type}}Error::Name));
        }
    }

    #[test]
    fn a_tampered_count_is_noticed() {
        client().greet("Ada").unwrap();
        fake::tamper(COUNT);
        assert_eq!(client().greet("Ada").unwrap_err().sdk(), Some(EnclaveError::TAMPERED));
    }

    #[test]
    fn a_report_is_signed() {
        assert!(!client().report([1; 32]).unwrap().is_empty());
    }
}
