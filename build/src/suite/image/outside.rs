//! Somebody on the device's network: behind two ports sits the same program, and the firewall lets packets through to one of them.
//! The one answers, so the way is there and the program runs; the other does not, so it is the firewall.

use std::io::{ErrorKind, Read};
use std::net::{SocketAddrV4, TcpListener, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// Ports of the device.
const OPEN: u16 = 4001;
const CLOSED: u16 = 4000;
/// What sits there says this to whoever comes.
const ANSWER: &[u8] = b"answer";
/// How long an answer may take, and how long none counts as none.
const PATIENCE: Duration = Duration::from_secs(20);

/// Files that an image gets besides: systemd listens at both ports, and the firewall has one rule more.
pub(super) const FILES: [(&str, &str); 5] = [
    (
        "etc/systemd/system/answer.socket",
        "[Unit]\nBefore=trustbox-report.service\n\
         [Socket]\nListenStream=0.0.0.0:4000\nListenStream=0.0.0.0:4001\nAccept=yes\n",
    ),
    (
        "etc/systemd/system/answer@.service",
        "[Service]\nExecStart=/usr/lib/probe/busybox echo -n answer\nStandardOutput=socket\n",
    ),
    ("etc/systemd/system/sockets.target.d/10-probe.conf", "[Unit]\nWants=answer.socket\n"),
    (
        "etc/systemd/system/trustbox-firewall.service.d/10-probe.conf",
        "[Service]\nExecStart=/usr/sbin/nft -f /usr/lib/probe/open.nft\n",
    ),
    ("usr/lib/probe/open.nft", "add rule inet trustbox input tcp dport 4001 accept\n"),
];

/// Two ports of this host that lead to the device's.
pub(super) struct Doors {
    pub(super) forward: Vec<(u16, SocketAddrV4)>,
}

impl Doors {
    /// To the device at this address.
    pub(super) fn to(address: &str) -> Result<Self> {
        // Both are held until both are known, so that they differ.
        let held = [TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?];
        let mut forward = Vec::new();
        for (listener, port) in held.iter().zip([OPEN, CLOSED]) {
            forward.push((listener.local_addr()?.port(), SocketAddrV4::new(address.parse()?, port)));
        }
        Ok(Self { forward })
    }

    /// Knocks at both, while the device is on: only the open one answers.
    pub(super) fn knock(&self) -> Result<()> {
        for ((here, there), wanted) in self.forward.iter().zip([ANSWER, b""]) {
            let found = answer_at(*here)?;
            ensure!(found == wanted, "{there} says {:?}", String::from_utf8_lossy(&found));
        }
        Ok(())
    }
}

/// What comes before the line is closed, or before patience ends.
fn answer_at(port: u16) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).context("the emulator does not listen")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionReset) => {
            Err(error)?
        }
        _ => Ok(answer),
    }
}

/// Takes the two ports out of what a report found to listen: both must be there.
pub(super) fn without_them(hardening: &Value) -> Result<Value> {
    let mut hardening = hardening.clone();
    let ports = hardening["ports"].as_array_mut().context("no ports")?;
    for port in [OPEN, CLOSED] {
        let end = format!(":{port}");
        let at = ports.iter().position(|found| {
            found.as_str().is_some_and(|text| text.starts_with("tcp ") && text.ends_with(&end))
        });
        ports.remove(at.with_context(|| format!("nobody listens at {port}: {ports:?}"))?);
    }
    Ok(hardening)
}
