//! What is printed, for people or as JSON.

use std::io::{self, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::failure::Failure;

/// How to print.
#[derive(Clone, Copy)]
pub(crate) struct Output {
    pub(crate) json: bool,
}

impl Output {
    /// Prints a result: one line of JSON, or lines for people.
    pub(crate) fn result(self, value: &Value, text: &str) -> Result<(), Failure> {
        let line = if self.json { value.to_string() } else { text.trim_end_matches('\n').to_owned() };
        write(format!("{line}\n").as_bytes())
    }

    /// Prints bytes as they are.
    pub(crate) fn bytes(self, bytes: &[u8]) -> Result<(), Failure> {
        write(bytes)
    }

    /// Prints a failure, to standard error or as an object to standard output; returns its exit status.
    pub(crate) fn failure(self, failure: &Failure) -> ExitCode {
        if self.json {
            self.error_object(failure);
        } else {
            // Nothing is left to do where standard error is closed.
            let _ = writeln!(io::stderr(), "error: {}\nhelp: {}", failure.text, failure.help);
        }
        ExitCode::from(failure.status as u8)
    }

    /// Prints a failure as an object.
    pub(crate) fn error_object(self, failure: &Failure) {
        let _ = writeln!(io::stdout(), "{}", error_json(failure));
    }
}

fn error_json(failure: &Failure) -> Value {
    json!({"error": {
        "number": failure.number,
        "name": failure.name,
        "text": failure.text,
        "help": failure.help,
    }})
}

fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
    written.map_err(|error| Failure::file("write", "standard output", error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_object_has_the_documented_fields() {
        let refused = trustbox_client::Error::Refused(trustbox_api::Error::KeyUnknown);
        let failure = Failure::call("install", "a.cpk", &refused);
        assert_eq!(
            error_json(&failure).to_string(),
            concat!(
                r#"{"error":{"number":40,"name":"KeyUnknown","#,
                r#""text":"install: a.cpk: the device holds no class key of this name and version (error 40)","#,
                r#""help":"release the key to this device first"}}"#
            )
        );
        assert_eq!(error_json(&Failure::usage("a", "b"))["error"]["number"], Value::Null);
    }
}
