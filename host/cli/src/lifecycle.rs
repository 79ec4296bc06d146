//! `trustbox lock`, `rotate-root` and `decommission`: steps in a device's life that take a nonce. The device asks with a
//! request, and the statement that answers is applied.

use trustbox_api::DeviceId;
use trustbox_api::message::{Nonce, Purpose};
use trustbox_api::statement::Kind;
use trustbox_client::TrustBox;
use trustbox_package::Request;

use crate::arguments::Answer;
use crate::failure::Failure;
use crate::output::Output;
use crate::statement::{self, Statement};

/// A step: how it is asked for, how it is done, and what it brings about.
pub(crate) struct Step {
    what: &'static str,
    purpose: Purpose,
    kind: Kind,
    request: fn(DeviceId, Nonce) -> Request,
    apply: fn(&mut TrustBox, &[u8]) -> trustbox_client::Result<()>,
    done: &'static str,
    /// What would happen, where nobody can undo it.
    danger: Option<&'static str>,
}

pub(crate) const LOCK: Step = Step {
    what: "lock",
    purpose: Purpose::Lock,
    kind: Kind::Lock,
    request: |device_id, nonce| Request::Lock { device_id, nonce },
    apply: TrustBox::lock,
    done: "locked",
    danger: None,
};

pub(crate) const ROTATE_ROOT: Step = Step {
    what: "rotate-root",
    purpose: Purpose::RotateRoot,
    kind: Kind::RotateRoot,
    request: |device_id, nonce| Request::RotateRoot { device_id, nonce },
    apply: TrustBox::rotate_root,
    done: "owner root replaced, all roles ended; provision the new owner's statements",
    danger: Some(
        "the device would belong to another owner root, and every role that the present one gave would end",
    ),
};

pub(crate) const DECOMMISSION: Step = Step {
    what: "decommission",
    purpose: Purpose::Decommission,
    kind: Kind::Decommission,
    request: |device_id, nonce| Request::Decommission { device_id, nonce },
    apply: TrustBox::decommission,
    done: "decommissioned, nothing secret is left",
    danger: Some(
        "the device would lose its keys, class keys, enclaves and their data for ever, and never be provisioned again",
    ),
};

impl Step {
    /// Writes the request, or applies the statement; where that is dangerous, only with `yes`.
    pub(crate) fn run(&self, args: &Answer, yes: bool, output: Output) -> Result<(), Failure> {
        match (&args.request, &args.statement) {
            (Some(file), _) => statement::ask((self.what, self.purpose), self.request, file, output),
            (None, Some(file)) => {
                let statement = Statement::read(self.what, file, &[self.kind])?;
                match self.danger {
                    Some(danger) if !yes => Err(Failure::unconfirmed(self.what, file.display(), danger)),
                    _ => self.apply(&statement, output),
                }
            }
            (None, None) => Err(Failure::usage(
                format_args!("{}: neither request nor statement", self.what),
                format_args!("trustbox {} --help", self.what),
            )),
        }
    }

    fn apply(&self, statement: &Statement<'_>, output: Output) -> Result<(), Failure> {
        let applied = TrustBox::open().and_then(|mut trustbox| (self.apply)(&mut trustbox, &statement.bytes));
        applied.map_err(|error| Failure::call(self.what, statement.file.display(), &error))?;
        statement.report(self.done, output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Status;

    #[test]
    fn requests_are_of_the_type_of_their_step() {
        for step in [LOCK, ROTATE_ROOT, DECOMMISSION] {
            let request = (step.request)(DeviceId::default(), Nonce::default());
            assert_eq!(request.type_name(), step.what);
        }
    }

    #[test]
    fn what_cannot_be_undone_takes_a_yes() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.st");
        let args = Answer { request: None, statement: Some(file.clone()) };
        for step in [LOCK, ROTATE_ROOT, DECOMMISSION] {
            std::fs::write(&file, statement::sample(step.kind)).unwrap();
            let run = |yes| step.run(&args, yes, Output { json: false }).unwrap_err();
            assert_eq!(run(true).status, Status::NoTee);
            if let Some(danger) = step.danger {
                let failure = run(false);
                assert_eq!((failure.status, failure.name), (Status::Usage, "Unconfirmed"));
                assert!(failure.text.contains(danger) && failure.help.contains("--yes"));
            } else {
                assert_eq!(run(false).status, Status::NoTee);
            }
            std::fs::write(&file, statement::sample(Kind::Publisher)).unwrap();
            assert!(run(true).text.contains("statement of kind publisher, expected "));
        }
    }
}
