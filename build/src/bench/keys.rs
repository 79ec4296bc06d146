//! The key service beside the cryptography that it does, taken by a program of its own: `keys/benches/releases.rs`.

use anyhow::{Context, Result};
use serde::Deserialize;

use super::measure::Measured;
use crate::builder::Builder;
use crate::tool::Tool;

#[derive(Deserialize)]
struct Line {
    name: String,
    value: f64,
    unit: String,
    reference: Option<f64>,
}

/// Figures and their references.
pub(super) fn figures(builder: &Builder) -> Result<(Vec<Measured>, Vec<Measured>)> {
    let tool: Tool = builder.cargo().args(["bench", "--quiet", "-p", "trustbox-keys", "--bench", "releases"]);
    let text = tool.help("the Debian package postgresql is needed").output()?;
    let (mut ours, mut references) = (Vec::new(), Vec::new());
    for line in text.lines().filter(|line| line.starts_with('{')) {
        let Line { name, value, unit, reference } =
            serde_json::from_str(line).with_context(|| format!("figure {line:?}"))?;
        references.extend(reference.map(|value| Measured { name: name.clone(), value, unit: unit.clone() }));
        ours.push(Measured { name, value, unit });
    }
    Ok((ours, references))
}
