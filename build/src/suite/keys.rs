//! The key service on what it will run on: a PostgreSQL cluster and a SoftHSM token, both started by the tests themselves.

use std::fs;

use anyhow::Result;

use crate::builder::Builder;
use crate::suite::{Case, Outcome, libtest};
use crate::tool::{Tool, find_program};

const GROUP: &str = "keys";

pub(crate) fn run(builder: &Builder) -> Result<Vec<Case>> {
    let log = builder.log("keys-cluster");
    let _ = fs::remove_file(&log);
    let test =
        ["test", "--color=never", "-p", "trustbox-keys", "--features", "cluster-tests", "--test", "cluster"];
    let tool = builder.cargo().args(test).help("the Debian packages postgresql and softhsm2 are needed");
    let mut cases = libtest::cases(GROUP, &log, tool.run(&log))?;
    cases.push(unit(builder));
    Ok(cases)
}

/// What systemd says of the unit, from 0 for safe to 10: at most 1.5.
fn unit(builder: &Builder) -> Case {
    let name = "systemd unit is hardened";
    let Some(program) = find_program("systemd-analyze") else {
        return Case::new(GROUP, name, Outcome::Skipped("no systemd-analyze on this host".to_owned()));
    };
    let unit = builder.repo().root().join("keys/deploy/trustbox-keys.service");
    let tool = Tool::new(program).args(["security", "--offline=true", "--threshold=15"]).arg(unit);
    Case::of(GROUP, name, tool.output().map(drop))
}
