//! The line's web page in a real Chromium, with scripts and without.

use std::fs;

use anyhow::Result;

use crate::builder::Builder;
use crate::suite::{Case, libtest};

const GROUP: &str = "page";

pub(crate) fn run(builder: &Builder) -> Result<Vec<Case>> {
    let log = builder.log("keys-page");
    let _ = fs::remove_file(&log);
    let test = ["test", "--color=never", "-p", "trustbox-keys", "--features", "page-tests", "--test", "page"];
    let tool = builder.cargo().args(test).help("the Debian packages chromium and chromium-driver are needed");
    libtest::cases(GROUP, &log, tool.run(&log))
}
