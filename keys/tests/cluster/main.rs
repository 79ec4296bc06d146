//! The key service on real PostgreSQL, and on a real PKCS#11 token: SoftHSM, set up in a folder of its own.

mod database;
mod line;
mod module;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/mod.rs"]
mod support;
#[path = "../../../host/pkcs11/tests/token/mod.rs"]
mod token;

use std::env;
use std::process::ExitCode;

use database::{
    a_backup_moves, a_database_that_goes_and_comes_back, a_disk_that_is_full, instances_share_a_log,
    postgresql_does_what_sqlite_does,
};
use libtest_mimic::{Arguments, Failed, Trial};
use line::{a_journal_on_a_disk_that_is_full, a_token_that_is_gone_in_the_middle_of_a_device, small_disks};
use module::{
    a_ceremony_in_a_token, a_lost_token_shows, a_releaser_in_a_token_signs, a_token_that_cannot_wrap_says_so,
    a_token_that_is_pulled_out, the_token_wraps_and_never_shows,
};
use token::{FOLDER, again_with};

/// The token that is pulled out under load, and the one that is in the middle of a device.
const PULLED: &str = "pulled";
const UNPLUGGED: &str = "unplugged";
const SEALED: &str = "kind = \"sealed\"\nkey = \"store.key\"\n";

fn main() -> ExitCode {
    match env::var_os(FOLDER) {
        Some(_) => {
            libtest_mimic::run(&Arguments { test_threads: Some(2), ..Arguments::from_args() }, trials())
                .exit_code()
        }
        None => again_with("keys", |folder| {
            [PULLED, UNPLUGGED].iter().for_each(|label| token::add(folder, label))
        }),
    }
}

fn trials() -> Vec<Trial> {
    let trial = |name: &str, test: fn() -> Result<(), Failed>| Trial::test(name, test);
    vec![
        trial("postgresql_does_what_sqlite_does", || block_on(postgresql_does_what_sqlite_does())),
        trial("a_database_that_goes_and_comes_back", || block_on(a_database_that_goes_and_comes_back())),
        trial("instances_share_a_log_and_lose_none_when_one_is_killed", || block_on(instances_share_a_log())),
        trial("a_disk_that_is_full", || block_on(a_disk_that_is_full())),
        trial("a_backup_moves_from_sqlite_to_postgresql", || block_on(a_backup_moves())),
        trial("the_token_wraps_and_never_shows", || block_on(the_token_wraps_and_never_shows())),
        trial("a_token_that_cannot_wrap_says_so", || block_on(a_token_that_cannot_wrap_says_so())),
        trial("a_releaser_in_a_token_signs", || block_on(a_releaser_in_a_token_signs())),
        trial("a_lost_token_shows", || block_on(a_lost_token_shows())),
        trial("a_token_that_is_pulled_out_under_load", || block_on(a_token_that_is_pulled_out())),
        trial("a_ceremony_in_a_token", a_ceremony_in_a_token),
        trial("a_token_that_is_gone_in_the_middle_of_a_device", || {
            block_on(a_token_that_is_gone_in_the_middle_of_a_device())
        }),
        // Without namespaces of users there is none: then it is skipped, and counted so.
        trial("a_journal_on_a_disk_that_is_full", || block_on(a_journal_on_a_disk_that_is_full()))
            .with_ignored_flag(!small_disks()),
    ]
}

fn block_on(test: impl Future<Output = ()>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(test);
    Ok(())
}
