//! The host program of confidential inference: has images classified, and knows no weight.
//!
//! `example-inference --figure` prints what one image costs instead; instructions where time counts them, as
//! `build/tb bench` boots the device.

use std::process::ExitCode;
use std::time::Instant;

use trustbox_client::{EnclaveSession, TrustBox};
use trustbox_example_interfaces::inference::{IMAGE, InferenceClient, InferenceError, MAX_IMAGES, UUID};
use trustbox_example_programs::{Case, Failed, Outcome, run, same};

const CASES: &[Case<TrustBox>] = &[
    (9401, "every answer is that of the same network run natively: 292 of 300 right", accuracy),
    (9402, "what is no image is refused", refused),
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
    if !std::env::args().any(|word| word == "--figure") {
        return run(trustbox, CASES);
    }
    match figure(trustbox) {
        Ok(value) => {
            println!(
                "{{\"name\":\"inference_instr\",\"value\":{value:.2},\"unit\":\"instructions per image\"}}"
            );
            ExitCode::SUCCESS
        }
        Err(_) => ExitCode::FAILURE,
    }
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

/// What one image more costs, from calls with few and with many.
fn figure(mut trustbox: TrustBox) -> Result<f64, Failed> {
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
    Ok((many - few) / (MAX_IMAGES - FEW) as f64)
}
