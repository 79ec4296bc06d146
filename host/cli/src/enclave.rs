//! `trustbox run` and `trustbox invoke`: talking to enclaves.

use std::io::{self, BufRead};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use trustbox_api::Uuid;
use trustbox_client::{EnclaveSession, TrustBox};
use trustbox_package::request::hex;

use crate::arguments::{HexBytes, Input, Invoke, Limit};
use crate::failure::Failure;
use crate::files;
use crate::output::Output;

/// Bytes of an enclave's reply at most.
const REPLY_CAPACITY: usize = 64 << 10;
/// Bytes of an input file at most.
const INPUT_LIMIT: u64 = 1 << 20;

/// One call.
pub(crate) fn invoke(args: &Invoke, output: Output) -> Result<(), Failure> {
    let input = read_input(&args.input)?;
    let mut trustbox = TrustBox::open().map_err(|error| Failure::call("invoke", "device", &error))?;
    let reply = trustbox
        .open_enclave(args.uuid)
        .and_then(|mut enclave| call(&mut enclave, args.command, &input, &args.limit));
    let object = format!("{} command {}", args.uuid, args.command);
    let reply = reply.map_err(|error| Failure::call("invoke", object, &error))?;
    match &args.output {
        Some(file) => files::write(file, &reply),
        None if args.raw => output.bytes(&reply),
        None => output.result(&reply_json(args.command, &reply), &reply_text(&reply)),
    }
}

/// A session: one call per line of standard input. Goes on after a failed call; the first one decides the status.
pub(crate) fn run(uuid: Uuid, limit: &Limit, output: Output) -> Result<ExitCode, Failure> {
    let mut trustbox = TrustBox::open().map_err(|error| Failure::call("run", "device", &error))?;
    let mut enclave = trustbox.open_enclave(uuid).map_err(|error| Failure::call("run", uuid, &error))?;
    output.result(&json!({"launched": uuid.to_string()}), &format!("launched {uuid}"))?;
    let mut status = ExitCode::SUCCESS;
    for line in io::stdin().lock().lines() {
        let line = line.map_err(|error| Failure::file("read", "standard input", error))?;
        let Some(call) = parse_line(&line) else { continue };
        match call.and_then(|call| make(&mut enclave, uuid, &call, limit)) {
            Ok((command, reply)) => output.result(&reply_json(command, &reply), &reply_text(&reply))?,
            Err(failure) if status == ExitCode::SUCCESS => status = output.failure(&failure),
            Err(failure) => drop(output.failure(&failure)),
        }
    }
    Ok(status)
}

/// A line of `trustbox run`.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Call<'a> {
    command: u32,
    text: &'a str,
}

/// `COMMAND [TEXT]`, where the text is all that follows one space; `None` for an empty line.
fn parse_line(line: &str) -> Option<Result<Call<'_>, Failure>> {
    let line = line.trim_start().trim_end_matches('\r');
    let (command, text) = line.split_once(' ').unwrap_or((line, ""));
    let call = match parse_number(command) {
        Ok(command) => Ok(Call { command, text }),
        Err(error) => {
            Err(Failure::usage(format_args!("run: {command}: {error}"), "each line is COMMAND [TEXT]"))
        }
    };
    (!line.is_empty()).then_some(call)
}

fn make(
    enclave: &mut EnclaveSession<'_>,
    uuid: Uuid,
    &Call { command, text }: &Call<'_>,
    limit: &Limit,
) -> Result<(u32, Vec<u8>), Failure> {
    let reply = call(enclave, command, text.as_bytes(), limit);
    let reply =
        reply.map_err(|error| Failure::call("run", format_args!("{uuid} command {command}"), &error))?;
    Ok((command, reply))
}

fn call(
    enclave: &mut EnclaveSession<'_>,
    command: u32,
    input: &[u8],
    limit: &Limit,
) -> trustbox_client::Result<Vec<u8>> {
    match limit.timeout {
        Some(limit) => enclave.invoke_within(command, input, REPLY_CAPACITY, limit),
        None => enclave.invoke(command, input, REPLY_CAPACITY),
    }
}

fn read_input(input: &Input) -> Result<Vec<u8>, Failure> {
    match input {
        Input { text: Some(text), .. } => Ok(text.clone().into_bytes()),
        Input { hex: Some(HexBytes(bytes)), .. } => Ok(bytes.clone()),
        Input { file: Some(file), .. } => files::read(file, INPUT_LIMIT),
        _ => Ok(Vec::new()),
    }
}

/// A command number, decimal or `0x` and hexadecimal.
pub(crate) fn parse_number(text: &str) -> Result<u32, String> {
    let number = match text.strip_prefix("0x") {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            u32::from_str_radix(digits, 16).ok()
        }
        None if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| "not a number from 0 to 4294967295".to_owned())
}

/// A time, as `500ms`, `5s` or `2m`; what the TA takes is up to 2³² - 1 milliseconds.
pub(crate) fn parse_time(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1000), ("m", 60_000)];
    let number = |unit| text.strip_suffix(unit).and_then(|number| parse_number(number).ok());
    let milliseconds = units.iter().find_map(|(unit, scale)| number(*unit)?.checked_mul(*scale));
    milliseconds
        .filter(|milliseconds| *milliseconds > 0)
        .map(|milliseconds| Duration::from_millis(milliseconds.into()))
        .ok_or_else(|| "not a time from 1ms to 49 days, as 500ms, 5s or 2m".to_owned())
}

/// Bytes from hexadecimal digits.
pub(crate) fn parse_hex_bytes(text: &str) -> Result<HexBytes, String> {
    let digits: Option<Vec<u32>> = text.chars().map(|c| c.to_digit(16)).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2));
    let bytes = |digits: Vec<u32>| digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect();
    digits
        .map(|digits| HexBytes(bytes(digits)))
        .ok_or_else(|| "not an even number of hexadecimal digits".to_owned())
}

fn reply_json(command: u32, reply: &[u8]) -> Value {
    json!({"command": command, "reply_hex": hex(reply), "reply_text": printable(reply)})
}

/// The text of a reply, or hexadecimal where it is none.
fn reply_text(reply: &[u8]) -> String {
    printable(reply).map_or_else(|| hex(reply), str::to_owned)
}

fn printable(reply: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(reply).ok()?;
    let harmless = |c: char| !c.is_control() || matches!(c, '\n' | '\t');
    text.chars().all(harmless).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Status;

    #[test]
    fn lines_are_command_and_text() {
        let parse = |line| parse_line(line).unwrap().unwrap();
        assert_eq!(parse("1"), Call { command: 1, text: "" });
        assert_eq!(parse("0x10 a  b "), Call { command: 16, text: "a  b " });
        assert_eq!(parse("  2 a\r"), Call { command: 2, text: "a" });
        assert_eq!(parse_line(""), None);
        assert_eq!(parse_line("   "), None);
        let failure = parse_line("total now").unwrap().unwrap_err();
        assert_eq!(
            (failure.status, failure.text.as_str()),
            (Status::Usage, "run: total: not a number from 0 to 4294967295")
        );
    }

    #[test]
    fn numbers_are_decimal_or_hexadecimal() {
        assert_eq!(parse_number("4294967295"), Ok(u32::MAX));
        assert_eq!(parse_number("0xffffffff"), Ok(u32::MAX));
        for bad in ["", "0x", "-1", "+1", "0x+1", "4294967296", "0x100000000", "1a"] {
            assert!(parse_number(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_have_a_unit() {
        assert_eq!(parse_time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(parse_time("5s"), Ok(Duration::from_secs(5)));
        assert_eq!(parse_time("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(parse_time("4294967295ms"), Ok(Duration::from_millis(u32::MAX.into())));
        for bad in ["", "5", "s", "0s", "-1s", "1.5s", "5 s", "4294967295s", "1h", "4294967296ms"] {
            assert!(parse_time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hexadecimal_round_trips() {
        assert_eq!(parse_hex_bytes("00ffA5"), Ok(HexBytes(vec![0, 0xff, 0xa5])));
        assert_eq!(hex(&parse_hex_bytes("00ffa5").unwrap().0), "00ffa5");
        assert_eq!(parse_hex_bytes(""), Ok(HexBytes(vec![])));
        assert!(parse_hex_bytes("0").is_err() && parse_hex_bytes("0g").is_err());
    }

    #[test]
    fn replies_are_text_only_where_a_terminal_is_safe() {
        assert_eq!(reply_text(b"total 42\tkWh"), "total 42\tkWh");
        assert_eq!(reply_text(b"\x1b[2J"), "1b5b324a");
        assert_eq!(reply_text(&[0xff, 0]), "ff00");
        assert_eq!(reply_json(7, b"ok").to_string(), r#"{"command":7,"reply_hex":"6f6b","reply_text":"ok"}"#);
        assert_eq!(reply_json(7, &[0])["reply_text"], Value::Null);
    }
}
