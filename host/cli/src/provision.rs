//! `trustbox provision` and `trustbox revoke`: what the owner says, applied as it is claimed to be.

use std::path::{Path, PathBuf};

use trustbox_api::command::Lifecycle;
use trustbox_api::message::Purpose;
use trustbox_api::statement::{Header, Kind};
use trustbox_client::{Error, TrustBox};
use trustbox_package::Request;

use crate::arguments::Provision;
use crate::failure::Failure;
use crate::output::Output;
use crate::statement::{self, Statement};

const WHAT: &str = "provision";
const KINDS: [Kind; 6] =
    [Kind::PinRoot, Kind::Publisher, Kind::Releaser, Kind::Revoker, Kind::Policy, Kind::Revocation];

pub(crate) fn run(args: &Provision, output: Output) -> Result<(), Failure> {
    let request = |device_id, nonce| Request::Provision { device_id, nonce };
    match &args.request {
        Some(file) => statement::ask((WHAT, Purpose::Provision), request, file, output),
        None => apply(WHAT, &args.statements, &KINDS, output),
    }
}

pub(crate) fn revoke(file: &Path, output: Output) -> Result<(), Failure> {
    apply("revoke", &[file.to_owned()], &[Kind::Revocation], output)
}

/// All files are read before the first is applied.
fn apply(what: &str, paths: &[PathBuf], kinds: &[Kind], output: Output) -> Result<(), Failure> {
    let statements: Result<Vec<Statement<'_>>, Failure> =
        paths.iter().map(|path| Statement::read(what, path, kinds)).collect();
    let statements = statements?;
    let mut trustbox = TrustBox::open().map_err(|error| Failure::call(what, "device", &error))?;
    for statement in &statements {
        let outcome = apply_one(&mut trustbox, statement)
            .map_err(|error| Failure::call(what, statement.file.display(), &error))?;
        statement.report(outcome, output)?;
    }
    Ok(())
}

fn apply_one(trustbox: &mut TrustBox, statement: &Statement<'_>) -> Result<&'static str, Error> {
    let bytes = &statement.bytes;
    match statement.header.kind {
        Kind::PinRoot if is_pinned(trustbox, &statement.header)? => Ok("owner root was pinned before"),
        Kind::PinRoot => trustbox.provision(bytes).map(|()| "owner root pinned, device key created"),
        Kind::Publisher => trustbox.authorise(bytes).map(|()| "publisher authorised"),
        Kind::Releaser => trustbox.authorise(bytes).map(|()| "releaser authorised"),
        Kind::Revoker => trustbox.authorise(bytes).map(|()| "revoker authorised"),
        Kind::Revocation => trustbox.revoke(bytes).map(|()| "revoked"),
        _ => trustbox.authorise(bytes).map(|()| "policy set"),
    }
}

/// A device that has this owner already needs nothing: the nonce of the statement is used up by then.
fn is_pinned(trustbox: &mut TrustBox, header: &Header) -> Result<bool, Error> {
    let info = trustbox.info()?;
    let owned = matches!(info.lifecycle, Lifecycle::Provisioned | Lifecycle::Locked);
    Ok(owned && info.owner_root == Some(header.root))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Status;

    /// The status of applying a statement of a kind, on a host without a TEE.
    fn status_of(kind: Kind, apply: impl FnOnce(&Path) -> Result<(), Failure>) -> Status {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.st");
        std::fs::write(&file, statement::sample(kind)).unwrap();
        apply(&file).unwrap_err().status
    }

    #[test]
    fn what_the_owner_says_is_taken_and_nothing_else() {
        let output = Output { json: false };
        for kind in Kind::ALL {
            let provision = |file: &Path| apply(WHAT, &[file.to_owned()], &KINDS, output);
            let expected = if KINDS.contains(&kind) { Status::NoTee } else { Status::Usage };
            assert_eq!(status_of(kind, provision), expected, "{kind:?}");
            let expected = if kind == Kind::Revocation { Status::NoTee } else { Status::Usage };
            assert_eq!(status_of(kind, |file| revoke(file, output)), expected, "{kind:?}");
        }
    }
}
