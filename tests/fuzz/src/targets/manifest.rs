//! Manifests: terms of any content, wrapped and signed as a publisher would, then the whole install.

use trustbox_api::command::Command;
use trustbox_api::manifest::{self, Terms};
use trustbox_api::message::InstallChunkRequest;
use trustbox_api::{Error, wire};

use crate::oracle;
use crate::target::Target;
use crate::words::{self, ENCLAVE, PUBLISHER, envelope, package};
use crate::world::{Stage, World, encode, on, send};

/// The target.
pub fn targets() -> Vec<Target> {
    vec![Target::new("manifest", "terms of any content, signed, and the install that follows", seeds(), run)]
}

/// The first byte says how much of the input is terms, the rest is ciphertext.
fn run(input: &[u8]) {
    let _ = manifest::parse(input);
    let [length, rest @ ..] = input else { return };
    let Some((terms, ciphertext)) = rest.split_at_checked(usize::from(*length)) else { return };
    let Ok(terms) = wire::decode::<Terms>(terms) else { return };
    on(Stage::Locked, |world| install(world, &terms, ciphertext));
}

fn install(world: &World, terms: &Terms, ciphertext: &[u8]) {
    let mut link = world.open(None).expect("a session");
    let request = envelope(&words::manifest(terms.clone()), PUBLISHER);
    if oracle::call(world, &mut link, Command::InstallBegin as u32, &request, &[]).is_err() {
        return;
    }
    assert!(terms.uuid == ENCLAVE && terms.version >= 3, "begun, and not allowed");
    let chunk = encode(&InstallChunkRequest { offset: 0 });
    let taken = oracle::call(world, &mut link, Command::InstallChunk as u32, &chunk, ciphertext);
    assert!(taken.is_err() || ciphertext.len() <= terms.size as usize, "more than was promised");
    let finished = oracle::call(world, &mut link, Command::InstallFinish as u32, &[], &[]);
    let whole = ciphertext.len() == terms.size as usize;
    assert!(whole || finished.is_err(), "installed, and not complete");
    assert_eq!(send(&mut link, Command::InstallFinish, &[]), Err(Error::WrongSequence), "finished twice");
}

fn seeds() -> Vec<Vec<u8>> {
    let seed = |version| {
        let (payload, ciphertext) = package(version);
        let terms = encode(&manifest::parse(&payload).expect("a manifest").manifest.terms);
        [&[terms.len() as u8], &terms[..], &ciphertext].concat()
    };
    vec![seed(3), seed(9), seed(1), package(3).0]
}
