//! All targets. A new one is a file here with `pub fn targets() -> Vec<Target>`, and its name in the list below.

use crate::target::Target;

macro_rules! list {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {
        $($(#[doc = $doc])+ pub mod $name;)+

        /// Every target, in the order of the list.
        pub fn all() -> Vec<Target> {
            [$($name::targets()),+].into_iter().flatten().collect()
        }
    };
}

list! {
    /// Each command with any request.
    requests;
    /// Many commands in a row.
    sequence;
    /// Statements, as files and as the TA reads them.
    statement;
    /// Manifests of packages.
    manifest;
    /// Packages and their parts, as files.
    package;
    /// The activity log.
    log;
    /// Attestation tokens.
    token;
    /// What storage holds.
    records;
    /// What strangers send to the key service.
    key_service;
}

/// The target of a name.
pub fn find(name: &str) -> Option<Target> {
    all().into_iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_every_command_has_a_target() {
        let targets = super::all();
        let names: BTreeSet<_> = targets.iter().map(|target| target.name.as_str()).collect();
        assert_eq!(names.len(), targets.len());
        assert!(trustbox_api::command::TABLE.iter().all(|rule| names.contains(rule.name)));
    }
}
