//! The header of the enclave: UUID, flags, sizes of stack and heap.

#[cfg(feature = "enclave")]
fn main() -> Result<(), optee_utee_build::Error> {
    let config =
        optee_utee_build::TaConfig::new_default_with_cargo_env("b24f7d83-0e6a-4c59-8a1b-f9d2e3c7650e")?
            .ta_stack_size(16 * 1024)
            .ta_data_size(64 * 1024)
            .trace_level(1);
    optee_utee_build::Builder::new(config).build()
}

#[cfg(not(feature = "enclave"))]
fn main() {}
