//! 22xx: delegation by the owner root.

use trustbox_api::command::Lifecycle;
use trustbox_api::key::Uuid;
use trustbox_api::statement::{Audience, Header, Kind, Releaser};
use trustbox_api::{Bytes, Command, Error, TRUSTBOX_UUID};

use crate::case::{Case, Stop};
use crate::check_eq;
use crate::context::{Context, publisher, refuse_damaged, spare_uuid};
use crate::forge::{self, public, stranger};
use crate::requests::{info, send};

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        id: 2201,
        name: "only the owner root delegates, on its own terms",
        invariants: &["INV-3"],
        run: refused,
    },
    Case { id: 2202, name: "an older delegation never comes back", invariants: &["INV-5"], run: sequence },
    Case { id: 2203, name: "reserved UUIDs cannot be authorised", invariants: &["INV-3"], run: reserved },
    Case {
        id: 2204,
        name: "a damaged delegation is refused",
        invariants: &["INV-3", "INV-10"],
        run: damaged,
    },
];

/// One thing wrong at a time.
fn refused(context: &mut Context<'_>) -> Result<(), Stop> {
    context.owned()?;
    let good = context.owner_header(Kind::Publisher);
    let body = publisher(public(&stranger(5)), &[spare_uuid()]);
    let root = &context.parties.root;
    let other = Audience::Device(Bytes([1; 32]));
    let attempts = [
        ("signed by a stranger", forge::statement(&good, &body, &stranger(5)), Error::NotAuthorised),
        (
            "signed by the publisher",
            forge::statement(&good, &body, &context.parties.publisher),
            Error::NotAuthorised,
        ),
        (
            "signed by the authority",
            forge::statement(&good, &body, &context.parties.authority),
            Error::NotAuthorised,
        ),
        (
            "another root",
            forge::statement(&Header { root: Bytes([0; 32]), ..good }, &body, root),
            Error::WrongRoot,
        ),
        (
            "another device",
            forge::statement(&Header { audience: other, ..good }, &body, root),
            Error::WrongAudience,
        ),
        (
            "another kind",
            forge::statement(&Header { kind: Kind::PinRoot, ..good }, &body, root),
            Error::BadMessage,
        ),
        (
            "a manifest",
            forge::statement(&Header { kind: Kind::Manifest, ..good }, &body, root),
            Error::WrongKind,
        ),
        ("another format", forge::statement(&Header { format: 0, ..good }, &body, root), Error::WrongKind),
    ];
    let mut link = context.connect()?;
    for (what, statement, want) in attempts {
        check_eq!(send(link.as_mut(), Command::Authorise, &statement), Err(want.into()), "{what}");
    }
    Ok(())
}

fn sequence(context: &mut Context<'_>) -> Result<(), Stop> {
    context.owned()?;
    let first = context.delegate_publisher(&[context.image.uuid, spare_uuid()]);
    let second = context.delegate_publisher(&[context.image.uuid, spare_uuid()]);
    let mut link = context.connect()?;
    send(link.as_mut(), Command::Authorise, &second)?;
    send(link.as_mut(), Command::Authorise, &second)?;
    check_eq!(send(link.as_mut(), Command::Authorise, &first), Err(Error::Replayed.into()), "the older one");
    let header = Header { sequence: context.next_sequence() - 1, ..context.owner_header(Kind::Publisher) };
    let other = forge::statement(&header, &publisher(public(&stranger(6)), &[]), &context.parties.root);
    check_eq!(
        send(link.as_mut(), Command::Authorise, &other),
        Err(Error::Replayed.into()),
        "same sequence, other body"
    );
    Ok(())
}

fn reserved(context: &mut Context<'_>) -> Result<(), Stop> {
    context.owned()?;
    let mut link = context.connect()?;
    let secstor: Uuid = "6e256cba-fc4d-4941-ad09-2ca1860342dd".parse()?;
    let pkcs11: Uuid = "fd02c9da-306c-48c7-a49c-bbd827ae86ee".parse()?;
    for uuid in [TRUSTBOX_UUID, secstor, pkcs11, Uuid(Bytes([0; 16]))] {
        let statement = context.delegate_publisher(&[context.image.uuid, uuid]);
        check_eq!(
            send(link.as_mut(), Command::Authorise, &statement),
            Err(Error::ReservedUuid.into()),
            "{uuid}"
        );
    }
    Ok(())
}

fn damaged(context: &mut Context<'_>) -> Result<(), Stop> {
    context.owned()?;
    let header = context.owner_header(Kind::Releaser);
    let body = Releaser { key: public(&stranger(4)), keys: Default::default() };
    let good = forge::statement(&header, &body, &context.parties.root);
    let mut link = context.connect()?;
    refuse_damaged(context, link.as_mut(), Command::Authorise, &good)?;
    check_eq!(info(link.as_mut())?.lifecycle, Lifecycle::Provisioned, "lifecycle");
    Ok(())
}
