//! The host program of the enclave in C.

use std::process::ExitCode;

use trustbox_client::TrustBox;
use trustbox_example_programs::{Case, Failed, Outcome, run, same};

const UUID: &str = "e2a4b6c8-1d3f-4a5b-9c7d-0f1e2d3c4b5a";
const ECHO: u32 = 1;
const WHO: u32 = 2;

const CASES: &[Case<TrustBox>] = &[
    (9501, "the enclave in C echoes, up to what there is room for", echo),
    (9502, "the enclave in C knows who it is", who),
    (9503, "the enclave in C refuses what it does not know", unknown),
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

fn ask(trustbox: &mut TrustBox, command: u32, request: &[u8], room: usize) -> Result<Vec<u8>, Failed> {
    Ok(trustbox.open_enclave(UUID.parse()?)?.invoke(command, request, room)?)
}

fn echo(trustbox: &mut TrustBox) -> Outcome {
    for size in [0, 1, 4096, 100_000] {
        let text = vec![0x2a; size];
        same!(ask(trustbox, ECHO, &text, size)? == text, true, format!("echo of {size} bytes"));
    }
    same!(ask(trustbox, ECHO, &[0; 9], 8).is_err(), true, "short reply refused");
    Ok(())
}

fn who(trustbox: &mut TrustBox) -> Outcome {
    same!(ask(trustbox, WHO, b"", 64)?, UUID.as_bytes(), "UUID");
    Ok(())
}

fn unknown(trustbox: &mut TrustBox) -> Outcome {
    same!(ask(trustbox, 99, b"", 64).is_err(), true, "command 99 refused");
    Ok(())
}
