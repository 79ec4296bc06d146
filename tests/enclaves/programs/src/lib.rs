//! What the host programs of the example enclaves share: numbered cases, printed as TAP, and reports checked.
#![forbid(unsafe_code)]

use std::fmt::Display;
use std::process::ExitCode;

use trustbox_api::message::Nonce;
use trustbox_api::{Bytes, PublicKey};
use trustbox_client::TrustBox;
use trustbox_verifier::{Report, Token};

/// Why a case failed; also everything that has a text.
pub struct Failed(String);

/// How a case ends.
pub type Outcome = Result<(), Failed>;

impl Failed {
    /// The text.
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl<E: Display> From<E> for Failed {
    fn from(error: E) -> Self {
        Self(error.to_string())
    }
}

/// Fails a case unless both sides are equal, and shows them.
#[macro_export]
macro_rules! same {
    ($left:expr, $right:expr, $what:expr) => {
        match (&$left, &$right) {
            (left, right) if left == right => {}
            (left, right) => Err(format!("{}: got {left:?}, want {right:?}", $what))?,
        }
    };
}

/// A numbered case.
pub type Case<T> = (u32, &'static str, fn(&mut T) -> Outcome);

/// Runs cases in order and prints each as a line of TAP; the exit status says whether all passed.
pub fn run<T>(mut with: T, cases: &[Case<T>]) -> ExitCode {
    println!("TAP version 14\n1..{}", cases.len());
    let mut good = true;
    for (at, (id, name, case)) in cases.iter().enumerate() {
        match case(&mut with) {
            Ok(()) => println!("ok {} - {id} {name}", at + 1),
            Err(Failed(why)) => {
                good = false;
                println!("not ok {} - {id} {name}\n  ---\n  message: {why:?}\n  ...", at + 1);
            }
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A device as somebody far away knows it: by its attestation key.
pub struct Known(PublicKey);

impl Known {
    /// Notes the key. This program runs on the device itself and so learns no more than Linux says; a verifier that decides
    /// something has it from the factory's certificate.
    pub fn note(trustbox: &mut TrustBox) -> Result<Self, Failed> {
        Ok(Self(trustbox.info()?.attestation_key.ok_or("the device has no attestation key")?))
    }

    /// The report in `token`, provided that this device's key signed it over `nonce` for the enclave `uuid`.
    pub fn report<'a>(&self, token: &'a [u8], nonce: Nonce, uuid: &str) -> Result<Report<'a>, Failed> {
        let report = Token::parse(token)?.verify_report(&self.0, &nonce.0)?;
        same!(report.enclave.uuid.to_string(), uuid, "enclave of the report");
        Ok(report)
    }
}

/// A nonce of our own.
pub fn nonce() -> Nonce {
    let mut nonce = Bytes([0; 32]);
    getrandom::fill(&mut nonce.0).expect("Linux has random numbers");
    nonce
}
