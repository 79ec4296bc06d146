//! Talking to the device of the demo: `trustbox` run on it, its answers read, its refusals held against what they must be.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use trustbox_api::Error;
use trustbox_package::request::Request;

use crate::device::{Device, Output};

/// Runs `trustbox` on the device; it must succeed.
pub(crate) fn done(device: &mut Device, words: &[&str]) -> Result<String> {
    let output = trustbox(device, words)?;
    if output.status != 0 {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("trustbox {}: exit status {}\n{}", words.join(" "), output.status, stderr.trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// The same, for a command that answers in JSON.
pub(crate) fn json(device: &mut Device, words: &[&str]) -> Result<Value> {
    let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
    Ok(serde_json::from_str(&done(device, &words)?)?)
}

/// The same, for a command that writes a request.
pub(crate) fn request(device: &mut Device, words: &[&str]) -> Result<Request> {
    Ok(Request::from_json(done(device, words)?.as_bytes())?)
}

/// Runs what must be refused with this number; returns the reason.
pub(crate) fn refused(device: &mut Device, words: &[&str], want: Error) -> Result<String> {
    let words: Vec<&str> = words.iter().copied().chain(["--json"]).collect();
    let shown = words.join(" ");
    let output = trustbox(device, &words)?;
    ensure!(output.status == 1, "trustbox {shown}: exit status {}, not 1", output.status);
    let answer: Value =
        serde_json::from_slice(&output.stdout).with_context(|| format!("trustbox {shown}"))?;
    let error = &answer["error"];
    ensure!(error["number"] == want as u32, "trustbox {shown}: refused with {error}, not with {want}");
    text(error, "text")
}

/// Installs a package that must be refused; returns the reason.
pub(crate) fn install_refused(
    device: &mut Device,
    name: &str,
    package: &[u8],
    want: Error,
) -> Result<String> {
    let path = share(device, name, package)?;
    refused(device, &["install", &path], want)
}

/// Puts a file where the device sees it; returns its path there.
pub(crate) fn share(device: &Device, name: &str, content: &[u8]) -> Result<String> {
    fs::write(device.share().join(name), content)?;
    Ok(format!("/mnt/share/{name}"))
}

/// A text of an answer, long enough to be shown in part.
pub(crate) fn text(value: &Value, name: &str) -> Result<String> {
    let found = value[name].as_str().filter(|text| text.len() >= 16);
    found.map(str::to_owned).with_context(|| format!("no {name} in {value}"))
}

/// A line of the demo.
pub(crate) fn say(text: &str) {
    println!("demo: {text}");
}

fn trustbox(device: &mut Device, words: &[&str]) -> Result<Output> {
    let argv: Vec<&str> = ["trustbox"].iter().chain(words).copied().collect();
    device.exec(&argv)
}
