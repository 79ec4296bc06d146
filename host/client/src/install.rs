//! Installing: begin, the ciphertext in chunks, finish; abort where a chunk fails.

use trustbox_api::Command;
use trustbox_api::message::{InstallChunkRequest, InstallReply};

use crate::Result;
use crate::session::{Session, encoded};

/// Bytes of one chunk: few calls, yet visible progress. At most `trustbox_api::limits::MAX_CHUNK`.
const CHUNK: usize = 256 << 10;

pub(crate) fn install(
    session: &mut Session,
    statement: &[u8],
    ciphertext: &[u8],
    progress: impl FnMut(usize, usize),
) -> Result<InstallReply> {
    session.tell(Command::InstallBegin, statement)?;
    if let Err(error) = send_chunks(session, ciphertext, progress) {
        // The first error is the one that says what happened.
        let _ = session.tell(Command::InstallAbort, &[]);
        return Err(error);
    }
    // Whatever comes out, the TA has forgotten the install afterwards.
    session.ask(Command::InstallFinish, &[])
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
