//! The header of the enclave: UUID, flags, sizes of stack and heap.

#[cfg(feature = "enclave")]
fn main() -> Result<(), optee_utee_build::Error> {
    let config =
        optee_utee_build::TaConfig::new_default_with_cargo_env("3a8d6f1e-52c4-4b7e-9c0d-7e1f5a2b8c46")?
            .ta_stack_size(16 * 1024)
            .ta_data_size(64 * 1024)
            .trace_level(1);
    optee_utee_build::Builder::new(config).build()
}

#[cfg(not(feature = "enclave"))]
fn main() {}
