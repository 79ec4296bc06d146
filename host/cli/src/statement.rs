//! Statements and requests as files: read, told apart by the kind they claim, and written.

use std::path::Path;

use serde_json::json;
use trustbox_api::limits::MAX_REQUEST;
use trustbox_api::message::{Nonce, Purpose};
use trustbox_api::statement::{Envelope, Header, Kind};
use trustbox_api::{DeviceId, wire};
use trustbox_client::TrustBox;
use trustbox_package::{Request, words};

use crate::failure::Failure;
use crate::files;
use crate::output::Output;

/// A statement read from a file.
pub(crate) struct Statement<'a> {
    pub(crate) file: &'a Path,
    pub(crate) bytes: Vec<u8>,
    /// What it claims; nothing here believes it.
    pub(crate) header: Header,
}

impl<'a> Statement<'a> {
    /// Reads a statement that claims one of these kinds.
    pub(crate) fn read(what: &str, file: &'a Path, kinds: &[Kind]) -> Result<Self, Failure> {
        let bytes = files::read(file, MAX_REQUEST as u64)?;
        let header = header(file, &bytes)?;
        if kinds.contains(&header.kind) {
            return Ok(Self { file, bytes, header });
        }
        let (found, expected) = (words::kind(header.kind), kinds.iter().map(|kind| words::kind(*kind)));
        let expected = expected.collect::<Vec<_>>().join(" or ");
        let file = file.display();
        Err(Failure::usage(
            format_args!("{what}: {file}: statement of kind {found}, expected {expected}"),
            format_args!("use `{}`", command_for(header.kind)),
        ))
    }

    /// Says what became of it.
    pub(crate) fn report(&self, outcome: &str, output: Output) -> Result<(), Failure> {
        let file = self.file.display().to_string();
        let value = json!({"statement": file, "kind": words::kind(self.header.kind), "result": outcome});
        output.result(&value, &format!("{file}: {outcome}"))
    }
}

/// Asks the device for a nonce and writes the request that carries it.
pub(crate) fn ask(
    (what, purpose): (&str, Purpose),
    request: fn(DeviceId, Nonce) -> Request,
    file: &Path,
    output: Output,
) -> Result<(), Failure> {
    let reply = TrustBox::open().and_then(|mut trustbox| trustbox.challenge(purpose));
    let reply = reply.map_err(|error| Failure::call(what, "device", &error))?;
    deliver(&request(reply.device_id, reply.nonce), file, output)
}

/// Writes a request and says where, unless it went to standard output.
pub(crate) fn deliver(request: &Request, file: &Path, output: Output) -> Result<(), Failure> {
    let line = request.to_json().map_err(|error| Failure::file("write", file.display(), error))?;
    files::write(file, format!("{line}\n").as_bytes())?;
    if files::is_standard(file) {
        return Ok(());
    }
    let path = file.display().to_string();
    output.result(&json!({"request": path}), &format!("request written to {path}"))
}

fn header(file: &Path, statement: &[u8]) -> Result<Header, Failure> {
    let envelope = wire::decode::<Envelope<'_>>(statement).ok();
    let header = envelope.and_then(|envelope| wire::decode_prefix::<Header>(envelope.payload).ok());
    let not_one = || {
        Failure::usage(
            format_args!("read: {}: not a statement", file.display()),
            "check which file was given",
        )
    };
    header.map(|(header, _)| header).ok_or_else(not_one)
}

/// The command that takes statements of this kind.
fn command_for(kind: Kind) -> &'static str {
    match kind {
        Kind::PinRoot
        | Kind::Publisher
        | Kind::Releaser
        | Kind::Revoker
        | Kind::Policy
        | Kind::Revocation => "trustbox provision",
        Kind::KeyBundle => "trustbox key import",
        Kind::Manifest => "trustbox install",
        Kind::RotateRoot => "trustbox rotate-root",
        Kind::Lock => "trustbox lock",
        Kind::Decommission => "trustbox decommission",
    }
}

/// An encoded statement that claims a kind; nobody signed it.
#[cfg(test)]
pub(crate) fn sample(kind: Kind) -> Vec<u8> {
    use trustbox_api::statement::{Audience, FORMAT};
    use trustbox_api::{Bytes, PublicKey};

    let (root, audience) = (Bytes([1; 32]), Audience::Fleet);
    let header = Header { kind, format: FORMAT, root, audience, sequence: 1 };
    let mut buffer = [0; 256];
    let payload = wire::encode(&header, &mut buffer).unwrap();
    let envelope = Envelope { payload, signer: PublicKey(Bytes([2; 64])), signature: Bytes([3; 64]) };
    wire::encode(&envelope, &mut [0; 512]).unwrap().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_told_apart_before_the_device_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.st");
        for kind in Kind::ALL {
            std::fs::write(&file, sample(kind)).unwrap();
            assert_eq!(Statement::read("x", &file, &[kind]).ok().unwrap().header.kind, kind);
            let others: Vec<Kind> = Kind::ALL.into_iter().filter(|other| *other != kind).collect();
            let failure = Statement::read("x", &file, &others).err().unwrap();
            assert!(failure.text.contains(&format!("a.st: statement of kind {}, ", words::kind(kind))));
            assert!(failure.help.starts_with("use `trustbox "));
        }
    }

    #[test]
    fn other_files_are_refused() {
        let good = sample(Kind::PinRoot);
        for bytes in [&b""[..], b"{}", &good[1..], &good[..good.len() - 1]] {
            assert!(header(Path::new("f"), bytes).unwrap_err().text.contains("f: not a statement"));
        }
    }
}
