//! 32xx: upgrade and removal.

use trustbox_api::key::Uuid;
use trustbox_api::message::{OpenRequest, UninstallRequest};
use trustbox_api::{Command, Error};

use crate::case::{Case, Stop};
use crate::context::{Context, Image, optee_only, spare_uuid};
use crate::forge::unsigned_image;
use crate::requests::{encode, install, list, send};
use crate::target::Code;
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        id: 3201,
        name: "what is uninstalled is gone, its version floor stays",
        invariants: &["INV-5", "INV-6"],
        run: uninstall,
    },
    Case {
        id: 3202,
        name: "a failed upgrade leaves the old version working",
        invariants: &["INV-5", "INV-6"],
        run: failed_upgrade,
    },
];

/// Asks for a removal.
pub fn remove(context: &Context<'_>, uuid: Uuid, erase: bool) -> Result<Result<(), Code>, Stop> {
    let request = encode(&UninstallRequest { uuid, erase });
    Ok(send(context.connect()?.as_mut(), Command::Uninstall, &request))
}

fn uninstall(context: &mut Context<'_>) -> Result<(), Stop> {
    context.installed()?;
    let Image { uuid, version, .. } = context.image.clone();
    check_eq!(remove(context, spare_uuid(), false)?, Err(Error::NotInstalled.into()), "what never was");
    check_eq!(remove(context, uuid, false)?, Ok(()), "the enclave");
    check_eq!(remove(context, uuid, false)?, Err(Error::NotInstalled.into()), "a second time");
    let mut link = context.connect()?;
    let open = send(link.as_mut(), Command::OpenEnclave, &encode(&OpenRequest { uuid }));
    check_eq!(open, Err(Error::NotInstalled.into()), "launched");
    if let Some(answer) = context.target.connect_to(&uuid.to_string()) {
        check_eq!(answer, Err::<(), _>(Code::NOT_FOUND), "OP-TEE still knows it");
    }
    let entries = list(link.as_mut())?.enclaves;
    let entry = entries.iter().find(|entry| entry.uuid == uuid);
    check!(
        entry.is_some_and(|entry| entry.version.is_none() && entry.floor == version),
        "the floor is gone: {entry:?}"
    );
    let older = Image { bytes: unsigned_image(&uuid, version - 1, &[1; 64]), uuid, version: version - 1 };
    let package = context.package(&older);
    let answer = install(link.as_mut(), &package.0, &package.1);
    check_eq!(answer, Err(Error::VersionRollback.into()), "an older version");
    check_eq!(remove(context, uuid, true)?, Ok(()), "what is left of it");
    check_eq!(remove(context, uuid, true)?, Err(Error::NotInstalled.into()), "nothing is left");
    context.installed()
}

fn failed_upgrade(context: &mut Context<'_>) -> Result<(), Stop> {
    optee_only(context)?;
    context.installed()?;
    let Image { uuid, version, .. } = context.image.clone();
    let newer = Image { bytes: unsigned_image(&uuid, version + 1, &[1; 64]), uuid, version: version + 1 };
    let package = context.package(&newer);
    let mut link = context.connect()?;
    let before = list(link.as_mut())?;
    let answer = install(link.as_mut(), &package.0, &package.1);
    check_eq!(answer, Err(Error::ImageRefused.into()), "an image that OP-TEE refuses");
    check_eq!(list(link.as_mut())?, before, "what is installed");
    send(link.as_mut(), Command::OpenEnclave, &encode(&OpenRequest { uuid }))?;
    Ok(())
}
