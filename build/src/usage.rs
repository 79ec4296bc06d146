//! Wrong usage that only shows after the command line was read: it ends with the exit status that clap has for the rest.

use std::fmt;

/// Something that the caller must say otherwise.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}
