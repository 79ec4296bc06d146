//! The meter's host program: feeds it readings, and has the total signed for somebody far away.

use std::process::ExitCode;

use sha2::{Digest, Sha256};
use trustbox_client::TrustBox;
use trustbox_example_programs::{Case, Failed, Known, Outcome, nonce, run, same};

const UUID: &str = "5f0e6a52-7c0b-4a40-8d7e-0c1d6b3a9f21";
const RECORD: u32 = 1;
const QUERY: u32 = 2;
const REPORT: u32 = 4;
const CAPACITY: usize = 4096;

const CASES: &[Case<TrustBox>] = &[
    (9101, "the meter's total goes up by what is read", totals),
    (9102, "the meter's total is signed by the device, over a verifier's nonce", signed),
    (9103, "the meter's report of one nonce is not taken for another", other_nonce),
];

fn main() -> ExitCode {
    match TrustBox::open() {
        Ok(trustbox) => run(trustbox, CASES),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(3)
        }
    }
}

fn ask(trustbox: &mut TrustBox, command: u32, request: &[u8]) -> Result<Vec<u8>, Failed> {
    Ok(trustbox.open_enclave(UUID.parse()?)?.invoke(command, request, CAPACITY)?)
}

fn line(trustbox: &mut TrustBox, command: u32, request: &str) -> Result<String, Failed> {
    Ok(String::from_utf8(ask(trustbox, command, request.as_bytes())?)?)
}

/// `total=<n>` of a line.
fn total(line: &str) -> Result<u64, Failed> {
    let field = line.split(' ').find_map(|word| word.strip_prefix("total="));
    Ok(field.ok_or("no total")?.parse()?)
}

fn totals(trustbox: &mut TrustBox) -> Outcome {
    let before = total(&line(trustbox, QUERY, "")?)?;
    for reading in ["1500", "250"] {
        line(trustbox, RECORD, reading)?;
    }
    same!(total(&line(trustbox, QUERY, "")?)?, before + 1750, "total");
    Ok(())
}

/// What a report vouches for is the SHA-256 of the line that the meter shows.
fn signed(trustbox: &mut TrustBox) -> Outcome {
    let (known, nonce) = (Known::note(trustbox)?, nonce());
    let shown = line(trustbox, QUERY, "")?;
    let evidence = ask(trustbox, REPORT, &nonce.0)?;
    let report = known.report(&evidence, nonce, UUID)?;
    same!(report.data, &Sha256::digest(shown)[..], "data of the report");
    same!(report.transport_key, None, "transport key of the report");
    Ok(())
}

fn other_nonce(trustbox: &mut TrustBox) -> Outcome {
    let known = Known::note(trustbox)?;
    let evidence = ask(trustbox, REPORT, &nonce().0)?;
    same!(known.report(&evidence, nonce(), UUID).is_err(), true, "another nonce refused");
    same!(ask(trustbox, REPORT, &[0; 31]).is_err(), true, "short nonce refused");
    Ok(())
}
