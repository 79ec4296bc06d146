//! The activity log's host program: its clock, and a verifier that believes nothing but the device's signature.

use std::process::ExitCode;
use std::time::SystemTime;

use trustbox_client::{EnclaveSession, TrustBox};
use trustbox_example_interfaces::activity::{ActivityClient, ActivityError, Clock, Export, UUID};
use trustbox_example_programs::{Case, Failed, Known, Outcome, nonce, run, same};
use trustbox_interface::Refused;

const CASES: &[Case<TrustBox>] = &[
    (9201, "an exported log leads to the head that the device signs", exported),
    (9202, "the log asks its host for the time and goes on with the answer", claimed_time),
    (9203, "a host that does not answer leaves no trace", silent),
    (9204, "a changed export is noticed away from the device", changed),
];

fn main() -> ExitCode {
    match TrustBox::open() {
        Ok(trustbox) => run(trustbox, CASES),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(3)
        }
    }
}

/// Linux's clock, or a fixed one, or none.
enum Time {
    OfLinux,
    Fixed(u64),
    Silent,
}

impl Clock for Time {
    fn now(&mut self) -> Result<u64, Refused> {
        match self {
            Self::OfLinux => Ok(SystemTime::UNIX_EPOCH.elapsed().map_err(|_| Refused)?.as_secs()),
            Self::Fixed(time) => Ok(*time),
            Self::Silent => Err(Refused),
        }
    }
}

type Client<'a> = ActivityClient<EnclaveSession<'a>, Time>;

fn open(trustbox: &mut TrustBox, time: Time) -> Result<Client<'_>, Failed> {
    Ok(ActivityClient::new(trustbox.open_enclave(UUID.parse()?)?, time))
}

/// All that is kept, from `number` on.
fn export(client: &mut Client<'_>, number: u64, count: u64) -> Result<Export, Failed> {
    let mut all = client.export(number)?;
    while number + (all.entries.len() as u64) < count {
        let more = client.export(number + all.entries.len() as u64)?;
        all.entries.extend(more.entries);
    }
    Ok(all)
}

fn exported(trustbox: &mut TrustBox) -> Outcome {
    let (known, nonce) = (Known::note(trustbox)?, nonce());
    let mut client = open(trustbox, Time::OfLinux)?;
    let first = client.append("door opened")?.count - 1;
    let count =
        (0..9).try_fold(0, |_, minute| client.append(&format!("minute {minute}")).map(|head| head.count))?;
    let log = export(&mut client, first, count)?;
    let head = client.head(nonce.0)?;
    let report = known.report(&head, nonce, UUID)?;
    same!(log.head().map(|head| head.encode().to_vec()), Some(report.data.to_vec()), "head");
    same!(log.entries.len(), 10, "entries");
    Ok(())
}

fn claimed_time(trustbox: &mut TrustBox) -> Outcome {
    let mut client = open(trustbox, Time::Fixed(1_234_567))?;
    let number = client.append("with a time")?.count - 1;
    same!(client.export(number)?.entries[0].claimed_time, 1_234_567, "time");
    Ok(())
}

fn silent(trustbox: &mut TrustBox) -> Outcome {
    let before = open(trustbox, Time::OfLinux)?.append("before")?;
    let refused = open(trustbox, Time::Silent)?.append("never").err().ok_or("taken without a time")?;
    same!(refused.sdk(), Some(trustbox_interface::EnclaveError::HOST_REFUSED), "refusal");
    same!(open(trustbox, Time::OfLinux)?.append("after")?.count, before.count + 1, "count");
    let long = open(trustbox, Time::OfLinux)?.append(&"x".repeat(201)).err().ok_or("took 201 bytes")?;
    same!(long.own(), Some(ActivityError::Length), "refusal");
    Ok(())
}

fn changed(trustbox: &mut TrustBox) -> Outcome {
    let mut client = open(trustbox, Time::OfLinux)?;
    let head = client.append("as it was")?;
    let mut log = client.export(head.count - 1)?;
    same!(log.head(), Some(head), "head");
    log.entries[0].text = "as it was not".into();
    same!(log.head() == Some(head), false, "changed entry taken");
    Ok(())
}
