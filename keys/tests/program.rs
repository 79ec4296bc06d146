//! The program itself: what it writes is what was asked for, and dangerous statements take a `--yes`.

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use trustbox_api::Bytes;
use trustbox_package::Request;

const UUID: &str = "01010101-0101-0101-0101-010101010101";

/// A folder with development keys, in which the program runs.
struct World(TempDir);

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        trustbox_keys::dev::ensure(dir.path()).unwrap();
        Self(dir)
    }

    /// Runs a line of words.
    fn run(&self, line: &str) -> Output {
        let program = env!("CARGO_BIN_EXE_trustbox-keys");
        Command::new(program).args(line.split(' ')).current_dir(self.0.path()).output().unwrap()
    }

    /// Runs a line that writes `out.st`, and describes that.
    fn issue(&self, line: &str) -> Value {
        let output = self.run(&format!("{line} --out out.st"));
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&self.run("show out.st --json").stdout).unwrap()
    }

    fn refuse(&self, line: &str, status: i32, words: &str) {
        let output = self.run(&format!("{line} --out refused.st"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{line}: {stderr}");
        assert!(stderr.contains(words), "{line}: {stderr}");
        assert!(!self.path("refused.st").exists());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write_request(&self, request: &Request) {
        fs::write(self.path("request.json"), request.to_json().unwrap()).unwrap();
    }
}

const DEVICE: Bytes<32> = Bytes([0xd1; 32]);
const NONCE: Bytes<32> = Bytes([0x0e; 32]);

#[test]
fn revocations_list_what_was_named() {
    let world = World::new();
    let id = "ab".repeat(32);
    let shown = world.issue(&format!(
        "revoke --by revoker.key.pem --root owner-root.pub.pem --key {id} --key publisher.pub.pem \
         --enclave {UUID}=3 --enclave {UUID} --class-key demo-class=2 --sequence 9"
    ));
    assert_eq!((&shown["kind"], &shown["sequence"]), (&"revocation".into(), &9.into()));
    assert_eq!(shown["revoked"][0]["key"], id.as_str());
    let publisher = trustbox_keys::files::load_public(&world.path("publisher.pub.pem")).unwrap();
    assert_eq!(shown["revoked"][1]["key"], publisher.id().to_string());
    assert_eq!(shown["revoked"][2]["versions_below"], 3);
    assert_eq!(shown["revoked"][3]["versions"], "all");
    assert_eq!(shown["revoked"][4]["class_key"], "demo-class");
    world.refuse("revoke --by revoker.key.pem --root owner-root.pub.pem", 2, "--key");
    world.refuse("revoke --by revoker.key.pem --root owner-root.pub.pem --key none.pem", 1, "none.pem");
}

#[test]
fn audience_is_the_fleet_unless_said_otherwise() {
    let world = World::new();
    let policy = format!("policy --root owner-root.key.pem --legacy {UUID} --max-enclaves 3");
    assert_eq!(world.issue(&policy)["audience"], "fleet");
    let shown = world.issue(&format!("{policy} --device {DEVICE}"));
    assert_eq!(shown["audience"], format!("device {DEVICE}"));
    assert_eq!((&shown["legacy"][0], &shown["max_enclaves"]), (&UUID.into(), &3.into()));
    assert!(shown["sequence"].as_u64().unwrap() > 1_700_000_000);
    let revoker = "delegate revoker --root owner-root.key.pem --key revoker.pub.pem";
    assert_eq!(world.issue(&format!("{revoker} --class demo-class"))["audience"], "class demo-class");
    world.refuse(&format!("{revoker} --class demo-class --device {DEVICE}"), 2, "cannot be used with");
    world.refuse("policy --root owner-root.key.pem --max-enclaves 17", 2, "17");
}

#[test]
fn requests_of_the_right_type_are_answered() {
    let world = World::new();
    world.write_request(&Request::Lock { device_id: DEVICE, nonce: NONCE });
    let lock =
        "lock --authority provisioning-authority.key.pem --root owner-root.pub.pem --request request.json";
    let shown = world.issue(lock);
    assert_eq!((&shown["kind"], &shown["nonce"]), (&"lock".into(), &NONCE.to_string().into()));
    world.write_request(&Request::Provision { device_id: DEVICE, nonce: NONCE });
    world.refuse(lock, 1, "request is of type provision, expected lock");
}

#[test]
fn dangerous_statements_take_a_yes() {
    let world = World::new();
    let (device_id, nonce) = (DEVICE, NONCE);
    world.write_request(&Request::RotateRoot { device_id, nonce });
    let rotate = "rotate-root --root owner-root.key.pem --new-root publisher.pub.pem --request request.json";
    world.refuse(rotate, 2, &format!("device {DEVICE} would belong to owner root "));
    assert_eq!(world.issue(&format!("{rotate} --yes"))["kind"], "rotate-root");
    world.write_request(&Request::Decommission { device_id, nonce });
    let decommission = "decommission --root owner-root.key.pem --request request.json";
    world.refuse(decommission, 2, "for ever");
    assert_eq!(world.issue(&format!("{decommission} --yes"))["kind"], "decommission");
}

#[test]
fn keys_on_a_command_line_are_refused() {
    let world = World::new();
    for key in [
        "-----BEGIN-PRIVATE-KEY-----".replace("PRIVATE-KEY", "PRIVATE KEY"),
        "AGE-SECRET-KEY-1QQQ".to_owned(),
    ] {
        let program = env!("CARGO_BIN_EXE_trustbox-keys");
        let output = Command::new(program).args(["show", &key]).current_dir(world.0.path()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && stderr.contains("on the command line"), "{stderr}");
        assert!(!stderr.contains(&key));
    }
}

/// A program at a terminal of its own, by `script`, which is in every Debian.
struct Terminal {
    child: Child,
    shown: String,
}

impl Terminal {
    fn start(world: &World, line: &str) -> Self {
        let command = format!("{} {line}", env!("CARGO_BIN_EXE_trustbox-keys"));
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &command, "/dev/null"]).current_dir(world.0.path());
        let child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        Self { child, shown: String::new() }
    }

    /// Waits for words, then types.
    fn answer(&mut self, words: &str, typed: &str) {
        let mut byte = [0];
        let seen = self.shown.len();
        while !self.shown[seen..].contains(words) {
            assert_eq!(self.child.stdout.as_mut().unwrap().read(&mut byte).unwrap(), 1, "{}", self.shown);
            self.shown.push(char::from(byte[0]));
        }
        // The echo goes off after the prompt is there; nobody types as fast as this would.
        std::thread::sleep(Duration::from_millis(500));
        writeln!(self.child.stdin.as_mut().unwrap(), "{typed}").unwrap();
    }

    /// Exit status, and all that was to be seen.
    fn end(mut self) -> (Option<i32>, String) {
        self.child.stdout.as_mut().unwrap().read_to_string(&mut self.shown).unwrap();
        (self.child.wait().unwrap().code(), self.shown)
    }
}

#[test]
fn passphrases_are_asked_for_and_not_shown() {
    let world = World::new();
    let typed = ["the first passphrase", "the second passphrase", "the third passphrase"];
    let line = "init owner --class-key meter --custodian alice --custodian bob --dangerously-as-root";
    let mut init = Terminal::start(&world, line);
    for (what, typed) in ["of custodian alice", "of custodian bob", "of all other keys"].iter().zip(typed) {
        init.answer(&format!("passphrase {what}: "), typed);
        init.answer(&format!("passphrase {what}, again: "), typed);
    }
    let (status, shown) = init.end();
    assert_eq!(status, Some(0), "{shown}");
    assert!(!shown.contains("the first") && !shown.contains("the third"), "{shown}");
    let line =
        "delegate revoker --root owner/owner-root.key.age --key owner/revoker.pub.pem --out revoker.st";
    let mut delegate = Terminal::start(&world, line);
    delegate.answer("passphrase of the first custodian", typed[0]);
    delegate.answer("passphrase of the second custodian", typed[1]);
    let (status, shown) = delegate.end();
    assert!(status == Some(0) && world.path("revoker.st").exists(), "{shown}");
    let mut wrong = Terminal::start(&world, line);
    wrong.answer("passphrase of the first custodian", typed[1]);
    wrong.answer("passphrase of the second custodian", typed[0]);
    let (status, shown) = wrong.end();
    assert!(status == Some(1) && shown.contains("wrong passphrase"), "{shown}");
    let mut twice =
        Terminal::start(&world, "init other --class-key meter --custodian alice --dangerously-as-root");
    twice.answer("passphrase of custodian alice: ", typed[0]);
    twice.answer("again: ", typed[1]);
    let (status, shown) = twice.end();
    assert!(status == Some(1) && shown.contains("not the same twice"), "{shown}");
    // Where nobody sits at a terminal, it says so and waits for nobody.
    let mut alone = Command::new("setsid");
    let alone = alone.arg(env!("CARGO_BIN_EXE_trustbox-keys")).args(line.split(' '));
    let alone = alone.current_dir(world.0.path()).stdin(Stdio::null()).output().unwrap();
    let stderr = String::from_utf8_lossy(&alone.stderr);
    assert!(alone.status.code() == Some(1) && stderr.contains("nobody to ask at a terminal"), "{stderr}");
}

#[test]
fn a_ceremony_refuses_what_is_not_one() {
    let world = World::new();
    let passphrase = |name: &str, text: &str| {
        trustbox_keys::files::write_private(&world.path(name), text.as_bytes()).unwrap()
    };
    passphrase("a", "the first passphrase");
    passphrase("b", "the second passphrase");
    passphrase("short", "short");
    fs::write(world.path("open"), "the open passphrase").unwrap();
    let refused = |line: &str, words: &str| {
        let output = world.run(&format!("init owner --class-key meter {line}"));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(words), "{line}: {stderr}");
        assert!(!world.path("owner").exists());
    };
    let root = "--dangerously-as-root";
    refused(&format!("{root} --custodian alice=a --everyday b"), "the owner root takes two");
    refused(&format!("{root} --custodian alice=a --custodian bob=a --everyday b"), "the same");
    refused(
        &format!("{root} --custodian alice=a --custodian alice=b --everyday b"),
        "both custodians are alice",
    );
    refused(&format!("{root} --custodian alice=a --custodian bob=short --everyday b"), "5 characters");
    refused(&format!("{root} --custodian alice=a --custodian bob=open --everyday b"), "expected 600");
    if rustix::process::geteuid().is_root() {
        refused("--custodian alice=a --custodian bob=b --everyday b", "does not run as root");
    }
    let status = world.run("status none");
    assert_eq!(status.status.code(), Some(1));
}
