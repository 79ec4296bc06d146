//! The host program of confidential inference: has images classified, and knows no weight.
//!
//! `example-inference --offer NONCE` writes the enclave's report, for `trustbox-keys seal`; `--load FILE` hands it the weights
//! that came back. The cases want an enclave that has them. `example-inference --figure` prints what one image costs instead; instructions where time counts them, as
//! `build/tb bench` boots the device.

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use trustbox_client::{EnclaveSession, TrustBox};
use trustbox_example_interfaces::inference::{IMAGE, InferenceClient, InferenceError, MAX_IMAGES, UUID};
use trustbox_example_programs::{Case, Failed, Outcome, run, same};
use trustbox_package::request::parse_hex;

const CASES: &[Case<TrustBox>] = &[
    (9401, "every answer is that of the same network run natively: 292 of 300 right", accuracy),
    (9402, "what is no image is refused", refused),
    (9403, "weights that were not sealed to it, or changed, are refused and change nothing", not_for_it),
];
/// Images, each with its label and what the network answers natively; `../inference/data/README.md` says whose they are.
const DIGITS: &[u8] = include_bytes!("../../../inference/data/digits.bin");
const ROW: usize = IMAGE + 2;

fn main() -> ExitCode {
    let trustbox = match TrustBox::open() {
        Ok(trustbox) => trustbox,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(3);
        }
    };
    let words: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let done = match words[..] {
        [] => return run(trustbox, CASES),
        ["--figure"] => figure(trustbox),
        ["--offer", nonce] => offer(trustbox, nonce),
        ["--load", file] => load(trustbox, file),
        _ => {
            eprintln!("usage: example-inference [--offer NONCE | --load FILE | --figure]");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("error: {}", failed.text());
            ExitCode::FAILURE
        }
    }
}

/// The enclave's report, as bytes.
fn offer(mut trustbox: TrustBox, nonce: &str) -> Outcome {
    let nonce = parse_hex(nonce).ok_or("the nonce has 64 hexadecimal digits")?;
    let report = open(&mut trustbox)?.offer(nonce.0)?;
    Ok(std::io::stdout().write_all(&report)?)
}

/// Sealed weights, for the enclave alone.
fn load(mut trustbox: TrustBox, file: &str) -> Outcome {
    Ok(open(&mut trustbox)?.load(&std::fs::read(file)?)?)
}

fn open(trustbox: &mut TrustBox) -> Result<InferenceClient<EnclaveSession<'_>>, Failed> {
    Ok(InferenceClient::new(trustbox.open_enclave(UUID.parse()?)?))
}

/// Points only.
fn images(rows: &[u8]) -> Vec<u8> {
    rows.chunks_exact(ROW).flat_map(|row| &row[..IMAGE]).copied().collect()
}

fn accuracy(trustbox: &mut TrustBox) -> Outcome {
    let mut client = open(trustbox)?;
    let mut right = 0;
    for rows in DIGITS.chunks(ROW * MAX_IMAGES) {
        let answers = client.classify(&images(rows))?;
        same!(answers.len(), rows.len() / ROW, "answers");
        for (row, answer) in rows.chunks_exact(ROW).zip(answers) {
            same!(answer.digit, row[IMAGE + 1], "answer of the enclave and of the native network");
            right += u32::from(answer.digit == row[IMAGE]);
        }
    }
    same!(right, 292, "right of 300");
    Ok(())
}

fn refused(trustbox: &mut TrustBox) -> Outcome {
    let mut client = open(trustbox)?;
    let error = client.classify(&[0; IMAGE + 1]).err().ok_or("took 65 bytes")?;
    same!(error.own(), Some(InferenceError::Images), "65 bytes");
    let error = client.classify(&[17; IMAGE]).err().ok_or("took a point of 17")?;
    same!(error.own(), Some(InferenceError::Point), "a point of 17");
    Ok(())
}

fn not_for_it(trustbox: &mut TrustBox) -> Outcome {
    let mut client = open(trustbox)?;
    for bad in [&[][..], &[4; 64], &[4; 2000]] {
        let error = client.load(bad).err().ok_or("took weights that nobody sealed")?;
        same!(error.to_string().contains("not sealed to this enclave"), true, error);
    }
    same!(client.classify(&images(&DIGITS[..ROW]))?.len(), 1, "answers");
    Ok(())
}

/// What one image more costs, from calls with few and with many.
fn figure(mut trustbox: TrustBox) -> Outcome {
    const FEW: usize = 10;
    let mut client = open(&mut trustbox)?;
    let mut time = |count: usize| -> Result<f64, Failed> {
        let images = images(&DIGITS[..ROW * count]);
        let start = Instant::now();
        client.classify(&images)?;
        Ok(start.elapsed().as_nanos() as f64)
    };
    time(MAX_IMAGES)?;
    let (few, many) = (time(FEW)?, time(MAX_IMAGES)?);
    let value = (many - few) / (MAX_IMAGES - FEW) as f64;
    println!("{{\"name\":\"inference_instr\",\"value\":{value:.2},\"unit\":\"instructions per image\"}}");
    Ok(())
}
