//! The header of the enclave: UUID, flags, sizes of stack and heap.

#[cfg(feature = "enclave")]
fn main() -> Result<(), optee_utee_build::Error> {
    let config =
        optee_utee_build::TaConfig::new_default_with_cargo_env("5f0e6a52-7c0b-4a40-8d7e-0c1d6b3a9f21")?
            .ta_stack_size(16 * 1024)
            .ta_data_size(32 * 1024)
            .trace_level(1);
    optee_utee_build::Builder::new(config).build()
}

#[cfg(not(feature = "enclave"))]
fn main() {}
