//! `build/tb`: the program behind the bootstrap script. Everything is in the library, so that other tools can use it.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    trustbox_build::cli::main()
}
