//! The probe's commands. Numbers in requests and replies are decimal text, unless it says otherwise; a `TEE_Result` is
//! `0x` and eight hexadecimal digits, and success is `0x00000000`.

/// Who it is: `uuid=<uuid> version=<n> digest=<hex>`.
pub const IDENTITY: u32 = 1;
/// Spins until it should stop, then says `stopped after <n> ms`.
pub const SPIN: u32 = 2;
/// Panics.
pub const PANIC: u32 = 3;
/// A nonce of 32 bytes, then data; the reply is an attestation token.
pub const REPORT: u32 = 4;
/// `<index> <add>`: adds to a counter, 0 to read it; the reply is its value.
pub const COUNTER: u32 = 5;
/// Text for the activity log; no reply.
pub const NOTE: u32 = 6;
/// A label; the reply is the SHA-256 of the key in hexadecimal digits, never the key.
pub const KEY: u32 = 7;
/// `<name> <value>`: seals a value of at most [`MAX_VALUE`] bytes; no reply.
pub const PUT: u32 = 8;
/// A name; the reply is the value.
pub const GET: u32 = 9;
/// Works for that many milliseconds without asking whether it should stop, then says `busy for <n> ms`.
pub const BUSY: u32 = 10;
/// Sends the TrustBox TA an empty request of that command; the reply is the `TEE_Result`.
pub const FORBIDDEN: u32 = 11;
/// Reads counter 0 with its own encoded ticket, the bit of that number flipped; the reply is as in [`SHOW_TICKET`].
pub const FORGE_TICKET: u32 = 12;
/// The encoded ticket.
pub const TICKET: u32 = 13;
/// Reads counter 0 with the ticket in the request; the reply is the counter's value or the `TEE_Result`.
pub const SHOW_TICKET: u32 = 14;
/// ECDSA P-256 as the TrustBox TA verifies it: key, digest, signature, 64 + 32 + 64 bytes; the reply is the `TEE_Result`.
pub const VERIFY: u32 = 15;
/// RSAES-OAEP as the TrustBox TA opens it, under a key of the request: modulus, public exponent, private exponent, wrapped key,
/// 384 + 3 + 384 bytes and the rest; the reply is the key, or the `TEE_Result` where it does not open.
pub const UNWRAP: u32 = 16;

/// Bytes of a sealed value at most.
pub const MAX_VALUE: usize = 64;
/// [`SPIN`] gives up, and [`BUSY`] accepts no more, after so many milliseconds.
pub const LONGEST: u64 = 60_000;
