//! 31xx: nothing unsigned, unauthorised, altered or old gets installed.

use trustbox_api::key::{KeyRef, Name, Uuid};
use trustbox_api::limits::{MAX_CHUNK, MAX_IMAGE};
use trustbox_api::message::{EnclaveEntry, Version};
use trustbox_api::statement::{Audience, Header};
use trustbox_api::{Bytes, Command, Error, TRUSTBOX_UUID};

use crate::case::{Case, Stop};
use crate::context::{Context, Image, refuse_damaged, spare_uuid};
use crate::forge::{self, public, stranger, unsigned_image};
use crate::package::{Draft, Package};
use crate::requests::{install, list, send, send_chunk};
use crate::{check, check_eq};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        id: 3101,
        name: "a good package installs, again and again",
        invariants: &["INV-2", "INV-3"],
        run: good,
    },
    Case {
        id: 3102,
        name: "only the authorised publisher, for its UUIDs",
        invariants: &["INV-2", "INV-3"],
        run: unauthorised,
    },
    Case {
        id: 3103,
        name: "a damaged manifest is refused",
        invariants: &["INV-2", "INV-10"],
        run: manifest_damaged,
    },
    Case {
        id: 3104,
        name: "a flipped bit of the ciphertext is refused",
        invariants: &["INV-2"],
        run: ciphertext_flipped,
    },
    Case {
        id: 3105,
        name: "a package cut short is refused",
        invariants: &["INV-2", "INV-10"],
        run: cut_short,
    },
    Case {
        id: 3106,
        name: "another class key is refused",
        invariants: &["INV-1", "INV-2"],
        run: other_class_key,
    },
    Case {
        id: 3107,
        name: "a content key does not move between manifests",
        invariants: &["INV-1", "INV-2"],
        run: moved_content_key,
    },
    Case {
        id: 3108,
        name: "manifests that break their own rules are refused",
        invariants: &["INV-2", "INV-11"],
        run: broken_rules,
    },
    Case {
        id: 3109,
        name: "the image must be what the manifest says",
        invariants: &["INV-2", "INV-3"],
        run: other_image,
    },
    Case {
        id: 3110,
        name: "OP-TEE's own signature is still needed",
        invariants: &["INV-3", "INV-6"],
        run: unsigned,
    },
    Case { id: 3111, name: "a lower version is refused", invariants: &["INV-5"], run: rollback },
    Case {
        id: 3112,
        name: "chunks come once, in order, within the size",
        invariants: &["INV-10", "INV-11"],
        run: chunks,
    },
    Case {
        id: 3113,
        name: "one install at a time, given up when its session ends",
        invariants: &["INV-6", "INV-11"],
        run: one_at_a_time,
    },
    Case {
        id: 3114,
        name: "the plaintext must be what the publisher signed",
        invariants: &["INV-2"],
        run: other_plaintext,
    },
];

/// Tries a package that must be refused and change nothing.
fn refuse(context: &Context<'_>, what: &str, package: &Package, want: Error) -> Result<(), Stop> {
    let mut link = context.connect()?;
    let before = list(link.as_mut())?;
    let answer = install(link.as_mut(), &package.0, &package.1);
    check_eq!(answer, Err(want.into()), "{what}");
    check_eq!(list(link.as_mut())?, before, "what is installed, after {what}");
    Ok(())
}

fn draft(context: &Context<'_>) -> Draft {
    context.draft(&context.image)
}

fn entry(context: &Context<'_>) -> Result<EnclaveEntry, Stop> {
    let reply = list(context.connect()?.as_mut())?;
    let mine = reply.enclaves.into_iter().find(|enclave| enclave.uuid == context.image.uuid);
    mine.ok_or_else(|| Stop::Failed("the enclave is not listed".into()))
}

fn good(context: &mut Context<'_>) -> Result<(), Stop> {
    context.installed()?;
    let package = context.package(&context.image);
    install(context.connect()?.as_mut(), &package.0, &package.1)?;
    let entry = entry(context)?;
    check_eq!(entry.version, Some(context.image.version), "version");
    check_eq!(entry.floor, context.image.version, "floor");
    check!(!entry.pending, "an intent is left");
    Ok(())
}

fn unauthorised(context: &mut Context<'_>) -> Result<(), Stop> {
    context.installed()?;
    let unknown: Uuid = "7d1f0d0e-6a51-4b53-9a39-51c9f6a3a001".parse()?;
    let by = |publisher| Draft { publisher, ..draft(context) }.seal();
    let for_uuid = |uuid| {
        let mut draft = draft(context);
        draft.terms.uuid = uuid;
        draft.seal()
    };
    let headed = |header| Draft { header, ..draft(context) }.seal();
    let header = draft(context).header;
    let other = Audience::Device(Bytes([1; 32]));
    let attempts = [
        ("signed by a stranger", by(stranger(3)), Error::NotAuthorised),
        ("signed by the root", by(context.parties.root.clone()), Error::NotAuthorised),
        ("signed by the releaser", by(context.parties.releaser.clone()), Error::NotAuthorised),
        ("a UUID not granted", for_uuid(unknown), Error::NotAuthorised),
        ("the UUID of TrustBox", for_uuid(TRUSTBOX_UUID), Error::ReservedUuid),
        ("another root", headed(Header { root: Bytes([0; 32]), ..header }), Error::WrongRoot),
        ("another device", headed(Header { audience: other, ..header }), Error::WrongAudience),
        (
            "another kind",
            headed(Header { kind: trustbox_api::statement::Kind::KeyBundle, ..header }),
            Error::WrongKind,
        ),
    ];
    for (what, package, want) in attempts {
        refuse(context, what, &package, want)?;
    }
    Ok(())
}

fn manifest_damaged(context: &mut Context<'_>) -> Result<(), Stop> {
    context.installed()?;
    let (manifest, _) = context.package(&context.image);
    let mut link = context.connect()?;
    refuse_damaged(context, link.as_mut(), Command::InstallBegin, &manifest)?;
    Ok(())
}

fn ciphertext_flipped(context: &mut Context<'_>) -> Result<(), Stop> {
    context.installed()?;
    let (manifest, ciphertext) = context.package(&context.image);
    let bits = ciphertext.len() * 8;
    for bit in [0, bits / 2, bits - 1] {
        let package = (manifest.clone(), forge::flip(&ciphertext, bit));
        refuse(context, &format!("bit {bit} flipped"), &package, Error::CiphertextDigest)?;
    }
    Ok(())
}

fn other_plaintext(context: &mut Context<'_>) -> Result<(), Stop> {
    context.installed()?;
    let package = draft(context).seal_with_digest(Bytes([0; 32]));
    refuse(context, "another digest of the plaintext", &package, Error::PlaintextDigest)
}

fn cut_short(context: &mut Context<'_>) -> Result<(), Stop> {
    context.installed()?;
    let (manifest, ciphertext) = context.package(&context.image);
    for length in [0, 1, ciphertext.len() / 2, ciphertext.len() - 1] {
        let package = (manifest.clone(), ciphertext[..length].to_vec());
        refuse(context, &format!("cut to {length}"), &package, Error::Incomplete)?;
    }
    Ok(())
}

fn other_class_key(context: &mut Context<'_>) -> Result<(), Stop> {
    context.installed()?;
    let mut unknown = draft(context);
    unknown.terms.class_key = KeyRef::new("other-class", 1).expect("a short name");
    refuse(context, "a class key the device lacks", &unknown.seal(), Error::KeyUnknown)?;
    let mut version = draft(context);
    version.terms.class_key.version = 0;
    refuse(context, "a version the device lacks", &version.seal(), Error::KeyUnknown)?;
    let wrong = Draft { class_key: [9; 32], ..draft(context) };
    refuse(context, "the name of one key, the bytes of another", &wrong.seal(), Error::Decryption)
}

/// The wrapped key of one signed manifest in another: the additional data differ.
fn moved_content_key(context: &mut Context<'_>) -> Result<(), Stop> {
    context.installed()?;
    let (donor, ciphertext) = context.package(&context.image);
    let envelope: trustbox_api::statement::Envelope<'_> = trustbox_api::wire::decode(&donor)?;
    let parsed = trustbox_api::manifest::parse(envelope.payload)?;
    let mut manifest = parsed.manifest.clone();
    manifest.terms.name = Name::try_from("renamed").expect("a short name");
    let moved = forge::statement(&parsed.header, &manifest, &context.parties.publisher);
    refuse(context, "a moved content key", &(moved, ciphertext), Error::Decryption)
}

fn broken_rules(context: &mut Context<'_>) -> Result<(), Stop> {
    context.installed()?;
    let changed = |change: fn(&mut Draft)| {
        let mut draft = draft(context);
        change(&mut draft);
        draft.seal()
    };
    let attempts = [
        ("size zero", changed(|d| d.terms.size = 0), Error::ManifestInvalid),
        ("size above the limit", changed(|d| d.terms.size = MAX_IMAGE + 1), Error::ManifestInvalid),
        ("version 0", changed(|d| (d.terms.version, d.header.sequence) = (0, 0)), Error::ManifestInvalid),
        ("no name", changed(|d| d.terms.name.clear()), Error::ManifestInvalid),
        ("another sequence", changed(|d| d.header.sequence += 1), Error::ManifestInvalid),
        (
            "another publisher",
            changed(|d| d.terms.publisher = public(&stranger(2)).id()),
            Error::ManifestInvalid,
        ),
        ("a newer OP-TEE", changed(|d| d.terms.min_optee = Version(99, 0, 0)), Error::FirmwareTooOld),
        ("a newer TA", changed(|d| d.terms.min_ta = Version(99, 0, 0)), Error::FirmwareTooOld),
    ];
    for (what, package, want) in attempts {
        refuse(context, what, &package, want)?;
    }
    let huge = changed(|d| d.terms.size = MAX_IMAGE);
    let answer = install(context.connect()?.as_mut(), &huge.0, &[]);
    check_eq!(answer, Err(Error::OutOfMemory.into()), "more than the secure memory");
    Ok(())
}

fn other_image(context: &mut Context<'_>) -> Result<(), Stop> {
    context.installed()?;
    let (uuid, version) = (context.image.uuid, context.image.version);
    let images = [
        ("another UUID inside", unsigned_image(&spare_uuid(), version, &[0; 64])),
        ("another version inside", unsigned_image(&uuid, version + 1, &[0; 64])),
        ("a byte too many inside", [unsigned_image(&uuid, version, &[0; 64]), vec![0]].concat()),
        ("another magic", forge::flip(&unsigned_image(&uuid, version, &[0; 64]), 0)),
        ("another image type", forge::flip(&unsigned_image(&uuid, version, &[0; 64]), 33)),
        ("no header", vec![0; 8]),
    ];
    for (what, bytes) in images {
        let package = context.package(&Image { bytes, ..context.image.clone() });
        refuse(context, what, &package, Error::ImageHeader)?;
    }
    Ok(())
}

fn unsigned(context: &mut Context<'_>) -> Result<(), Stop> {
    context.installed()?;
    if context.target.connect_to(&TRUSTBOX_UUID.to_string()).is_none() {
        return Err(Stop::Skipped("only OP-TEE checks its signature"));
    }
    let bytes = unsigned_image(&context.image.uuid, context.image.version, &[0; 512]);
    let package = context.package(&Image { bytes, ..context.image.clone() });
    refuse(context, "an image OP-TEE's key did not sign", &package, Error::ImageRefused)
}

fn rollback(context: &mut Context<'_>) -> Result<(), Stop> {
    context.installed()?;
    let version = context.image.version - 1;
    let bytes = unsigned_image(&context.image.uuid, version, &[0; 64]);
    let package = context.package(&Image { bytes, version, ..context.image.clone() });
    refuse(context, "one version lower", &package, Error::VersionRollback)
}

fn chunks(context: &mut Context<'_>) -> Result<(), Stop> {
    context.installed()?;
    let (manifest, ciphertext) = context.package(&context.image);
    let mut link = context.connect()?;
    send(link.as_mut(), Command::InstallBegin, &manifest)?;
    let attempts: [(&str, usize, &[u8], Error); 4] = [
        ("nothing", 0, &[], Error::ChunkOutOfOrder),
        ("not from the start", 1, &[0; 16], Error::ChunkOutOfOrder),
        ("more than the limit", 0, &vec![0; MAX_CHUNK + 1], Error::TooLarge),
        ("more than the size", 0, &vec![0; ciphertext.len() + 1], Error::ChunkOutOfOrder),
    ];
    for (what, offset, chunk, want) in attempts {
        check_eq!(send_chunk(link.as_mut(), offset, chunk), Err(want.into()), "{what}");
    }
    send_chunk(link.as_mut(), 0, &ciphertext[..1000])?;
    let again = send_chunk(link.as_mut(), 0, &ciphertext[..1000]);
    check_eq!(again, Err(Error::ChunkOutOfOrder.into()), "the same chunk twice");
    send_chunk(link.as_mut(), 1000, &ciphertext[1000..])?;
    let beyond = send_chunk(link.as_mut(), ciphertext.len(), &[0]);
    check_eq!(beyond, Err(Error::ChunkOutOfOrder.into()), "one byte too many");
    Ok(send(link.as_mut(), Command::InstallFinish, &[])?)
}

fn one_at_a_time(context: &mut Context<'_>) -> Result<(), Stop> {
    context.installed()?;
    let (manifest, ciphertext) = context.package(&context.image);
    let mut first = context.connect()?;
    let mut second = context.connect()?;
    send(first.as_mut(), Command::InstallBegin, &manifest)?;
    let answer = send(second.as_mut(), Command::InstallBegin, &manifest);
    check_eq!(answer, Err(Error::Busy.into()), "a second install");
    send_chunk(first.as_mut(), 0, &ciphertext[..1000])?;
    drop(first);
    Ok(install(second.as_mut(), &manifest, &ciphertext)?)
}
