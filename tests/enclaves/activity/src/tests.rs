//! The log on the device in memory.

extern crate std;

use std::string::ToString;
use std::vec;

use trustbox_enclave::{Refused, fake};
use trustbox_example_interfaces::activity::{ActivityClient, ActivityService, Clock};

use super::*;

struct Watch(Option<u64>);

impl Clock for Watch {
    fn now(&mut self) -> Result<u64, Refused> {
        self.0.ok_or(Refused)
    }
}

type Client = ActivityClient<fake::Session<trustbox_enclave::Typed<ActivityService, Log>>, Watch>;

fn log() -> Client {
    ActivityClient::new(fake::launch::<ActivityService, Log>().unwrap(), Watch(Some(1_000)))
}

#[test]
fn an_export_leads_to_the_signed_head() {
    let mut log = log();
    for text in ["door opened", "door closed"] {
        log.append(text).unwrap();
    }
    let export = log.export(0).unwrap();
    assert_eq!(export.entries[1].text, "door closed");
    let report = log.head([5; 32]).unwrap();
    let report = trustbox_verifier::Token::parse(&report).unwrap();
    let report = report.verify_report(&fake::attestation_key(), &[5; 32]).unwrap();
    assert_eq!(report.data, export.head().unwrap().encode());
}

#[test]
fn the_log_goes_on_after_a_launch_and_forgets_the_oldest() {
    let mut one = log();
    for number in 0..KEPT {
        one.append(&number.to_string()).unwrap();
    }
    let mut two = log();
    assert_eq!(two.append("one more").unwrap().count, KEPT + 1);
    assert_eq!(two.export(0).unwrap_err().own(), Some(ActivityError::NotKept));
    let mut head = two.export(1).unwrap().before;
    while let Ok(export) = two.export(head.count) {
        assert_eq!(export.before, head);
        head = export.head().unwrap();
    }
    assert_eq!(head.count, KEPT + 1);
}

#[test]
fn lines_that_are_none_and_clocks_that_are_silent_leave_no_trace() {
    let mut silent = ActivityClient::new(fake::launch::<ActivityService, Log>().unwrap(), Watch(None));
    assert_eq!(silent.append("x").unwrap_err().sdk(), Some(EnclaveError::HOST_REFUSED));
    let mut log = log();
    for bad in ["", &"x".repeat(MAX_TEXT + 1)] {
        assert_eq!(log.append(bad).unwrap_err().own(), Some(ActivityError::Length));
    }
    assert_eq!(log.export(0).unwrap_err().own(), Some(ActivityError::NotKept));
    assert_eq!(log.append(&"x".repeat(MAX_TEXT)).unwrap().count, 1);
}

#[test]
fn tampering_and_going_back_are_noticed() {
    let mut log = log();
    log.append("a").unwrap();
    let before = fake::snapshot();
    log.append("b").unwrap();
    fake::restore(before);
    assert_eq!(log.append("c").unwrap_err().own(), Some(ActivityError::RolledBack));
    fake::tamper(HEAD);
    assert_eq!(log.export(0).unwrap_err().sdk(), Some(EnclaveError::TAMPERED));
}

#[test]
fn a_power_cut_before_the_counter_is_made_good() {
    let mut log = log();
    log.append("a").unwrap();
    let head = log.export(0).unwrap().head().unwrap();
    let storage = &mut fake::launched().storage;
    let next = Entry { number: 1, claimed_time: 0, text: "b".into() };
    storage.save(&place(1), &(head, next.clone())).unwrap();
    storage.save(HEAD, &head.after(&next)).unwrap();
    assert_eq!(log.export(0).unwrap().entries.len(), 2);
    assert_eq!(log.append("c").unwrap().count, 3);
    assert_eq!(
        vec![0, 1, 2],
        log.export(0).unwrap().entries.iter().map(|entry| entry.number).collect::<Vec<_>>()
    );
}
