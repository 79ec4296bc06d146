//! What comes through a device's virtio ports: lines of the command port, and output up to its end mark.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc::Sender;

use crate::hash::sha256_hex;

/// What the ports deliver.
pub(crate) enum Event {
    Control(String),
    Bytes(Stream, Vec<u8>),
    Closed,
}

#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

/// A word that no command writes by accident.
pub(crate) fn end_mark(folder: &Path, number: u32) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    sha256_hex(format!("{} {number} {}", folder.display(), now.as_nanos()).as_bytes())[..32].to_owned()
}

/// Passes bytes on until an end mark, which may come in pieces.
pub(crate) struct Until {
    mark: Vec<u8>,
    held: Vec<u8>,
    pub(crate) ended: bool,
}

impl Until {
    pub(crate) fn new(mark: &str) -> Self {
        Self { mark: mark.as_bytes().to_vec(), held: Vec::new(), ended: false }
    }

    pub(crate) fn pass(&mut self, bytes: &[u8], to: &mut dyn Write) -> std::io::Result<()> {
        self.held.extend_from_slice(bytes);
        let found = self.held.windows(self.mark.len()).position(|window| window == self.mark);
        self.ended |= found.is_some();
        let ready = found.unwrap_or_else(|| self.held.len() - self.tail_that_may_be_the_mark());
        to.write_all(&self.held[..ready])?;
        to.flush()?;
        self.held.drain(..ready);
        Ok(())
    }

    fn tail_that_may_be_the_mark(&self) -> usize {
        let longest = self.held.len().min(self.mark.len() - 1);
        (1..=longest).rev().find(|length| self.held.ends_with(&self.mark[..*length])).unwrap_or(0)
    }
}

pub(crate) fn read_lines(stream: UnixStream, sender: Sender<Event>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(Event::Control(line)).is_err() {
                return;
            }
        }
        let _ = sender.send(Event::Closed);
    });
}

pub(crate) fn read_bytes(mut stream: UnixStream, which: Stream, sender: Sender<Event>) {
    std::thread::spawn(move || {
        let mut buffer = [0; 64 * 1024];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            if sender.send(Event::Bytes(which, buffer[..length].to_vec())).is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(pieces: &[&str]) -> (String, bool) {
        let mut until = Until::new("MARK");
        let mut out = Vec::new();
        pieces.iter().for_each(|piece| until.pass(piece.as_bytes(), &mut out).unwrap());
        (String::from_utf8(out).unwrap(), until.ended)
    }

    #[test]
    fn end_mark_is_found_in_pieces() {
        assert_eq!(passed(&["textMA", "RK"]), ("text".into(), true));
        assert_eq!(passed(&["MMAMARK"]), ("MMA".into(), true));
        assert_eq!(passed(&["MA", "Rx"]), ("MARx".into(), false));
        assert_eq!(passed(&["MARK"]), (String::new(), true));
    }
}
