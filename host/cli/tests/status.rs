//! The program itself, on a host without a TEE: exit statuses and where its words go.
#![cfg(feature = "without-libteec")]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use trustbox_api::statement::{Audience, Envelope, FORMAT, Header, Kind};
use trustbox_api::{Bytes, PublicKey, wire};

const UUID: &str = "b8a6e9d4-3f0c-4f7e-9a53-1d2c7e50b4c1";

fn trustbox(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_trustbox")).args(arguments).output().unwrap()
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

/// The object on standard output, which must be all of it.
fn error_object(output: &Output) -> Value {
    let value: Value = serde_json::from_slice(&output.stdout).unwrap();
    value["error"].clone()
}

#[test]
fn no_tee_is_status_3_with_help() {
    for line in [
        "info",
        "list",
        "log",
        "log --head",
        "csr",
        "key list",
        "key export",
        "key destroy meter@1 --yes",
        "provision --request -",
        "key import --request -",
        "lock --request -",
        "rotate-root --request -",
        "decommission --request -",
    ] {
        let output = trustbox(&line.split(' ').collect::<Vec<_>>());
        assert_eq!(status(&output), 3, "{line}");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            stderr.starts_with("error: ") && stderr.contains("\nhelp: ") && output.stdout.is_empty(),
            "{stderr}"
        );
    }
    for arguments in [&["run", UUID][..], &["run", UUID, "--timeout", "5s"], &["uninstall", UUID]] {
        assert_eq!(status(&trustbox(arguments)), 3, "{arguments:?}");
    }
    let output = trustbox(&["invoke", UUID, "1", "--json"]);
    let error = error_object(&output);
    assert_eq!((status(&output), &error["name"], &error["number"]), (3, &Value::from("NoTee"), &Value::Null));
    assert!(output.stderr.is_empty());
}

#[test]
fn wrong_usage_is_status_2() {
    for arguments in
        [&["nonsense"][..], &["install"], &["install", "/nowhere.cpk"], &["provision", "/nowhere.st"]]
    {
        assert_eq!(status(&trustbox(arguments)), 2, "{arguments:?}");
    }
    let output = trustbox(&["nonsense", "--json"]);
    assert_eq!((status(&output), &error_object(&output)["name"]), (2, &Value::from("Usage")));
    let output = trustbox(&["install", "/nowhere.cpk", "--json"]);
    assert!(error_object(&output)["text"].as_str().unwrap().starts_with("read: /nowhere.cpk: "));
}

#[test]
fn what_cannot_be_undone_is_status_2_without_yes() {
    for kind in [Kind::RotateRoot, Kind::Decommission] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&statement(kind)).unwrap();
        let path = file.path().to_str().unwrap();
        let command = if kind == Kind::RotateRoot { "rotate-root" } else { "decommission" };
        let output = trustbox(&[command, path]);
        let stderr = String::from_utf8(output.stderr.clone()).unwrap();
        assert!(
            stderr.contains("the device would ") && stderr.contains("help: repeat with --yes"),
            "{stderr}"
        );
        assert_eq!((status(&output), status(&trustbox(&[command, path, "--yes"]))), (2, 3));
    }
    for arguments in [&["uninstall", UUID, "--erase"][..], &["key", "destroy", "meter@1"]] {
        let output = trustbox(&[arguments, &["--json"]].concat());
        assert_eq!((status(&output), &error_object(&output)["name"]), (2, &Value::from("Unconfirmed")));
    }
}

/// A statement of a kind; nobody signed it.
fn statement(kind: Kind) -> Vec<u8> {
    let (root, audience) = (Bytes([1; 32]), Audience::Fleet);
    let header = Header { kind, format: FORMAT, root, audience, sequence: 0 };
    let mut buffer = [0; 256];
    let payload = wire::encode(&header, &mut buffer).unwrap();
    let envelope = Envelope { payload, signer: PublicKey(Bytes([2; 64])), signature: Bytes([3; 64]) };
    wire::encode(&envelope, &mut [0; 512]).unwrap().to_vec()
}

#[test]
fn bad_package_is_status_1() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&[0; 100]).unwrap();
    let output = trustbox(&["install", file.path().to_str().unwrap(), "--json"]);
    assert_eq!((status(&output), &error_object(&output)["name"]), (1, &Value::from("BadPackage")));
}

#[test]
fn help_version_completions_and_man_succeed() {
    for arguments in
        [&["--help"][..], &["--version"], &["invoke", "--help"], &["completions", "bash"], &["man"]]
    {
        let output = trustbox(arguments);
        assert!(status(&output) == 0 && !output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn closed_output_is_no_panic() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_trustbox"))
        .args(["info", "--json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(status(&output) == 3 && !String::from_utf8_lossy(&output.stderr).contains("panicked"));
}
