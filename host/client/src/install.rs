//! Installing: begin, the ciphertext in chunks, finish; abort where a chunk fails.

use trustbox_api::message::{InfoReply, InstallChunkRequest, InstallReply};
use trustbox_api::{Command, Error as Refused};

use crate::session::{Session, encoded};
use crate::{Error, Result};

/// Bytes of one chunk: few calls, yet visible progress. At most `trustbox_api::limits::MAX_CHUNK`.
const CHUNK: usize = 256 << 10;

/// Installs `ciphertext`; `begin` is the command that starts it, and its request.
pub(crate) fn install(
    session: &mut Session,
    begin: (Command, &[u8]),
    ciphertext: &[u8],
    progress: impl FnMut(usize, usize),
) -> Result<InstallReply> {
    let installed = try_install(session, begin, ciphertext, progress);
    installed.map_err(|error| explained(session, error, ciphertext.len()))
}

fn try_install(
    session: &mut Session,
    (command, request): (Command, &[u8]),
    ciphertext: &[u8],
    progress: impl FnMut(usize, usize),
) -> Result<InstallReply> {
    session.tell(command, request)?;
    if let Err(error) = send_chunks(session, ciphertext, progress) {
        // The first error is the one that says what happened.
        let _ = session.tell(Command::InstallAbort, &[]);
        return Err(error);
    }
    // Whatever comes out, the TA has forgotten the install afterwards.
    session.ask(Command::InstallFinish, &[])
}

/// Where the image is what was too large, the error says how large and how large it may be.
fn explained(session: &mut Session, error: Error, size: usize) -> Error {
    if !matches!(error, Error::Refused(Refused::OutOfMemory | Refused::TooLarge)) {
        return error;
    }
    match session.ask::<InfoReply>(Command::Info, &[]) {
        Ok(info) if size > info.max_image as usize => {
            Error::ImageTooLarge { size, available: info.max_image as usize }
        }
        _ => error,
    }
}

fn send_chunks(
    session: &mut Session,
    ciphertext: &[u8],
    mut progress: impl FnMut(usize, usize),
) -> Result<()> {
    let total = ciphertext.len();
    let mut sent = 0;
    for chunk in ciphertext.chunks(CHUNK) {
        // A package is shorter than 4 GiB.
        let request = encoded(&InstallChunkRequest { offset: sent as u32 })?;
        session.send(Command::InstallChunk, &request, chunk)?;
        sent += chunk.len();
        progress(sent, total);
    }
    Ok(())
}

const _: () = assert!(CHUNK <= trustbox_api::limits::MAX_CHUNK);
