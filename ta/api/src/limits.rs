//! Fixed upper limits (INV-11). Reaching one is a numbered error, never a crash.

macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $value:expr;)+) => {
        $($(#[doc = $doc])+ pub const $name: $type = $value;)+

        /// Every limit: name, value, what it counts.
        pub const ALL: &[(&str, u64, &str)] = &[$((stringify!($name), $name as u64, concat!($($doc),+))),+];
    };
}

limits! {
    /// Bytes of a request message; also of a signed statement.
    MAX_REQUEST: usize = 4096;
    /// Bytes of a reply message.
    MAX_REPLY: usize = 4096;
    /// Bytes of the payload of a signed statement.
    MAX_STATEMENT: usize = 2048;
    /// Bytes of one install chunk.
    MAX_CHUNK: usize = 1 << 20;
    /// Bytes of an enclave image (the signed OP-TEE file); secure memory may run out earlier, see `info`.
    MAX_IMAGE: u32 = 16 << 20;
    /// Bytes of an enclave's name in UTF-8.
    MAX_NAME: usize = 64;
    /// Bytes of a class key's name in UTF-8.
    MAX_KEY_NAME: usize = 40;
    /// Class keys held by a device, versions counted separately.
    MAX_CLASS_KEYS: usize = 16;
    /// Enclaves known to a device, uninstalled ones included since their version floor stays.
    MAX_ENCLAVES: usize = 16;
    /// Publishers authorised at a time.
    MAX_PUBLISHERS: usize = 8;
    /// Application UUIDs in one publisher's authorisation.
    MAX_PUBLISHER_UUIDS: usize = 16;
    /// Releasers authorised at a time.
    MAX_RELEASERS: usize = 4;
    /// Class key names in one releaser's authorisation.
    MAX_RELEASER_KEYS: usize = 16;
    /// Revokers authorised at a time.
    MAX_REVOKERS: usize = 4;
    /// Items in one revocation statement.
    MAX_REVOCATION_ITEMS: usize = 16;
    /// How far one statement may raise the sequence of its kind.
    MAX_SEQUENCE_STEP: u64 = 1 << 48;
    /// Keys of publishers, releasers and revokers that a device remembers as revoked.
    MAX_REVOKED_KEYS: usize = 32;
    /// Enclave UUIDs with a revocation floor.
    MAX_REVOKED_ENCLAVES: usize = 16;
    /// Class key names with a revocation floor.
    MAX_REVOKED_CLASS_KEYS: usize = 16;
    /// Application UUIDs whose packages need no trusted manifest, by policy.
    MAX_LEGACY_UUIDS: usize = 8;
    /// Outstanding key-import nonces; a fifth replaces the oldest.
    MAX_NONCES: usize = 4;
    /// Bytes of a class key wrapped by the largest device key, RSA-4096.
    MAX_WRAPPED_KEY: usize = 512;
    /// Bytes of the device key as DER SubjectPublicKeyInfo, RSA-4096.
    MAX_DEVICE_KEY: usize = 560;
    /// Sessions from the normal world at a time.
    MAX_SESSIONS: usize = 8;
    /// Sessions from enclaves at a time; OP-TEE runs as many threads.
    MAX_ENCLAVE_SESSIONS: usize = 4;
    /// Monotonic counters of an enclave.
    MAX_COUNTERS: usize = 4;
    /// Bytes of an enclave's own data in a report.
    MAX_REPORT_DATA: usize = 64;
    /// Bytes of the nonce of an attestation token.
    MAX_TOKEN_NONCE: usize = 64;
    /// Bytes of an enclave's note in the log.
    MAX_NOTE: usize = 64;
    /// Bytes of the label of an enclave's key.
    MAX_LABEL: usize = 32;
    /// Entries of one channel of the log; more push the oldest out.
    MAX_LOG_ENTRIES: usize = 24;
    /// Different events counted since boot; further ones count nowhere.
    MAX_OBSERVATIONS: usize = 32;
}
