//! Root lets tee-supplicant lie: a file that was read is said to be missing, or damaged, or there is no memory for it.
//!
//! The answer is changed on its way into the kernel, by `ptrace(2)`: whatever tee-supplicant did is done, and the files stay whole.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options, regset};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::files::DIRECTORY;
use super::lies::{About, Claim, Lie};

/// `ioctl(2)` on arm64 (`include/uapi/asm-generic/unistd.h`).
const IOCTL: u64 = 29;
/// Takes a request (`include/uapi/linux/tee.h`).
const TEE_IOC_SUPPL_RECV: u64 = 0x8010_a406;
/// Answers one.
const TEE_IOC_SUPPL_SEND: u64 = 0x8010_a407;
/// A parameter that is about the request itself.
const TEE_IOCTL_PARAM_ATTR_META: u64 = 0x100;
/// A request about files (`core/include/optee_rpc_cmd.h`).
const OPTEE_RPC_CMD_FS: u32 = 2;
/// Reads from one.
const OPTEE_RPC_FS_READ: u64 = 3;
/// Octets of a parameter, and where one that is memory has its size.
const PARAMETER: u64 = 32;
const SIZE: u64 = 16;
/// Where the registers have the number of a system call, and its second and third argument.
const NUMBER: usize = 8;
const REQUEST: usize = 1;
const ARGUMENT: usize = 2;
/// Between two looks at what the threads of tee-supplicant do.
const PAUSE: Duration = Duration::from_micros(200);

/// A tee-supplicant that lies, until it is told to end.
pub struct Liar {
    end: Arc<AtomicBool>,
    thread: JoinHandle<nix::Result<bool>>,
}

impl Liar {
    /// Gets hold of a process; returns when each of its threads is held.
    pub fn begin(process: u32, lie: Lie) -> std::io::Result<Self> {
        let (end, held) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (end, held) = (end.clone(), held.clone());
            move || Tracer::seize(process, lie).and_then(|tracer| tracer.run(&held, &end))
        });
        while !held.load(Ordering::Acquire) && !thread.is_finished() {
            thread::sleep(PAUSE);
        }
        let liar = Self { end, thread };
        if liar.thread.is_finished() {
            liar.end()?;
            return Err(Errno::ESRCH.into());
        }
        Ok(liar)
    }

    /// Lets go of it; whether it lied.
    pub fn end(self) -> std::io::Result<bool> {
        self.end.store(true, Ordering::Release);
        Ok(self.thread.join().map_err(|_| Errno::ESRCH)??)
    }
}

/// What a thread of tee-supplicant is about.
#[derive(Default)]
struct Thread {
    in_call: bool,
    lies: bool,
}

/// The kernel lets go of everything that is held when the thread ends that holds it.
struct Tracer {
    process: u32,
    lie: Lie,
    threads: BTreeMap<i32, Thread>,
    matching: u64,
    lied: bool,
}

impl Tracer {
    fn seize(process: u32, lie: Lie) -> nix::Result<Self> {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).map_err(|_| Errno::ESRCH)?;
        let mut threads = BTreeMap::new();
        for number in tasks.flatten().filter_map(|task| task.file_name().to_str()?.parse().ok()) {
            let pid = Pid::from_raw(number);
            ptrace::seize(pid, Options::PTRACE_O_TRACESYSGOOD | Options::PTRACE_O_TRACECLONE)?;
            ptrace::interrupt(pid)?;
            threads.insert(number, Thread::default());
        }
        Ok(Self { process, lie, threads, matching: 0, lied: false })
    }

    fn run(mut self, held: &AtomicBool, end: &AtomicBool) -> nix::Result<bool> {
        let mut silent: Vec<_> = self.threads.keys().copied().collect();
        while !end.load(Ordering::Acquire) {
            let numbers: Vec<_> = self.threads.keys().copied().collect();
            for number in numbers {
                let flags = WaitPidFlag::__WALL | WaitPidFlag::WNOHANG;
                match waitpid(Pid::from_raw(number), Some(flags)) {
                    Ok(WaitStatus::StillAlive) => continue,
                    Ok(status) => self.stopped(status)?,
                    Err(Errno::ECHILD) => drop(self.threads.remove(&number)),
                    Err(error) => return Err(error),
                }
                silent.retain(|other| *other != number);
            }
            held.store(silent.is_empty(), Ordering::Release);
            thread::sleep(PAUSE);
        }
        Ok(self.lied)
    }

    /// Looks why a thread stopped, and lets it go on.
    fn stopped(&mut self, status: WaitStatus) -> nix::Result<()> {
        let (pid, signal) = match status {
            WaitStatus::PtraceSyscall(pid) => {
                self.call(pid)?;
                (pid, None)
            }
            WaitStatus::PtraceEvent(pid, _, event) => {
                if event == ptrace::Event::PTRACE_EVENT_CLONE as i32 {
                    self.threads.insert(ptrace::getevent(pid)? as i32, Thread::default());
                }
                (pid, None)
            }
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            _ => return Ok(()),
        };
        ptrace::syscall(pid, signal)
    }

    /// Before and after each system call: a request is looked at when it was taken, its answer changed before it is given.
    fn call(&mut self, pid: Pid) -> nix::Result<()> {
        let thread = self.threads.entry(pid.as_raw()).or_default();
        thread.in_call = !thread.in_call;
        let (begins, lies) = (thread.in_call, thread.lies);
        let registers = ptrace::getregset::<regset::NT_PRSTATUS>(pid)?.regs;
        if registers[NUMBER] != IOCTL {
            return Ok(());
        }
        match registers[REQUEST] {
            TEE_IOC_SUPPL_RECV if !begins && registers[0] == 0 => {
                let buffer = word(pid, registers[ARGUMENT])?;
                let lies = !self.lied && self.matches(pid, buffer)?;
                self.threads.entry(pid.as_raw()).or_default().lies = lies;
            }
            TEE_IOC_SUPPL_SEND if begins && lies => {
                self.change(pid, word(pid, registers[ARGUMENT])?)?;
                self.threads.entry(pid.as_raw()).or_default().lies = false;
                self.lied = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// Changes an answer, `struct tee_iocl_supp_send_arg`.
    fn change(&self, pid: Pid, buffer: u64) -> nix::Result<()> {
        match self.lie.claim {
            // the result, and how many parameters there are
            Claim::Failed(result) => put(pid, buffer, word(pid, buffer)? >> 32 << 32 | u64::from(result)),
            Claim::Short => {
                let size = parameters(pid, buffer)? + PARAMETER + SIZE;
                put(pid, size, word(pid, size)? / 2)
            }
        }
    }

    /// Whether a request, `struct tee_iocl_supp_recv_arg`, is the one to lie about.
    fn matches(&mut self, pid: Pid, buffer: u64) -> nix::Result<bool> {
        if word(pid, buffer)? as u32 != OPTEE_RPC_CMD_FS {
            return Ok(false);
        }
        let asked = parameters(pid, buffer)?;
        let (what, file, from) = (word(pid, asked + 8)?, word(pid, asked + 16)?, word(pid, asked + 24)?);
        if what != OPTEE_RPC_FS_READ || from < self.lie.from || !self.is_file(file) {
            return Ok(false);
        }
        self.matching += 1;
        Ok(self.matching > self.lie.after)
    }

    fn is_file(&self, number: u64) -> bool {
        let path = fs::read_link(format!("/proc/{}/fd/{number}", self.process));
        let directory = path.is_ok_and(|path| path.ends_with(DIRECTORY));
        match self.lie.about {
            About::Any => true,
            About::Directory => directory,
            About::Objects => !directory,
        }
    }
}

/// Where the parameters begin: four words each, attributes and three more.
fn parameters(pid: Pid, buffer: u64) -> nix::Result<u64> {
    let first = buffer + 8;
    let meta = word(pid, first)? & TEE_IOCTL_PARAM_ATTR_META != 0;
    Ok(first + if meta { PARAMETER } else { 0 })
}

fn put(pid: Pid, address: u64, word: u64) -> nix::Result<()> {
    ptrace::write(pid, address as _, word as i64)
}

fn word(pid: Pid, address: u64) -> nix::Result<u64> {
    Ok(ptrace::read(pid, address as _)? as u64)
}
