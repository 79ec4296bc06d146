//! The header of the enclave: UUID, flags, sizes of stack and heap.

#[cfg(feature = "enclave")]
fn main() -> Result<(), optee_utee_build::Error> {
    let config =
        optee_utee_build::TaConfig::new_default_with_cargo_env("9d1f3c52-6b7e-4f0a-8a41-3c5e2b7d9f60")?
            .ta_stack_size(16 * 1024)
            .ta_data_size(32 * 1024)
            .trace_level(1);
    optee_utee_build::Builder::new(config).build()
}

#[cfg(not(feature = "enclave"))]
fn main() {}
