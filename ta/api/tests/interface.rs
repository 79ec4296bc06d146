//! `ta/api/INTERFACE.md` is written from the code by this test, which fails where the two differ.
//!
//! Tables come from the data that the dispatcher uses; the wire types, with their comments, from the source of their modules.
//! `UPDATE_INTERFACE=1 cargo test -p trustbox-api --test interface` writes the file anew.

use std::fmt::Write;
use std::path::Path;

use trustbox_api::command::{Caller, Lifecycle, Rule, SessionState, Shape, TABLE};
use trustbox_api::error::Error;
use trustbox_api::log::Channel;
use trustbox_api::statement::Kind;
use trustbox_api::{TRUSTBOX_UUID, limits};

const UPDATE: &str = "UPDATE_INTERFACE=1 cargo test -p trustbox-api --test interface";

const CALLS: &str = "\
Sources: GlobalPlatform TEE Client API 1.0 and TEE Internal Core API 1.3.1. How the TA keeps what it promises:
[SECURITY.md](../SECURITY.md).

## Calls

**Parameters.** A session is opened without parameters. A command takes the four parameters of its shape and no others.
The request is copied once, before it is looked at; so are the data of an install. The size that comes back with the reply's
memref is that of the reply, and 0 after an error; a buffer of `MAX_REPLY` bytes is always long enough. What is forwarded to
an enclave the TA does not read: types, numbers and sizes pass as they are, in both directions.

**Encoding.** Requests and replies are in the [postcard wire format, version 1](https://postcard.jamesmunns.com/wire-format):
the fields of a type in the order in which they are declared below, without names. `u8` is one byte; `u16`, `u32` and `u64`
are varints; `bool` and the tag of an `Option` are one byte; the tag of an `enum` is the number of its variant, counted from
0, as a varint. `Bytes<N>` and `Secret<N>` are N bytes without a length; `&[u8]`, `ArrayVec<T, N>` and `ArrayString<N>` are a
varint length, N at most, and the elements. Bytes left over are an error. A command that names no request takes an empty one,
and one that names no reply gives none. A statement is itself the request.

**Order of the checks.** Command id; types of the parameters; sizes; caller; state of the session; lifecycle of the device;
the request. The first that fails gives the error.

**Results.** An error of the TA is a `TEE_Result` of the table below, with origin `TEEC_ORIGIN_TRUSTED_APP`. An enclave's own
results pass through `invoke-enclave` unchanged, except that none of them can be one of the TA's: that is `EnclaveRefused`.
";

/// Modules with types that cross the boundary.
const MODULES: [(&str, &str); 7] = [
    ("Names and keys", include_str!("../src/key.rs")),
    ("Lifecycle", include_str!("../src/command.rs")),
    ("Messages", include_str!("../src/message.rs")),
    ("Statements", include_str!("../src/statement.rs")),
    ("Manifest", include_str!("../src/manifest.rs")),
    ("Launch", include_str!("../src/launch.rs")),
    ("Log", include_str!("../src/log.rs")),
];

#[test]
fn the_file_is_what_the_code_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("INTERFACE.md");
    let code = document();
    if std::env::var_os("UPDATE_INTERFACE").is_some() {
        std::fs::write(&path, &code).expect("INTERFACE.md can be written");
    }
    let file = std::fs::read_to_string(&path).unwrap_or_default();
    let same = file.lines().zip(code.lines()).take_while(|(file, code)| file == code).count();
    assert!(file == code, "{}:{} is not what the code says\nhelp: {UPDATE}", path.display(), same + 1);
}

#[test]
fn links_become_names() {
    assert_eq!(plain("see [`crate::a::B`], [`C::d`] and [`e`]."), "see `B`, `C::d` and `e`.");
}

#[test]
fn only_what_is_encoded_is_shown() {
    let source = "use a;\n\n/// [`crate::b::C`].\n#[derive(Serialize)]\npub struct A {\n    #[serde(borrow)]\n    pub b: u8,\n}\n\n\
                  /// B.\n#[derive(Clone)]\npub enum B {\n    C,\n}\n\n/// D.\npub type D = u8;\n";
    assert_eq!(wire_types(source), "/// `C`.\nstruct A {\n    b: u8,\n}\n\n/// D.\ntype D = u8;\n");
}

fn document() -> String {
    let generated = format!("Generated from the code, not to be edited: `{UPDATE}` writes it anew.");
    let mut out = format!("# Interface of the TrustBox TA\n\nUUID `{TRUSTBOX_UUID}`. {generated}\n\n{CALLS}");
    out += &table(
        "Commands",
        &["id", "name", "what", "lifecycle", "caller", "session", "shape"],
        TABLE,
        command,
    );
    out += &table("Shapes", &["shape", "first", "second", "third", "fourth"], &Shape::ALL, shape);
    out += &table("Statements", &["tag", "kind", "signed by", "audience", "sequence"], &Kind::ALL, kind);
    out += &table("Channels of the log", &["tag", "name"], &Channel::ALL, channel);
    out += &table("Errors", &["number", "TEE_Result", "name", "text", "help"], Error::ALL, error);
    out += &table("Limits", &["name", "value", "what"], limits::ALL, limit);
    out += "\n## Types\n";
    let modules = MODULES.iter().map(|(title, source)| {
        format!("\n### {title}\n\n{}\n```rust\n{}```\n", introduction(source), wire_types(source))
    });
    out + &modules.collect::<String>()
}

fn table<R, const N: usize>(
    title: &str,
    columns: &[&str; N],
    rows: &[R],
    cells: fn(&R) -> [String; N],
) -> String {
    let mut out = format!("\n## {title}\n\n| {} |\n|{}\n", columns.join(" | "), " --- |".repeat(N));
    for row in rows {
        let _ = writeln!(out, "| {} |", cells(row).join(" | "));
    }
    out
}

fn command(rule: &Rule) -> [String; 7] {
    let lifecycle =
        if rule.lifecycle == Lifecycle::ALL { "any" } else { &names(rule.lifecycle, |state| state.name()) };
    let session =
        if rule.session == SessionState::ALL { "any" } else { &names(rule.session, |state| state.name()) };
    [
        (rule.command as u32).to_string(),
        rule.name.to_owned(),
        plain(rule.about.trim()),
        lifecycle.to_owned(),
        names(rule.caller, Caller::name),
        session.to_owned(),
        format!("{:?}", rule.shape),
    ]
}

fn names<T: Copy>(items: &[T], name: fn(T) -> &'static str) -> String {
    items.iter().map(|item| name(*item)).collect::<Vec<_>>().join(", ")
}

fn shape(shape: &Shape) -> [String; 5] {
    let [first, second, third, fourth] = shape.parameters().map(str::to_owned);
    [format!("{shape:?}"), first, second, third, fourth]
}

fn kind(kind: &Kind) -> [String; 5] {
    let text = [kind.signer(), kind.audience(), kind.sequence()];
    let [signer, audience, sequence] = text.map(str::to_owned);
    [(*kind as u32).to_string(), format!("`{kind:?}`"), signer, audience, sequence]
}

fn channel(channel: &Channel) -> [String; 2] {
    [(*channel as u32).to_string(), channel.name().to_owned()]
}

fn error(error: &Error) -> [String; 5] {
    let [text, help] = [error.text(), error.help()].map(str::to_owned);
    [
        (*error as u32).to_string(),
        format!("`{:#010x}`", error.code()),
        format!("`{}`", error.name()),
        text,
        help,
    ]
}

fn limit((name, value, about): &(&str, u64, &str)) -> [String; 3] {
    [format!("`{name}`"), value.to_string(), plain(about.trim())]
}

/// What a module says of itself.
fn introduction(source: &str) -> String {
    source.lines().map_while(|line| line.strip_prefix("//!")).map(|line| plain(line.trim()) + "\n").collect()
}

/// Every type of a module that is encoded, as declared, and the constants that it needs.
fn wire_types(source: &str) -> String {
    source.split("\n\n").filter_map(wire_type).collect::<Vec<_>>().join("\n")
}

/// Declarations are parted by empty lines, but for aliases and constants, which stand together.
fn wire_type(paragraph: &str) -> Option<String> {
    let declares = |what: &str| paragraph.lines().any(|line| line.starts_with(what));
    let derived = paragraph.contains("Serialize") && (declares("pub struct ") || declares("pub enum "));
    let lines = paragraph.lines().filter(|line| !line.trim_start().starts_with("#["));
    let shown = lines.map(|line| plain(&line.replace("pub ", "")) + "\n").collect();
    (derived || declares("pub type ") || declares("pub const ")).then_some(shown)
}

/// Links of rustdoc as names.
fn plain(text: &str) -> String {
    let mut parts = text.split("[`");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (link, rest) = part.split_once("`]").unwrap_or((part, ""));
        let name = if link.starts_with("crate::") { link.rsplit("::").next().unwrap_or(link) } else { link };
        let _ = write!(out, "`{name}`{rest}");
    }
    out
}
