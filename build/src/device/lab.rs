//! What only a campaign does with a device: a disk that the host serves, and machines that are frozen once and thawed often.
//!
//! A frozen machine has booted and has touched no storage. Thawing it takes a fraction of a boot, and what it does with
//! a disk from then on is what a boot would do.

use std::fs::File;
use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::device::{Device, Output};
use crate::device_ports::Event;

/// Socket of QEMU's monitor.
pub(crate) const MONITOR: &str = "monitor";
/// Socket through which a frozen machine comes back.
pub(crate) const INCOMING: &str = "incoming";
/// Socket through which a machine leaves.
const OUTGOING: &str = "outgoing";
/// How long QEMU may take to offer or use a socket.
const SOCKET_TIME: Duration = Duration::from_secs(60);
/// Before freezing: lets go of the host's folder, which QEMU cannot freeze, and of secure storage; gets ready to mount.
const LET_GO: &str = "umount /mnt/share && killall tee-supplicant && while read -r module; do \
    [ $module = virtio_blk ] || [ -d /sys/module/$module ] || insmod /usr/lib/modules/$module.ko || exit; done \
    </usr/lib/modules/state.list && sync && echo 3 >/proc/sys/vm/drop_caches";
/// After thawing: what the first process does in a boot with a disk for secure storage. Nobody knew the disk before.
const GO_ON: &str = "mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 share /mnt/share && \
    insmod /usr/lib/modules/virtio_blk.ko && mount -t ext4 /dev/vda /var/lib/tee && \
    tee-supplicant -d --fs-parent-path /var/lib/tee /dev/teepriv0";

/// What only a campaign does with a device.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lab {
    /// Socket of the server of the disk for secure storage.
    pub(crate) disk: Option<PathBuf>,
    /// The machine to go on with, instead of a boot.
    pub(crate) frozen: Option<PathBuf>,
    /// Cuts the power.
    pub(crate) switch: PowerSwitch,
}

/// Cuts a device's power from another thread.
#[derive(Clone, Debug, Default)]
pub(crate) struct PowerSwitch(Arc<Mutex<Option<Sender<Event>>>>);

impl PowerSwitch {
    /// Whoever waits for the device sees it stop, and kills it.
    pub(crate) fn cut(&self) {
        if let Ok(sender) = self.0.lock() {
            sender.iter().for_each(|sender| drop(sender.send(Event::Closed)));
        }
    }
}

impl Lab {
    /// The device is there.
    pub(crate) fn connect(&self, sender: Sender<Event>) {
        if let Ok(mut switch) = self.switch.0.lock() {
            *switch = Some(sender);
        }
    }
}

impl Device {
    /// Writes the machine to a file and ends it. It has a disk of the host's and has not used it yet.
    pub(crate) fn freeze(mut self, to: &Path) -> Result<()> {
        self.shell(LET_GO)?;
        let socket = self.sockets.join(OUTGOING);
        let listener = UnixListener::bind(&socket)?;
        let mut monitor = UnixStream::connect(self.sockets.join(MONITOR)).context("no monitor of QEMU")?;
        monitor.write_all(format!("migrate -d unix:{}\n", socket.display()).as_bytes())?;
        let mut stream = self.accept(listener)?;
        let bytes = std::io::copy(&mut stream, &mut File::create(to)?)?;
        ensure!(bytes > 0, "QEMU wrote nothing to {}", to.display());
        Ok(())
    }

    /// Goes on with a machine that was frozen, mounts the disk and starts tee-supplicant.
    pub(crate) fn thaw(&mut self, from: &Path) -> Result<()> {
        let mut stream = self.incoming()?;
        std::io::copy(&mut File::open(from)?, &mut stream)
            .context("QEMU does not take the frozen machine")?;
        drop(stream);
        self.shell(GO_ON)
    }

    /// QEMU offers the socket once it has started.
    fn incoming(&mut self) -> Result<UnixStream> {
        let limit = Instant::now() + SOCKET_TIME;
        loop {
            match UnixStream::connect(self.sockets.join(INCOMING)) {
                Ok(stream) => return Ok(stream),
                Err(_) if self.qemu.try_wait()?.is_some() || Instant::now() > limit => {
                    return Err(self.stopped());
                }
                Err(_) => std::thread::sleep(Duration::from_millis(5)),
            }
        }
    }

    fn shell(&mut self, script: &str) -> Result<()> {
        let Output { status, stderr, .. } = self.exec(&["sh", "-c", script])?;
        if status != 0 {
            bail!("on the device: exit status {status}: {}", String::from_utf8_lossy(&stderr).trim());
        }
        Ok(())
    }
}
