//! A device on a station's bench without an emulator: the TA's own code on its fake, behind a socket, with as much of the device's
//! command line as a station asks for. Its cable can be pulled after any number of commands.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command as Process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use trustbox_api::command::Command;
use trustbox_api::message::{
    AttestRequest, ChallengeReply, ChallengeRequest, CsrRequest, Huk, InfoReply, Profile, Purpose,
};
use trustbox_api::statement::{Envelope, Header, Kind};
use trustbox_api::{Bytes, wire};
use trustbox_core::Session;
use trustbox_core::fake::Device as Fake;
use trustbox_keys::station::link::Place;
use trustbox_package::Request;
use trustbox_test::requests::encode;

use super::{World, from_hex};

/// Never pulled.
pub const WHOLE: usize = usize::MAX;

/// A device and its cable.
#[derive(Clone)]
pub struct Bench {
    pub place: Place,
    /// Commands that still come through.
    pub left: Arc<AtomicUsize>,
    pub asked: Arc<AtomicUsize>,
    /// Registers of its chip, by `devmem`.
    pub registers: Arc<Mutex<BTreeMap<u64, u32>>>,
    happens: Arc<Mutex<Option<Event>>>,
}

/// Happens once, when a command that begins so is about to be run.
type Event = (&'static str, Box<dyn FnOnce() + Send>);

impl Bench {
    /// A device of this world's line, which production firmware runs on; `change` makes it another.
    pub fn new(world: &World, number: u8, change: impl FnOnce(&Fake) + Send + 'static) -> Self {
        let folder = world.path(&format!("bench-{number}"));
        std::fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("socket");
        let listener = UnixListener::bind(&socket).unwrap();
        let bench = Self {
            place: Place::Unix(socket.display().to_string()),
            left: Arc::new(AtomicUsize::new(WHOLE)),
            asked: Arc::default(),
            registers: Arc::default(),
            happens: Arc::default(),
        };
        let authority = trustbox_package::sign::public_key(world.keys.provisioning_authority.verifying_key());
        let (left, asked) = (Arc::clone(&bench.left), Arc::clone(&bench.asked));
        let (happens, registers) = (Arc::clone(&bench.happens), Arc::clone(&bench.registers));
        std::thread::spawn(move || {
            let device = Fake::new(number, &authority);
            device.set(|world| {
                (world.platform.huk, world.platform.profile) = (Huk::Unique, Profile::Production)
            });
            change(&device);
            let served = Served { device, folder, registers, happens };
            for stream in listener.incoming() {
                served.connection(stream.unwrap(), &left, &asked);
            }
        });
        bench
    }

    /// Something happens when a command that begins so is about to be run, for the first time.
    pub fn when(&self, words: &'static str, happens: impl FnOnce() + Send + 'static) {
        *self.happens.lock().unwrap() = Some((words, Box::new(happens)));
    }

    pub fn pull_after(&self, commands: usize) {
        self.left.store(commands, Ordering::Relaxed);
    }
}

struct Served {
    device: Fake,
    folder: PathBuf,
    registers: Arc<Mutex<BTreeMap<u64, u32>>>,
    happens: Arc<Mutex<Option<Event>>>,
}

impl Served {
    fn connection(&self, mut stream: UnixStream, left: &AtomicUsize, asked: &AtomicUsize) {
        for line in BufReader::new(stream.try_clone().unwrap()).lines() {
            let Ok(line) = line else { return };
            if left.load(Ordering::Relaxed) == 0 {
                return;
            }
            let question: Value = serde_json::from_str(&line).unwrap();
            let argv: Vec<String> = serde_json::from_value(question["argv"].clone()).unwrap();
            let happens =
                self.happens.lock().unwrap().take_if(|(words, _)| argv.join(" ").starts_with(*words));
            happens.into_iter().for_each(|(_, event)| event());
            let (status, stdout, stderr) = self.run(&argv);
            asked.fetch_add(1, Ordering::Relaxed);
            // What was asked last is done, but nobody hears of it.
            if left.load(Ordering::Relaxed) != WHOLE && left.fetch_sub(1, Ordering::Relaxed) == 1 {
                return;
            }
            let text = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
            let answer = json!({"status": status, "stdout": text(&stdout), "stderr": text(&stderr)});
            let _ = stream.write_all(format!("{answer}\n").as_bytes());
        }
    }

    fn run(&self, argv: &[String]) -> (i32, Vec<u8>, Vec<u8>) {
        // Several devices are on this host: each has a folder for what a device has in /tmp.
        let own = self.folder.join("tmp").display().to_string();
        let argv: Vec<String> = argv.iter().map(|word| word.replace("/tmp/trustbox-station", &own)).collect();
        if let [devmem, register, width] = argv.as_slice()
            && (devmem.as_str(), width.as_str()) == ("devmem", "32")
        {
            let register = u64::from_str_radix(register.trim_start_matches("0x"), 16).unwrap();
            let value = self.registers.lock().unwrap().get(&register).copied().unwrap_or_default();
            return (0, format!("0x{value:08X}\n").into_bytes(), Vec::new());
        }
        if argv[0] != "trustbox" {
            let output = Process::new(&argv[0]).args(&argv[1..]).output().unwrap();
            return (output.status.code().unwrap(), output.stdout, output.stderr);
        }
        let words: Vec<&str> =
            argv[1..].iter().map(String::as_str).filter(|word| *word != "--json").collect();
        match self.trustbox(&words) {
            Ok(answer) => (0, answer, Vec::new()),
            Err(error) => (1, Vec::new(), format!("error: {error:?}").into_bytes()),
        }
    }

    fn trustbox(&self, words: &[&str]) -> Result<Vec<u8>, trustbox_api::Error> {
        let json = |value: Value| Ok(value.to_string().into_bytes());
        match words {
            ["info"] => json(self.info()?),
            ["csr", "--nonce", nonce] => {
                let nonce = Bytes::from_slice(&from_hex(nonce)).unwrap();
                let csr = self.call(Command::Csr, &encode(&CsrRequest { nonce }))?;
                json(json!({"csr": BASE64_STANDARD.encode(csr)}))
            }
            ["attest", "--nonce", nonce] => {
                let nonce = from_hex(nonce).into_iter().collect();
                let token = self.call(Command::Attest, &encode(&AttestRequest { nonce }))?;
                json(json!({"token": BASE64_STANDARD.encode(token)}))
            }
            ["provision", "--request", "-"] => {
                self.request(Purpose::Provision, |device_id, nonce| Request::Provision { device_id, nonce })
            }
            ["lock", "--request", "-"] => {
                self.request(Purpose::Lock, |device_id, nonce| Request::Lock { device_id, nonce })
            }
            ["decommission", "--request", "-"] => self.request(Purpose::Decommission, |device_id, nonce| {
                Request::Decommission { device_id, nonce }
            }),
            ["key", "import", "--request", "-"] => {
                let device_key = self.call(Command::DeviceKey, &[])?;
                self.request(Purpose::ImportKey, |device_id, nonce| Request::KeyImport {
                    device_id,
                    nonce,
                    device_key,
                })
            }
            ["provision", files @ ..] => {
                for file in files {
                    self.apply(Path::new(file), &|kind| {
                        if kind == Kind::PinRoot { Command::Provision } else { Command::Authorise }
                    })?;
                }
                Ok(Vec::new())
            }
            ["lock", file] => self.apply(Path::new(file), &|_| Command::Lock).map(|()| b"{}".to_vec()),
            ["decommission", file, "--yes"] => {
                self.apply(Path::new(file), &|_| Command::Decommission).map(|()| b"{}".to_vec())
            }
            ["key", "import", file] => {
                self.apply(Path::new(file), &|_| Command::ImportKey).map(|()| b"{}".to_vec())
            }
            other => panic!("a station asks for {other:?}"),
        }
    }

    fn call(&self, command: Command, request: &[u8]) -> Result<Vec<u8>, trustbox_api::Error> {
        let mut session = Session::open(self.device.tee())?;
        let mut reply = vec![0; 4096];
        let length = session.handle(command as u32, request, &&[][..], &mut reply)?;
        reply.truncate(length);
        Ok(reply)
    }

    fn apply(&self, file: &Path, command: &dyn Fn(Kind) -> Command) -> Result<(), trustbox_api::Error> {
        let bytes = std::fs::read(file).unwrap();
        let envelope: Envelope<'_> = wire::decode(&bytes).unwrap();
        let (header, _) = wire::decode_prefix::<Header>(envelope.payload).unwrap();
        if header.kind == Kind::PinRoot && self.info()?["owner_root"] == header.root.to_string() {
            return Ok(());
        }
        self.call(command(header.kind), &bytes).map(drop)
    }

    fn request(
        &self,
        purpose: Purpose,
        make: impl FnOnce(trustbox_api::DeviceId, Bytes<32>) -> Request,
    ) -> Result<Vec<u8>, trustbox_api::Error> {
        let reply = self.call(Command::Challenge, &encode(&ChallengeRequest { purpose }))?;
        let reply: ChallengeReply = wire::decode(&reply).unwrap();
        Ok(make(reply.device_id, reply.nonce).to_json().unwrap().into_bytes())
    }

    fn info(&self) -> Result<Value, trustbox_api::Error> {
        let reply = self.call(Command::Info, &[])?;
        let info: InfoReply = wire::decode(&reply).unwrap();
        let huk = match info.huk {
            Huk::Unique => "unique",
            Huk::TestKey => "test-key",
            Huk::Stub => "stub",
        };
        let keys = info.class_keys.iter();
        let keys: Vec<_> =
            keys.map(|key| json!({"name": key.name.as_str(), "version": key.version})).collect();
        Ok(json!({
            "device_id": info.device_id.to_string(),
            "attestation_key_sha256": info.attestation_key.map(|key| key.id().to_string()),
            "lifecycle": info.lifecycle.name(),
            "huk": huk,
            "rollback_protection": "none",
            "profile": "production",
            "versions": {"ta": "0.1.0"},
            "owner_root": info.owner_root.map(|id| id.to_string()),
            "provisioning_authority": info.provisioning_authority.to_string(),
            "class_keys": keys,
        }))
    }
}
