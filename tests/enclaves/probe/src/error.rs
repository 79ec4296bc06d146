//! Why the probe itself refuses: numbers of its own.

/// The request is not what the command takes.
pub const BAD_REQUEST: u16 = 1;
/// No such command.
pub const UNKNOWN_COMMAND: u16 = 2;
/// Nobody told it to stop.
pub const NEVER_STOPPED: u16 = 3;
/// Nothing is sealed under this name.
pub const NOT_FOUND: u16 = 4;
