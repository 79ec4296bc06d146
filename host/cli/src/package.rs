//! `trustbox install`, `uninstall` and `list`.

use std::fmt::{Display, Write as _};
use std::io::{self, IsTerminal, Write as _};
use std::path::Path;

use serde_json::{Value, json};
use trustbox_api::message::{EnclaveEntry, LegacyRequest, ListReply};
use trustbox_client::TrustBox;
use trustbox_package::words::printable;
use trustbox_package::{MAX_PACKAGE, Package, legacy};

use crate::arguments::Uninstall;
use crate::failure::Failure;
use crate::files;
use crate::output::Output;

/// `version` is for packages without trusted manifest.
pub(crate) fn install(file: &Path, version: Option<u32>, output: Output) -> Result<(), Failure> {
    let name = file.display();
    let bytes = files::read(file, MAX_PACKAGE)?;
    let package = Package::read(&bytes).map_err(|error| Failure::package("install", &name, &error))?;
    let original = original(&package, &name, version)?;
    let mut bar = ProgressBar::new();
    let progress = |done, total| bar.show(done, total);
    let installed = TrustBox::open().and_then(|mut trustbox| match &original {
        None => trustbox.install(&package, progress),
        Some(request) => trustbox.install_legacy(request, package.payload, progress),
    });
    bar.clear();
    let reply = installed.map_err(|error| match &original {
        None => Failure::call("install", &name, &error),
        Some(request) => Failure::original(&name, request, &error),
    })?;
    let (uuid, version) = (reply.uuid.to_string(), reply.version);
    output.result(&json!({"uuid": uuid, "version": version}), &format!("installed {uuid} version {version}"))
}

/// The request for a package without trusted manifest.
fn original(
    package: &Package<'_>,
    name: impl Display,
    version: Option<u32>,
) -> Result<Option<LegacyRequest>, Failure> {
    match (package.trusted(), version) {
        (Ok(_), None) => Ok(None),
        (Ok(_), Some(_)) => Err(Failure::usage(
            format_args!("install: {name}: the package says its version itself"),
            "leave --version out",
        )),
        (Err(_), _) => {
            let request = legacy::request(package, version);
            request.map(Some).map_err(|error| Failure::package("install", &name, &error))
        }
    }
}

pub(crate) fn uninstall(args: &Uninstall, output: Output) -> Result<(), Failure> {
    let Uninstall { uuid, erase, yes } = *args;
    if erase && !yes {
        let would = "the data that this enclave sealed, and its counters, would be lost for ever";
        return Err(Failure::unconfirmed("uninstall", uuid, would));
    }
    let removed = TrustBox::open().and_then(|mut trustbox| trustbox.uninstall(uuid, erase));
    removed.map_err(|error| Failure::call("uninstall", uuid, &error))?;
    let text = if erase { ", its sealed data is lost" } else { "" };
    output.result(&json!({"uuid": uuid.to_string(), "erased": erase}), &format!("uninstalled {uuid}{text}"))
}

pub(crate) fn list(output: Output) -> Result<(), Failure> {
    let reply = TrustBox::open().and_then(|mut trustbox| trustbox.list());
    let reply = reply.map_err(|error| Failure::call("list", "device", &error))?;
    output.result(&list_json(&reply), &list_text(&reply))
}

fn list_json(reply: &ListReply) -> Value {
    let entry = |entry: &EnclaveEntry| {
        json!({
            "uuid": entry.uuid.to_string(),
            "name": entry.name.as_str(),
            "version": entry.version,
            "floor": entry.floor,
            "pending": entry.pending,
        })
    };
    json!({"enclaves": reply.enclaves.iter().map(entry).collect::<Vec<Value>>()})
}

fn list_text(reply: &ListReply) -> String {
    if reply.enclaves.is_empty() {
        return "no enclaves".to_owned();
    }
    let mut text = format!("{:<38}{:>10}{:>10}  name", "uuid", "version", "floor");
    for entry in &reply.enclaves {
        let version = entry.version.map_or("-".to_owned(), |version| version.to_string());
        let pending = if entry.pending { " (install interrupted: install it again)" } else { "" };
        let uuid = entry.uuid.to_string();
        // Writing to a String cannot fail.
        let _ =
            write!(text, "\n{uuid:<38}{version:>10}{:>10}  {}{pending}", entry.floor, printable(&entry.name));
    }
    text
}

/// Progress on standard error, while that is a terminal.
struct ProgressBar {
    visible: bool,
}

impl ProgressBar {
    fn new() -> Self {
        Self { visible: io::stderr().is_terminal() }
    }

    fn show(&mut self, done: usize, total: usize) {
        if self.visible {
            // Progress that cannot be shown is no failure.
            let _ =
                write!(io::stderr(), "\rinstalling {:3} % of {} KiB", 100 * done / total.max(1), total >> 10);
        }
    }

    fn clear(&mut self) {
        if self.visible {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

#[cfg(test)]
mod tests {
    use trustbox_api::{Bytes, Name, Uuid};

    use super::*;
    use crate::failure::Status;

    fn reply() -> ListReply {
        let name = Name::try_from("meter\x1b[2J").unwrap();
        let entry = EnclaveEntry { uuid: Uuid(Bytes([1; 16])), name, version: None, floor: 3, pending: true };
        let mut reply = ListReply { enclaves: Default::default() };
        reply.enclaves.try_push(entry).unwrap();
        reply
    }

    #[test]
    fn list_says_what_is_missing_or_pending() {
        let value = list_json(&reply());
        assert_eq!(value["enclaves"][0]["version"], Value::Null);
        assert_eq!(
            (&value["enclaves"][0]["floor"], &value["enclaves"][0]["pending"]),
            (&json!(3), &json!(true))
        );
        let text = list_text(&reply());
        assert!(text.contains("01010101-0101-0101-0101-010101010101") && text.contains("install it again"));
        assert!(!text.contains('\x1b'));
        assert_eq!(list_text(&ListReply { enclaves: Default::default() }), "no enclaves");
    }

    #[test]
    fn sealed_data_is_not_erased_by_accident() {
        let run = |erase, yes| {
            let args = Uninstall { uuid: Uuid(Bytes([1; 16])), erase, yes };
            uninstall(&args, Output { json: false }).unwrap_err()
        };
        assert_eq!((run(true, false).status, run(true, false).name), (Status::Usage, "Unconfirmed"));
        assert_eq!((run(false, false).status, run(true, true).status), (Status::NoTee, Status::NoTee));
    }

    #[test]
    fn bad_packages_are_refused_before_the_device_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.cpk");
        std::fs::write(&file, b"not a package at all").unwrap();
        let failure = install(&file, None, Output { json: false }).unwrap_err();
        assert_eq!((failure.status, failure.name), (Status::Refused, "BadPackage"));
        assert!(failure.text.contains("a.cpk: magic at offset 0 is"), "{}", failure.text);
        assert_eq!(
            install(&dir.path().join("b.cpk"), None, Output { json: false }).unwrap_err().status,
            Status::Usage
        );
    }
}
