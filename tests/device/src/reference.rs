//! What the figures of [`crate::bench`] are compared with: the same work without TrustBox, on OP-TEE as it comes.
//!
//! An install is what `xtest --install-ta` does, an open session to secstor and one call, without the start of a program around
//! it; the whole program is measured too.

use std::path::Path;
use std::process::Command;

use crate::bench::{ECHO, Figure, INVOKE_BYTES, in_instructions, median, signature, warm};
use crate::context::Image;
use crate::optee::Optee;
use crate::target::Code;

/// All references.
pub fn all(sized: &Image, sized_file: &Path, plain: &Image) -> Result<Vec<Figure>, String> {
    let target = Optee::new()?;
    let fails = |what: &'static str| move |code: Code| format!("{what}: {code:?}");
    let install = warm(5, || target.install_directly(&sized.bytes)).map_err(fails("install"))?;
    target.install_directly(&plain.bytes).map_err(fails("install of the plain TA"))?;
    let uuid = plain.uuid.to_string();
    // Closing is not part of opening: sessions stay until all are open.
    let mut open = Vec::new();
    let launch =
        median(5, || target.connect_directly(&uuid).map(|link| open.push(link))).map_err(fails("open"))?;
    let link = open.last_mut().ok_or("no session")?;
    let request = [0x5a; INVOKE_BYTES];
    let invoke = median(9, || link.call(ECHO, &request, None, INVOKE_BYTES)).map_err(fails("invoke"))?;
    let signature = signature(link.as_mut()).map_err(fails("signature"))?;
    let program = median(3, || xtest_install(sized_file)).map_err(|error| format!("xtest: {error}"))?;
    Ok(vec![
        in_instructions("install", install),
        in_instructions("xtest_install_ta", program),
        in_instructions("launch", launch),
        in_instructions("invoke_4k", invoke),
        in_instructions("signature", signature),
    ])
}

/// xtest passes over what it cannot read, and calls that done.
fn xtest_install(file: &Path) -> Result<(), String> {
    let output =
        Command::new("xtest").arg("--install-ta").arg(file).output().map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout);
    if output.status.success() && text.contains("Installing \"") { Ok(()) } else { Err(text.into_owned()) }
}
