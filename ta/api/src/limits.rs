//! Fixed upper limits (INV-11). Reaching one is a numbered error, never a crash.

/// Bytes of a request message; also of a signed statement.
pub const MAX_REQUEST: usize = 4096;
/// Bytes of a reply message.
pub const MAX_REPLY: usize = 4096;
/// Bytes of the body of a signed statement.
pub const MAX_STATEMENT: usize = 2048;
/// Bytes of one install chunk.
pub const MAX_CHUNK: usize = 1 << 20;
/// Bytes of an enclave image (the signed OP-TEE file); secure memory may run out earlier.
pub const MAX_IMAGE: u32 = 16 << 20;
/// Bytes of an enclave's name in UTF-8.
pub const MAX_NAME: usize = 64;
/// Bytes of a class key's name in UTF-8.
pub const MAX_KEY_NAME: usize = 32;
/// Class keys held by a device, versions counted separately.
pub const MAX_CLASS_KEYS: usize = 16;
/// Enclaves known to a device, uninstalled ones included since their version floor stays.
pub const MAX_ENCLAVES: usize = 16;
/// Publishers authorised at a time.
pub const MAX_PUBLISHERS: usize = 8;
/// Application UUIDs in one publisher's authorisation.
pub const MAX_PUBLISHER_UUIDS: usize = 16;
/// Releasers authorised at a time.
pub const MAX_RELEASERS: usize = 4;
/// Class key names in one releaser's authorisation.
pub const MAX_RELEASER_KEYS: usize = 16;
/// Outstanding key-import nonces; a fifth replaces the oldest.
pub const MAX_NONCES: usize = 4;
/// Bytes of a class key wrapped by the largest device key, RSA-4096.
pub const MAX_WRAPPED_KEY: usize = 512;
/// Bytes of the device key as DER SubjectPublicKeyInfo, RSA-4096.
pub const MAX_DEVICE_KEY: usize = 560;
/// Sessions to the TA at a time.
pub const MAX_SESSIONS: usize = 8;
