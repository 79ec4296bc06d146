//! The line's web page in a real Chromium, with scripts and without; axe-core looks at it too, where pip installs it.

use std::fs;

use anyhow::Result;

use crate::builder::Builder;
use crate::suite::{Case, libtest};

const GROUP: &str = "page";
/// axe-core 4.12, as Python's package index has it.
const AXE: &str = "axe-playwright-python==0.1.8";

pub(crate) fn run(builder: &Builder) -> Result<Vec<Case>> {
    let log = builder.log("keys-page");
    let _ = fs::remove_file(&log);
    let test = ["test", "--color=never", "-p", "trustbox-keys", "--features", "page-tests", "--test", "page"];
    let mut tool = builder.cargo().args(test);
    tool = tool.help("the Debian packages chromium and chromium-driver are needed");
    if let Ok(axe) = builder.python_packages(&[AXE]) {
        tool = tool.env("TRUSTBOX_AXE", axe.join("axe_playwright_python/axe.min.js"));
    }
    libtest::cases(GROUP, &log, tool.run(&log))
}
