//! The header of the enclave: UUID, flags, sizes of stack and heap.

#[cfg(feature = "optee")]
fn main() -> Result<(), optee_utee_build::Error> {
    let config = optee_utee_build::TaConfig::new_default_with_cargo_env("{{uuid}}")?
        .ta_stack_size(16 * 1024)
        .ta_data_size(64 * 1024)
        .trace_level(1);
    optee_utee_build::Builder::new(config).build()
}

#[cfg(not(feature = "optee"))]
fn main() {}
