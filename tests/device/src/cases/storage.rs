//! 6xxx: Linux owns the files of secure storage and may do with them what it likes.

use std::fs;
use std::path::{Path, PathBuf};

use trustbox_api::message::{InfoReply, ListReply, OpenRequest};
use trustbox_api::{Command, Error};

use crate::case::{Case, Stop};
use crate::context::Context;
use crate::hostile::act;
use crate::hostile::files::put;
use crate::requests::{encode, info, install, list, send};
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        id: 6001,
        name: "damaged storage is an error and comes back",
        invariants: &["INV-6", "INV-10"],
        run: damaged,
    },
    Case {
        id: 6002,
        name: "missing storage is an error and comes back",
        invariants: &["INV-6", "INV-10"],
        run: missing,
    },
    Case {
        id: 6003,
        name: "a hidden enclave is damage and comes back",
        invariants: &["INV-5", "INV-6"],
        run: hidden_enclave,
    },
    Case {
        id: 6011,
        name: "flipped bits of any file are noticed, and go with the file put right",
        invariants: &["INV-6", "INV-10"],
        run: |context| act(context, 6011, SAMPLES),
    },
    Case {
        id: 6012,
        name: "files cut short are noticed, and go with the file put right",
        invariants: &["INV-6", "INV-10"],
        run: |context| act(context, 6012, SAMPLES),
    },
    Case {
        id: 6013,
        name: "deleted files are noticed, and go with the file put right",
        invariants: &["INV-6", "INV-10"],
        run: |context| act(context, 6013, SAMPLES),
    },
    Case {
        id: 6014,
        name: "files that change places are noticed",
        invariants: &["INV-6", "INV-10"],
        run: |context| act(context, 6014, SAMPLES),
    },
    Case {
        id: 6015,
        name: "an old file among new ones is noticed",
        invariants: &["INV-5", "INV-6"],
        run: |context| act(context, 6015, SAMPLES),
    },
];

/// Files that a case harms in its way; campaigns harm as many as somebody likes.
const SAMPLES: u32 = 3;

/// The files of all enclaves, taken away and brought back.
fn hidden_enclave(context: &mut Context<'_>) -> Result<(), Stop> {
    let folder = context.target.storage().ok_or(Stop::Skipped("there are no files without Linux"))?;
    context.installed()?;
    let open = encode(&OpenRequest { uuid: context.image.uuid });
    let launch = |context: &Context<'_>| {
        let mut link = context.connect()?;
        Ok::<_, Stop>(send(link.as_mut(), Command::OpenEnclave, &open))
    };
    check_eq!(launch(context)?, Ok(()), "before");
    let before = view(context)?;
    let files = enclave_files(folder)?;
    check!(!files.is_empty(), "no file of an enclave in {}", folder.display());
    let hide = |path: &Path| path.with_extension("hidden");
    for path in &files {
        fs::rename(path, hide(path))?;
    }
    let hidden = launch(context);
    let package = context.package(&context.image);
    let again = context.connect().map(|mut link| install(link.as_mut(), &package.0, &package.1));
    for path in &files {
        fs::rename(hide(path), path)?;
    }
    check!(hidden?.is_err(), "launched from nowhere");
    check!(again?.is_err(), "installed over an enclave that is hidden");
    check_eq!(launch(context)?, Ok(()), "with the file back");
    check_eq!(view(context)?, before, "with the file back");
    Ok(())
}

/// What OP-TEE's TA database holds.
fn enclave_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let paths = entries.into_iter().map(|entry| entry.path());
    Ok(paths.filter(|path| path.extension().is_some_and(|extension| extension == "ta")).collect())
}

type View = (InfoReply, ListReply);

/// Everything a device says of itself.
fn view(context: &Context<'_>) -> Result<View, Stop> {
    let mut link = context.connect()?;
    Ok((info(link.as_mut())?, list(link.as_mut())?))
}

fn damaged(context: &mut Context<'_>) -> Result<(), Stop> {
    each_file(context, |path| {
        let mut content = fs::read(path)?;
        content.iter_mut().for_each(|byte| *byte ^= 0x55);
        fs::write(path, content)
    })
}

fn missing(context: &mut Context<'_>) -> Result<(), Stop> {
    each_file(context, |path| fs::remove_file(path))
}

/// Harms one file after the other: the device says the same as before or refuses, and nothing else; with the file back,
/// it is as it was.
fn each_file(context: &mut Context<'_>, harm: fn(&Path) -> std::io::Result<()>) -> Result<(), Stop> {
    context.installed()?;
    let folder = context.target.storage().ok_or(Stop::Skipped("there are no files without Linux"))?;
    let before = view(context)?;
    let mut refusals = 0;
    for path in objects(folder)? {
        let good = fs::read(&path)?;
        harm(&path)?;
        let harmed = view(context);
        put(&path, &good)?;
        let shown = path.display();
        match harmed {
            Ok(view) => check_eq!(view, before, "with {shown} harmed"),
            Err(Stop::Failed(why)) => {
                refusals += 1;
                check!(is_refusal(&why), "with {shown} harmed: {why}");
            }
            Err(skipped) => return Err(skipped),
        }
        check_eq!(view(context)?, before, "with {shown} back");
    }
    check!(refusals >= 3, "only {refusals} files matter, but there are three records");
    Ok(())
}

fn is_refusal(why: &str) -> bool {
    [Error::StorageCorrupt, Error::Storage].iter().any(|error| why.contains(error.name()))
}

/// The files of objects. The directory file is OP-TEE's own: without a monotonic counter it starts anew where that one
/// is damaged, which is the same as an empty storage.
fn objects(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let is_object = |path: &PathBuf| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().bytes().all(|byte| byte.is_ascii_hexdigit()))
    };
    Ok(entries
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| path.is_file() && is_object(path))
        .collect())
}
