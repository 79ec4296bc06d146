//! The program ends without a word when nobody reads its output any more.

use std::io::Read;
use std::process::{Command, Stdio};

#[test]
fn output_without_a_reader_is_no_panic() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_trustbox-build"));
    let command = command
        .args(["inspect", concat!(env!("CARGO_MANIFEST_DIR"), "/../host/package/vectors/trustbox.cpk")]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut complaint = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaint).unwrap();
    assert_eq!((child.wait().unwrap().code(), complaint.as_str()), (Some(141), ""));
}
