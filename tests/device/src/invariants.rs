//! The invariants, and what is evidence for each: device cases name theirs, host tests are listed here.
//!
//! `build/tb test --invariants` shows the table; `ta/SECURITY.md` says how each invariant is kept.

use crate::case::Case;

/// Each invariant and what it means.
pub const INVARIANTS: &[(&str, &str)] = &[
    (
        "INV-1",
        "no secret key leaves the TEE, by reply, log, panic or timing; but for the disk key, made for Linux",
    ),
    ("INV-2", "nothing of a package is acted on before signature, digest and tag are verified"),
    ("INV-3", "what runs was signed by a publisher that the owner authorised for that UUID"),
    ("INV-4", "shared memory is copied once, bounded, before anyone looks; what is forwarded is never read"),
    ("INV-5", "versions never go back, and what was revoked never comes back"),
    ("INV-6", "every change is atomic: after a power cut all stores are as before it or as after it"),
    ("INV-7", "the lifecycle only moves forward, and a decommissioned device holds no secret"),
    ("INV-8", "the attestation key signs only what the TA knows itself, over a verifier's nonce"),
    (
        "INV-9",
        "an enclave serves only the TrustBox TA, and the TA only enclaves that it launched; OP-TEE says who calls",
    ),
    ("INV-10", "bad input gets a numbered error: no panic, no length beyond a limit, no stored data lost"),
    ("INV-11", "memory, sessions, records and messages have fixed limits, and reaching one is an error"),
];

/// A test on the host that is evidence for invariants, on the fake or on the interface's data.
pub struct HostTest {
    /// Its file, from the top of the repository.
    pub file: &'static str,
    /// The function.
    pub name: &'static str,
    /// The invariants.
    pub invariants: &'static [&'static str],
}

const POWER_CUT: &str = "tests/device/tests/power_cut.rs";
const STATEMENTS: &str = "tests/device/tests/statements.rs";
const CALLBACKS: &str = "tests/device/tests/callbacks.rs";
const COMMAND: &str = "ta/api/src/command.rs";
const ERROR: &str = "ta/api/src/error.rs";
const LOG: &str = "ta/api/src/log.rs";

/// The host tests that are evidence for invariants.
pub const HOST_TESTS: &[HostTest] = &[
    host(POWER_CUT, "provisioning", &["INV-6"]),
    host(POWER_CUT, "lock", &["INV-6"]),
    host(POWER_CUT, "rotation", &["INV-6"]),
    host(POWER_CUT, "decommissioning", &["INV-6", "INV-7"]),
    host(POWER_CUT, "policy", &["INV-6"]),
    host(POWER_CUT, "revocation", &["INV-5", "INV-6"]),
    host(POWER_CUT, "key_import", &["INV-6"]),
    host(POWER_CUT, "first_install", &["INV-6"]),
    host(POWER_CUT, "upgrade", &["INV-5", "INV-6"]),
    host(POWER_CUT, "reinstall", &["INV-6"]),
    host(POWER_CUT, "uninstall", &["INV-6"]),
    host(POWER_CUT, "a_launch_settles_an_interrupted_install", &["INV-6"]),
    host(POWER_CUT, "an_interrupted_install_raises_the_floor_first", &["INV-5", "INV-6"]),
    host(POWER_CUT, "a_lost_owner_leaves_no_keys", &["INV-1", "INV-7"]),
    host(POWER_CUT, "a_lost_key_is_not_replaced", &["INV-10"]),
    host(POWER_CUT, "slots_come_back", &["INV-11"]),
    host(STATEMENTS, "signed_by_the_wrong_role", &["INV-3", "INV-7"]),
    host(STATEMENTS, "for_another_root", &["INV-3"]),
    host(STATEMENTS, "for_another_audience", &["INV-3", "INV-7"]),
    host(STATEMENTS, "of_another_kind_or_format", &["INV-3"]),
    host(STATEMENTS, "replayed", &["INV-5", "INV-7"]),
    host(STATEMENTS, "cut_anywhere_or_longer", &["INV-10"]),
    host(STATEMENTS, "flooded_with_forgeries", &["INV-3", "INV-10"]),
    host(STATEMENTS, "naming_a_reserved_uuid", &["INV-3"]),
    host(CALLBACKS, "enclaves_may_use_their_commands_only", &["INV-9"]),
    host(CALLBACKS, "a_ticket_is_good_for_its_enclave_only_and_as_it_came", &["INV-9"]),
    host(CALLBACKS, "a_ticket_of_another_device_is_worth_nothing", &["INV-9"]),
    host(CALLBACKS, "counters_rise_and_survive_an_upgrade", &["INV-5", "INV-11"]),
    host(CALLBACKS, "a_report_says_what_was_launched", &["INV-8"]),
    host(CALLBACKS, "labels_give_unrelated_keys_and_a_publisher_its_own", &["INV-1"]),
    host(CALLBACKS, "notes_are_in_a_channel_of_their_own", &["INV-10"]),
    host(CALLBACKS, "revocation_silences_what_runs", &["INV-5"]),
    host(CALLBACKS, "enclaves_have_sessions_of_their_own", &["INV-11"]),
    host(COMMAND, "enclaves_have_commands_of_their_own_and_no_others", &["INV-9"]),
    host(COMMAND, "a_decommissioned_device_only_talks_about_itself", &["INV-7"]),
    host(ERROR, "numbers_are_frozen", &["INV-10"]),
    host(LOG, "what_is_left_leads_to_the_same_head", &["INV-8"]),
    host(LOG, "the_longest_entry_fits", &["INV-11"]),
];

const fn host(file: &'static str, name: &'static str, invariants: &'static [&'static str]) -> HostTest {
    HostTest { file, name, invariants }
}

impl HostTest {
    /// How documents call it: `power_cut::upgrade`.
    pub fn id(&self) -> String {
        let file = self.file.rsplit('/').next().unwrap_or(self.file);
        format!("{}::{}", file.trim_end_matches(".rs"), self.name)
    }
}

/// Every invariant that has no case, and every case that names an unknown invariant.
pub fn problems(cases: &[&Case]) -> Vec<String> {
    let untested = INVARIANTS.iter().filter(|(id, _)| !cases.iter().any(|case| case.invariants.contains(id)));
    let untested = untested.map(|(id, _)| format!("{id} has no case"));
    let unknown = cases.iter().flat_map(|case| {
        let unknown = case.invariants.iter().filter(|id| !is_known(id));
        unknown.map(|id| format!("case {} names {id}, which is no invariant", case.id))
    });
    untested.chain(unknown).collect()
}

fn is_known(id: &str) -> bool {
    INVARIANTS.iter().any(|(known, _)| *known == id)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::cases;

    fn path(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name)
    }

    fn file(name: &str) -> String {
        fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn case(invariants: &'static [&'static str]) -> Case {
        Case { id: 9001, name: "a case", invariants, run: |_| Ok(()) }
    }

    #[test]
    fn every_case_names_invariants_and_every_invariant_has_one() {
        assert_eq!(problems(&cases::all()), [""; 0]);
        assert!(cases::all().iter().all(|case| !case.invariants.is_empty()));
    }

    #[test]
    fn problems_are_named() {
        let problems = problems(&[&case(&["INV-1", "INV-12"]), &case(&["INV-2"])]);
        assert_eq!(problems.first().map(String::as_str), Some("INV-3 has no case"));
        assert_eq!(
            problems.last().map(String::as_str),
            Some("case 9001 names INV-12, which is no invariant")
        );
        assert_eq!(problems.len(), INVARIANTS.len() - 2 + 1);
    }

    #[test]
    fn host_tests_exist_and_name_invariants() {
        for test in HOST_TESTS {
            let declared = format!("#[test]\n    fn {}()", test.name);
            let text = file(test.file);
            let found = text.contains(&declared) || text.contains(&declared.replace("    ", ""));
            assert!(found, "{} has no test {}", test.file, test.name);
            assert!(test.invariants.iter().all(|id| is_known(id)), "{}", test.id());
        }
    }

    /// The security document names every invariant, and no case or host test that is not there.
    #[test]
    fn the_security_document_names_what_exists() {
        let text = file("ta/SECURITY.md");
        let cases: BTreeSet<String> = cases::all().iter().map(|case| case.id.to_string()).collect();
        let named = words(&text).filter(|word| word.len() == 4 && word.bytes().all(|b| b.is_ascii_digit()));
        for number in named {
            assert!(cases.contains(number), "SECURITY.md names case {number}, which is not there");
        }
        for (id, _) in INVARIANTS {
            assert!(words(&text).any(|word| word == *id), "SECURITY.md does not name {id}");
        }
        for name in words(&text).filter(|word| word.contains("::")) {
            let found = HOST_TESTS.iter().any(|test| test.id() == name);
            assert!(found, "SECURITY.md names {name}, which is no host test of the list");
        }
    }

    /// `core/seal.rs` stands for `ta/core/src/seal.rs`, and a patch goes by its name.
    #[test]
    fn the_security_document_names_files_that_exist() {
        for name in file("ta/SECURITY.md").split('`').skip(1).step_by(2) {
            let named = match name.split_once('/') {
                None if name.starts_with("000") => format!("platform/patches/optee-os/{name}.patch"),
                Some(("ta", _)) => name.to_owned(),
                Some((folder, module)) if module.ends_with(".rs") => format!("ta/{folder}/src/{module}"),
                _ => continue,
            };
            assert!(path(&named).exists(), "SECURITY.md names {name}: no {named}");
        }
    }

    fn words(text: &str) -> impl Iterator<Item = &str> {
        text.split(|c: char| !c.is_alphanumeric() && !matches!(c, '-' | '_' | ':'))
            .map(|word| word.trim_matches(':'))
    }
}
