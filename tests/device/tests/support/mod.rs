//! The core on its fake as a target of the suite; shared by the tests of this folder.

use std::path::Path;

use trustbox_core::Session;
use trustbox_core::fake::{Device, FakeTee};
use trustbox_test::context::{Context, EXHAUSTIVE, Image, Parties};
use trustbox_test::forge::{public, stranger, unsigned_image};
use trustbox_test::target::{Code, Link, RawParam, Target};

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
    let uuid = "5f0e6a52-7c0b-4a40-8d7e-0c1d6b3a9f21".parse().expect("a constant");
    let image = Image { bytes: unsigned_image(&uuid, version, &[0x5a; 3000]), uuid, version };
    let mut context = Context::new(target, parties, image, u64::from(version) * 1000);
    context.level = EXHAUSTIVE;
    context
}

impl Target for Fake {
    fn connect(&self) -> Result<Box<dyn Link + '_>, Code> {
        Ok(Box::new(FakeLink(Session::open(self.0.tee())?)))
    }

    fn connect_to(&self, _: &str) -> Option<Result<(), Code>> {
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

    fn invoke(&mut self, _: u32, _: &[u8], _: usize) -> Option<Result<Vec<u8>, Code>> {
        match self.0.enclave() {
            Ok(_) => None,
            Err(error) => Some(Err(error.into())),
        }
    }
}
