//! `build/tb inspect`: what is in a file, down to its bytes. Shows; whether it is to be believed is for `tb verify`.

pub(crate) mod boot;
mod dump;
pub(crate) mod package;
pub(crate) mod trusted_application;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::Value;
use trustbox_package::words::{spaced, text};

use crate::recognise::recognise;

/// Shows a package, a signed TA or a boot image: streams, sizes, signatures, SBOM, and a map of its bytes.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to show; told by its first bytes
    file: PathBuf,
    /// Writes the package's SBOM to a file
    #[arg(long, value_name = "FILE")]
    sbom_out: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// What else is wanted.
pub(crate) struct Options {
    pub(crate) sbom_out: Option<PathBuf>,
}

/// What a file is. The last part is text for people only: a map of the bytes.
pub(crate) struct Inspection {
    pub(crate) description: Value,
    pub(crate) map: Vec<String>,
    /// What is wrong with it, after as much as could be shown.
    pub(crate) damage: Option<String>,
}

/// Runs `tb inspect`; a file that cannot be taken apart is shown as far as possible, with exit status 1.
pub(crate) fn run(args: Args) -> Result<ExitCode> {
    let kind = recognise(&args.file)?;
    let options = Options { sbom_out: args.sbom_out };
    let inspection = (kind.inspect)(&args.file, &options)?;
    if args.json {
        println!("{:#}", inspection.description);
    } else {
        println!("{}: {}", args.file.display(), kind.name);
        show(&inspection.description);
        println!("\nmap");
        inspection.map.iter().for_each(|line| println!("{line}"));
    }
    match inspection.damage {
        None => Ok(ExitCode::SUCCESS),
        Some(damage) => {
            eprintln!("error: {}: {damage}", args.file.display());
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Objects are sections, lists of objects tables.
fn show(description: &Value) {
    let Value::Object(fields) = description else { return };
    for (name, value) in fields {
        match value {
            Value::Object(section) => {
                println!("\n{}", spaced(name));
                section.iter().for_each(|(name, value)| show_field(name, value));
            }
            Value::Array(rows) if rows.first().is_some_and(Value::is_object) => {
                println!("\n{}", spaced(name));
                show_table(rows);
            }
            Value::Null => {}
            _ => println!("{:<22}{}", spaced(name), text(value)),
        }
    }
}

fn show_field(name: &str, value: &Value) {
    match value {
        Value::Array(rows) if rows.first().is_some_and(Value::is_object) => {
            println!("  {}", spaced(name));
            show_table(rows);
        }
        Value::Object(parts) => {
            parts.iter().for_each(|(part, value)| show_field(&format!("{name}.{part}"), value))
        }
        Value::Null => {}
        _ => println!("  {:<38}{}", spaced(name), text(value)),
    }
}

fn show_table(rows: &[Value]) {
    let Some(Value::Object(first)) = rows.first() else { return };
    let names: Vec<&String> = first.keys().collect();
    let cell = |row: &Value, name: &str| match &row[name] {
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) | Value::Null => String::new(),
        value => text(value),
    };
    let width = |name: &str| {
        let cells = rows.iter().map(|row| cell(row, name).chars().count());
        cells.chain([name.len()]).max().unwrap_or_default()
    };
    let widths: Vec<usize> = names.iter().map(|name| width(name)).collect();
    let line = |cells: Vec<String>| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        println!("  {}", padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    line(names.iter().map(|name| spaced(name)).collect());
    rows.iter().for_each(|row| line(names.iter().map(|name| cell(row, name)).collect()));
}
