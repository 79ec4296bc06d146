//! The cases against the core on its deterministic fake, each as a test of its own.
//!
//! A case that needs OP-TEE shows as ignored here, never as passed.

use libtest_mimic::{Arguments, Failed, Trial};
use trustbox_core::Session;
use trustbox_core::fake::{Device, FakeTee};
use trustbox_test::case::{Case, Outcome};
use trustbox_test::cases;
use trustbox_test::context::{Context, Image, Parties};
use trustbox_test::forge::{public, stranger, unsigned_image};
use trustbox_test::target::{Code, Link, RawParam, Target};

struct Fake(Device);

struct FakeLink(Session<FakeTee>);

impl Target for Fake {
    fn connect(&self) -> Result<Box<dyn Link + '_>, Code> {
        Ok(Box::new(FakeLink(Session::open(self.0.tee())?)))
    }

    fn connect_to(&self, _: &str) -> Option<Result<(), Code>> {
        None
    }
}

impl Link for FakeLink {
    fn call(&mut self, command: u32, request: &[u8], data: Option<&[u8]>, capacity: usize) -> Result<Vec<u8>, Code> {
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

/// The case on a device of its own.
fn run(case: &Case) -> Outcome {
    let parties = Parties::strangers(stranger(1));
    let target = Fake(Device::new(1, &public(&parties.authority)));
    let uuid = "5f0e6a52-7c0b-4a40-8d7e-0c1d6b3a9f21".parse().expect("a constant");
    let image = Image { bytes: unsigned_image(&uuid, 3, &[0x5a; 3000]), uuid, version: 3 };
    case.outcome(&mut Context::new(&target, &parties, image, 0))
}

fn trial(case: &'static Case) -> Trial {
    let name = format!("{} {}", case.id, case.name);
    let skipped = matches!(run(case), Outcome::Skip(_));
    let test = move || match run(case) {
        Outcome::Pass => Ok(()),
        Outcome::Fail(why) => Err(Failed::from(why)),
        Outcome::Skip(why) => Err(Failed::from(format!("skipped after all: {why}"))),
    };
    Trial::test(name, test).with_ignored_flag(skipped)
}

fn main() {
    let trials = cases::all().into_iter().map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
