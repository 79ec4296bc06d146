//! An emulated device for whoever connects to a Unix socket: a line of JSON `{"argv": [...]}` runs a command there, and the answer
//! is a line `{"status": 0, "stdout": "<base64>", "stderr": "<base64>"}`, or `{"error": "…"}`. For `trustbox-keys station`.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Deserialize;
use serde_json::json;

use crate::device::Device;

/// How often a waiting socket looks whether it is still wanted.
const LOOK: Duration = Duration::from_millis(50);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    argv: Vec<String>,
}

/// Makes the socket; one that is left from before is replaced.
pub(crate) fn listen(path: &Path) -> Result<UnixListener> {
    let _ = fs::remove_file(path);
    let listener =
        UnixListener::bind(path).with_context(|| format!("cannot listen on {}", path.display()))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Answers one connection after the other until it is told to stop.
pub(crate) fn serve(device: &mut Device, listener: &UnixListener, stop: &AtomicBool) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                // Whoever hangs up in the middle is not the device's matter.
                let _ = connection(device, stream);
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(LOOK),
            Err(error) => return Err(error).context("the socket failed"),
        }
    }
    Ok(())
}

fn connection(device: &mut Device, mut stream: UnixStream) -> Result<()> {
    let reader = BufReader::new(stream.try_clone()?);
    for line in reader.lines() {
        let answer = match answer(device, &line?) {
            Ok(answer) => answer,
            Err(error) => json!({"error": format!("{error:#}")}),
        };
        stream.write_all(format!("{answer}\n").as_bytes())?;
    }
    Ok(())
}

fn answer(device: &mut Device, line: &str) -> Result<serde_json::Value> {
    let asked: Asked = serde_json::from_str(line).context("not a question")?;
    let output = device.exec(&asked.argv)?;
    let text = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    Ok(json!({"status": output.status, "stdout": text(&output.stdout), "stderr": text(&output.stderr)}))
}
