//! `trustbox man`: manual pages, generated from the command line's grammar.

use std::path::Path;

use clap::CommandFactory;
use clap_mangen::Man;
use serde_json::json;

use crate::arguments::Cli;
use crate::failure::Failure;
use crate::output::Output;

/// Writes all pages to a folder, or the first one to standard output.
pub(crate) fn run(dir: Option<&Path>, output: Output) -> Result<(), Failure> {
    let Some(dir) = dir else {
        let mut page = Vec::new();
        let rendered = Man::new(Cli::command()).render(&mut page);
        rendered.map_err(|error| Failure::file("write", "manual page", error))?;
        return output.bytes(&page);
    };
    let path = dir.display();
    let written = std::fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(Cli::command(), dir));
    written.map_err(|error| Failure::file("write", &path, error))?;
    output.result(&json!({"dir": path.to_string()}), &format!("manual pages written to {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let base = tempfile::tempdir().unwrap();
        let dir = base.path().join("man");
        run(Some(&dir), Output { json: true }).unwrap();
        assert!(dir.join("trustbox.1").exists() && dir.join("trustbox-key-destroy.1").exists());
        for command in Cli::command().get_subcommands() {
            assert!(dir.join(format!("trustbox-{}.1", command.get_name())).exists());
        }
    }
}
