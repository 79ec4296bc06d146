//! Requests to the TA, over a link.

use serde::Serialize;
use serde::de::DeserializeOwned;
use trustbox_api::Command;
use trustbox_api::limits::{MAX_CHUNK, MAX_REPLY, MAX_REQUEST};
use trustbox_api::message::{
    ChallengeReply, ChallengeRequest, InfoReply, InstallChunkRequest, ListReply, Purpose,
};

use crate::case::Stop;
use crate::target::{Code, Link};

/// Sends a request that has no reply.
pub fn send(link: &mut dyn Link, command: Command, request: &[u8]) -> Result<(), Code> {
    link.call(command as u32, request, None, MAX_REPLY).map(drop)
}

/// Sends a message and decodes the reply.
pub fn ask<A: DeserializeOwned>(link: &mut dyn Link, command: Command, request: &[u8]) -> Result<A, Stop> {
    let reply = link.call(command as u32, request, None, MAX_REPLY)?;
    trustbox_api::wire::decode(&reply).map_err(|error| Stop::Failed(format!("reply: {error}")))
}

/// Encodes a request.
pub fn encode(message: &impl Serialize) -> Vec<u8> {
    let mut out = vec![0; MAX_REQUEST];
    let length = postcard::to_slice(message, &mut out).expect("requests fit").len();
    out.truncate(length);
    out
}

/// State and versions of the device.
pub fn info(link: &mut dyn Link) -> Result<InfoReply, Stop> {
    ask(link, Command::Info, &[])
}

/// What is installed.
pub fn list(link: &mut dyn Link) -> Result<ListReply, Stop> {
    ask(link, Command::List, &[])
}

/// A nonce.
pub fn challenge(link: &mut dyn Link, purpose: Purpose) -> Result<ChallengeReply, Stop> {
    ask(link, Command::Challenge, &encode(&ChallengeRequest { purpose }))
}

/// Sends one chunk of ciphertext.
pub fn send_chunk(link: &mut dyn Link, offset: usize, chunk: &[u8]) -> Result<(), Code> {
    let request = encode(&InstallChunkRequest { offset: offset as u32 });
    link.call(Command::InstallChunk as u32, &request, Some(chunk), MAX_REPLY).map(drop)
}

/// Installs: begin, chunks, finish.
pub fn install(link: &mut dyn Link, manifest: &[u8], ciphertext: &[u8]) -> Result<(), Code> {
    send(link, Command::InstallBegin, manifest)?;
    let mut offset = 0;
    for chunk in ciphertext.chunks(MAX_CHUNK) {
        if let Err(code) = send_chunk(link, offset, chunk) {
            send(link, Command::InstallAbort, &[])?;
            return Err(code);
        }
        offset += chunk.len();
    }
    send(link, Command::InstallFinish, &[])
}
