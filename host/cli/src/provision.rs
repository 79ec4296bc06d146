//! `trustbox provision`: a request for the owner, and the statements that answer.

use std::path::Path;

use serde_json::{Value, json};
use trustbox_api::command::Lifecycle;
use trustbox_api::limits::MAX_REQUEST;
use trustbox_api::message::Purpose;
use trustbox_api::statement::{Envelope, Header, Kind};
use trustbox_api::wire;
use trustbox_client::{Error, TrustBox};
use trustbox_package::Request;

use crate::arguments::Provision;
use crate::failure::Failure;
use crate::files;
use crate::output::Output;

const WHAT: &str = "provision";

pub(crate) fn run(args: &Provision, output: Output) -> Result<(), Failure> {
    match &args.request {
        Some(file) => write_request(file, output),
        None => apply(&args.statements, output),
    }
}

/// The kind a statement claims; refuses what is not a statement.
pub(crate) fn header(file: &Path, statement: &[u8]) -> Result<Header, Failure> {
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

fn write_request(file: &Path, output: Output) -> Result<(), Failure> {
    let reply = TrustBox::open().and_then(|mut trustbox| trustbox.challenge(Purpose::Provision));
    let reply = reply.map_err(|error| Failure::call(WHAT, "device", &error))?;
    deliver(&Request::Provision { device_id: reply.device_id, nonce: reply.nonce }, file, output)
}

/// A statement read from a file, and how the TA takes it.
struct Statement<'a> {
    file: &'a Path,
    bytes: Vec<u8>,
    header: Header,
}

/// All files are read before the first is applied.
fn apply(paths: &[std::path::PathBuf], output: Output) -> Result<(), Failure> {
    let statements: Vec<Statement<'_>> = paths.iter().map(|path| read(path)).collect::<Result<_, _>>()?;
    let mut trustbox = TrustBox::open().map_err(|error| Failure::call(WHAT, "device", &error))?;
    for statement in &statements {
        let outcome = apply_one(&mut trustbox, statement)
            .map_err(|error| Failure::call(WHAT, statement.file.display(), &error))?;
        let file = statement.file.display().to_string();
        output.result(&result_json(&file, statement.header.kind, outcome), &format!("{file}: {outcome}"))?;
    }
    Ok(())
}

fn read(file: &Path) -> Result<Statement<'_>, Failure> {
    let bytes = files::read(file, MAX_REQUEST as u64)?;
    let header = header(file, &bytes)?;
    match command_for(header.kind) {
        None => Ok(Statement { file, bytes, header }),
        Some(help) => Err(Failure::usage(
            format_args!(
                "{WHAT}: {}: statement of kind {:?}, expected a pin-root or delegation",
                file.display(),
                header.kind
            ),
            help,
        )),
    }
}

/// The command that takes a statement which is not for provisioning.
fn command_for(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::PinRoot | Kind::Publisher | Kind::Releaser => None,
        Kind::KeyBundle => Some("use `trustbox key import`"),
        Kind::Manifest => Some("use `trustbox install` with the package"),
    }
}

fn apply_one(trustbox: &mut TrustBox, statement: &Statement<'_>) -> Result<&'static str, Error> {
    match statement.header.kind {
        Kind::PinRoot if is_pinned(trustbox, &statement.header)? => Ok("owner root was pinned before"),
        Kind::PinRoot => {
            trustbox.provision(&statement.bytes).map(|()| "owner root pinned, device key created")
        }
        Kind::Publisher => trustbox.authorise(&statement.bytes).map(|()| "publisher authorised"),
        _ => trustbox.authorise(&statement.bytes).map(|()| "releaser authorised"),
    }
}

/// A device that has this owner already needs nothing: the nonce of the statement is used up by then.
fn is_pinned(trustbox: &mut TrustBox, header: &Header) -> Result<bool, Error> {
    let info = trustbox.info()?;
    Ok(info.lifecycle == Lifecycle::Provisioned && info.owner_root == Some(header.root))
}

fn result_json(file: &str, kind: Kind, outcome: &str) -> Value {
    let kind = match kind {
        Kind::PinRoot => "pin-root",
        Kind::Publisher => "publisher",
        Kind::Releaser => "releaser",
        Kind::KeyBundle => "key-bundle",
        Kind::Manifest => "manifest",
    };
    json!({"statement": file, "kind": kind, "result": outcome})
}

#[cfg(test)]
mod tests {
    use trustbox_api::statement::{Audience, FORMAT};
    use trustbox_api::{Bytes, PublicKey};

    use super::*;

    fn statement(kind: Kind) -> Vec<u8> {
        let header =
            Header { kind, format: FORMAT, root: Bytes([1; 32]), audience: Audience::Fleet, sequence: 1 };
        let mut buffer = [0; 256];
        let payload = wire::encode(&header, &mut buffer).unwrap();
        let envelope = Envelope { payload, signer: PublicKey(Bytes([2; 64])), signature: Bytes([3; 64]) };
        wire::encode(&envelope, &mut [0; 512]).unwrap().to_vec()
    }

    #[test]
    fn kinds_are_told_apart_before_the_device_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.st");
        for kind in [Kind::PinRoot, Kind::Publisher, Kind::Releaser] {
            std::fs::write(&file, statement(kind)).unwrap();
            assert_eq!(read(&file).ok().unwrap().header.kind, kind);
        }
        for (kind, command) in [(Kind::KeyBundle, "key import"), (Kind::Manifest, "install")] {
            std::fs::write(&file, statement(kind)).unwrap();
            let failure = read(&file).err().unwrap();
            assert!(failure.help.contains(command) && failure.text.contains("a.st: statement of kind"));
        }
    }

    #[test]
    fn other_files_are_refused() {
        let good = statement(Kind::PinRoot);
        for bytes in [&b""[..], b"{}", &good[1..], &good[..good.len() - 1]] {
            assert!(header(Path::new("f"), bytes).unwrap_err().text.contains("f: not a statement"));
        }
    }
}
