//! The templates: where each goes, and what it holds.

use crate::project::Language;

/// Path in the project, template, whether it is a program.
type File = (&'static str, &'static str, bool);

const COMMON: [File; 9] = [
    ("README.md", include_str!("template/README.md"), false),
    ("package.toml", include_str!("template/package.toml"), false),
    (".gitignore", include_str!("template/gitignore"), false),
    ("tb", include_str!("template/tb"), true),
    ("ci", include_str!("template/ci"), true),
    (".github/workflows/enclave.yml", include_str!("template/github.yml"), false),
    ("azure-pipelines.yml", include_str!("template/azure-pipelines.yml"), false),
    (".vscode/tasks.json", include_str!("template/vscode-tasks.json"), false),
    (".vscode/launch.json", include_str!("template/vscode-launch.json"), false),
];

const RUST: [File; 9] = [
    ("Cargo.toml", include_str!("template/rust/Cargo.toml"), false),
    ("interface/Cargo.toml", include_str!("template/rust/interface/Cargo.toml"), false),
    ("interface/src/lib.rs", include_str!("template/rust/interface/src_lib.rs"), false),
    ("enclave/Cargo.toml", include_str!("template/rust/enclave/Cargo.toml"), false),
    ("enclave/build.rs", include_str!("template/rust/enclave/build.rs"), false),
    ("enclave/src/lib.rs", include_str!("template/rust/enclave/src_lib.rs"), false),
    ("enclave/src/main.rs", include_str!("template/rust/enclave/src_main.rs"), false),
    ("host/Cargo.toml", include_str!("template/rust/host/Cargo.toml"), false),
    ("host/src/main.rs", include_str!("template/rust/host/src_main.rs"), false),
];

const C: [File; 6] = [
    ("enclave/Makefile", include_str!("template/c/Makefile"), false),
    ("enclave/sub.mk", include_str!("template/c/sub.mk"), false),
    ("enclave/user_ta_header_defines.h", include_str!("template/c/user_ta_header_defines.h"), false),
    ("enclave/enclave.c", include_str!("template/c/enclave.c"), false),
    ("host/run", include_str!("template/c/run"), true),
    ("host/test", include_str!("template/c/test"), true),
];

/// What README.md says of a project in Rust.
pub(super) const RUST_LAYOUT: &str = "\
| folder | what |
| --- | --- |
| `interface` | the trait that both sides share: commands, messages, errors |
| `enclave` | the enclave; `src/lib.rs` is what tests run on this machine, `src/main.rs` its entry points |
| `host` | the program in Linux; it never sees the enclave's code |
| `package.toml` | what the package says: name, version, class key |

The SDK's guide is `ta/enclave/GUIDE.md` of the checkout; `cargo doc --open` shows every item with an example.
";
pub(super) const RUST_TEST_LINE: &str =
    "    cargo test                # the enclave's tests, on this machine, in seconds\n";

/// What README.md says of a project in C.
pub(super) const C_LAYOUT: &str = "\
| file | what |
| --- | --- |
| `enclave/enclave.c` | the enclave, a trusted application of the GlobalPlatform TEE Internal Core API |
| `host/run` | the host program, a shell script on the device |
| `host/test` | the tests, on the device |
| `package.toml` | what the package says: name, version, class key |

The rules for enclaves in C are at the top of `ta/enclave/c/trustbox_enclave.h` in the checkout.
";
pub(super) const C_TEST_LINE: &str = "    ./tb run --tests          # the enclave's tests, on the device\n";

/// The files of a project.
pub(super) fn of(language: Language) -> Vec<File> {
    let own: &[File] = match language {
        Language::Rust => &RUST,
        Language::C => &C,
    };
    COMMON.iter().chain(own).copied().collect()
}
