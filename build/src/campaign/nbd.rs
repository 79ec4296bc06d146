//! Serves a disk to QEMU over the Network Block Device protocol (its specification: doc/proto.md of the NBD project).
//!
//! Only what QEMU needs: one export, fixed newstyle handshake, simple replies; reads, writes, flushes.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex};

use crate::campaign::disk::{Cut, Disk};

const MAGIC: u64 = 0x4e42_444d_4147_4943;
const OPTION_MAGIC: u64 = 0x4948_4156_454f_5054;
const OPTION_REPLY_MAGIC: u64 = 0x0003_e889_0455_65a9;
const REQUEST_MAGIC: u32 = 0x2560_9513;
const REPLY_MAGIC: u32 = 0x6744_6698;
/// Fixed newstyle, no 124 zeroes.
const HANDSHAKE_FLAGS: u16 = 3;
/// Flags are there, flush is understood.
const EXPORT_FLAGS: u16 = 1 | 1 << 2;
const OPTION_ABORT: u32 = 2;
const OPTION_GO: u32 = 7;
const REPLY_ACKNOWLEDGE: u32 = 1;
const REPLY_INFO: u32 = 3;
const REPLY_UNSUPPORTED: u32 = 1 << 31 | 1;
const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;
const INVALID: u32 = 22;
/// What QEMU asks for at once at most.
const MAX_LENGTH: u32 = 32 << 20;

/// Serves one connection in a thread of its own; `when_cut` is called once, when an armed cut comes.
pub(crate) fn serve(listener: UnixListener, disk: Arc<Mutex<Disk>>, when_cut: Box<dyn Fn() + Send>) {
    std::thread::spawn(move || {
        let Ok((mut stream, _)) = listener.accept() else { return };
        // However it ends, QEMU is gone or will say what is wrong.
        let _ = shake_hands(&mut stream, &disk)
            .and_then(|go| if go { answer_all(&mut stream, &disk, when_cut.as_ref()) } else { Ok(()) });
    });
}

/// Whether QEMU wants the export.
fn shake_hands(stream: &mut UnixStream, disk: &Mutex<Disk>) -> Result<bool> {
    stream.write_all(&MAGIC.to_be_bytes())?;
    stream.write_all(&OPTION_MAGIC.to_be_bytes())?;
    stream.write_all(&HANDSHAKE_FLAGS.to_be_bytes())?;
    u32_from(stream)?;
    loop {
        expect(u64_from(stream)? == OPTION_MAGIC)?;
        let (option, length) = (u32_from(stream)?, u32_from(stream)?);
        expect(length <= MAX_LENGTH)?;
        stream.read_exact(&mut vec![0; length as usize])?;
        match option {
            OPTION_GO => {
                let size = locked(disk)?.size() as u64;
                let export = [&[0; 2][..], &size.to_be_bytes(), &EXPORT_FLAGS.to_be_bytes()].concat();
                reply_option(stream, option, REPLY_INFO, &export)?;
                reply_option(stream, option, REPLY_ACKNOWLEDGE, &[])?;
                return Ok(true);
            }
            OPTION_ABORT => {
                reply_option(stream, option, REPLY_ACKNOWLEDGE, &[])?;
                return Ok(false);
            }
            _ => reply_option(stream, option, REPLY_UNSUPPORTED, &[])?,
        }
    }
}

fn reply_option(stream: &mut UnixStream, option: u32, kind: u32, data: &[u8]) -> Result<()> {
    let mut message = OPTION_REPLY_MAGIC.to_be_bytes().to_vec();
    for word in [option, kind, data.len() as u32] {
        message.extend(word.to_be_bytes());
    }
    message.extend(data);
    stream.write_all(&message)
}

fn answer_all(stream: &mut UnixStream, disk: &Mutex<Disk>, when_cut: &dyn Fn()) -> Result<()> {
    loop {
        expect(u32_from(stream)? == REQUEST_MAGIC)?;
        let [_flags, kind] = [u16_from(stream)?, u16_from(stream)?];
        let (handle, offset, length) = (u64_from(stream)?, u64_from(stream)?, u32_from(stream)?);
        expect(length <= MAX_LENGTH)?;
        let mut data = vec![0; if kind == WRITE { length as usize } else { 0 }];
        stream.read_exact(&mut data)?;
        if kind == DISCONNECT {
            return Ok(());
        }
        let Ok(answer) = carry_out(&mut *locked(disk)?, kind, offset, length, &data) else {
            when_cut();
            return Ok(());
        };
        let error = if answer.is_some() { 0 } else { INVALID };
        let head = [&REPLY_MAGIC.to_be_bytes()[..], &error.to_be_bytes(), &handle.to_be_bytes()].concat();
        stream.write_all(&[head, answer.unwrap_or_default()].concat())?;
    }
}

/// What is sent back; `None` for what cannot be done.
fn carry_out(
    disk: &mut Disk,
    kind: u16,
    offset: u64,
    length: u32,
    data: &[u8],
) -> std::result::Result<Option<Vec<u8>>, Cut> {
    match kind {
        _ if disk.is_cut() => Err(Cut),
        READ => Ok(disk.read(offset, length as usize).map(<[u8]>::to_vec)),
        WRITE => disk.write(offset, data).map_or(Ok(None), |result| result.map(|()| Some(Vec::new()))),
        FLUSH => disk.flush().map(|()| Some(Vec::new())),
        _ => Ok(None),
    }
}

fn locked(disk: &Mutex<Disk>) -> Result<std::sync::MutexGuard<'_, Disk>> {
    disk.lock().map_err(|_| Error::other("the disk is broken"))
}

fn expect(holds: bool) -> Result<()> {
    if holds { Ok(()) } else { Err(ErrorKind::InvalidData.into()) }
}

fn bytes<const N: usize>(stream: &mut UnixStream) -> Result<[u8; N]> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn u16_from(stream: &mut UnixStream) -> Result<u16> {
    bytes(stream).map(u16::from_be_bytes)
}

fn u32_from(stream: &mut UnixStream) -> Result<u32> {
    bytes(stream).map(u32::from_be_bytes)
}

fn u64_from(stream: &mut UnixStream) -> Result<u64> {
    bytes(stream).map(u64::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use trustbox_test::random::Random;

    fn disk() -> Disk {
        Disk::new(vec![0; 4096], Random::new(1))
    }

    #[test]
    fn requests_are_carried_out_until_the_cut() {
        let mut disk = disk();
        assert_eq!(carry_out(&mut disk, WRITE, 512, 3, b"abc"), Ok(Some(vec![])));
        assert_eq!(carry_out(&mut disk, READ, 512, 3, &[]), Ok(Some(b"abc".to_vec())));
        assert_eq!(carry_out(&mut disk, READ, 4095, 2, &[]), Ok(None));
        assert_eq!(carry_out(&mut disk, WRITE, 4095, 2, b"ab"), Ok(None));
        assert_eq!(carry_out(&mut disk, 77, 0, 0, &[]), Ok(None));
        disk.arm(1);
        assert_eq!(carry_out(&mut disk, FLUSH, 0, 0, &[]), Err(Cut));
        assert_eq!(carry_out(&mut disk, READ, 0, 1, &[]), Err(Cut));
    }

    #[test]
    fn garbage_ends_the_connection() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&[0xff; 64]).unwrap();
        assert!(shake_hands(&mut ours, &Mutex::new(disk())).is_err());
    }
}
