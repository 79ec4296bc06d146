//! Runs other programs: argument vectors only, output in a log file, a failure that says what to look at.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// Lines of a failed program's log that are shown.
const TAIL_LINES: usize = 30;

/// A program with its arguments, environment and working folder.
#[derive(Clone)]
pub(crate) struct Tool {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    removed: Vec<OsString>,
    dir: Option<PathBuf>,
    help: String,
}

impl Tool {
    /// A program found in the search path.
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            envs: Vec::new(),
            removed: Vec::new(),
            dir: None,
            help: "the log above names the cause; `build/tb doctor` shows what this host lacks".to_owned(),
        }
    }

    /// Adds one argument.
    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    /// Adds arguments.
    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds `NAME=VALUE` as one argument, as make takes it.
    pub(crate) fn assign(self, name: &str, value: impl AsRef<OsStr>) -> Self {
        let mut word = OsString::from(name);
        word.push("=");
        word.push(value);
        self.arg(word)
    }

    /// Sets an environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.envs.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// Takes a variable out of the environment.
    pub(crate) fn without_env(mut self, name: &str) -> Self {
        self.removed.push(name.into());
        self
    }

    /// Sets the working folder.
    pub(crate) fn dir(mut self, dir: &Path) -> Self {
        self.dir = Some(dir.to_path_buf());
        self
    }

    /// Replaces the advice shown on failure.
    pub(crate) fn help(mut self, help: &str) -> Self {
        help.clone_into(&mut self.help);
        self
    }

    /// Runs it with all output appended to `log`; anything but success is an error with the log's tail.
    pub(crate) fn run(&self, log: &Path) -> Result<()> {
        let mut file = append(log)?;
        writeln!(file, "$ {}", self.shown())?;
        let status = self
            .command()
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .status()
            .with_context(|| self.cannot_start())?;
        if status.success() {
            return Ok(());
        }
        bail!(
            "{}\n{} ended with {status}\ncommand: {}\nlog: {}\nhelp: {}",
            tail(log),
            self.program.to_string_lossy(),
            self.shown(),
            log.display(),
            self.help
        )
    }

    /// Runs it and returns its standard output; on failure the error carries standard error.
    pub(crate) fn output(&self) -> Result<String> {
        let result = self.command().stdin(Stdio::null()).output().with_context(|| self.cannot_start())?;
        if result.status.success() {
            return Ok(String::from_utf8_lossy(&result.stdout).into_owned());
        }
        bail!(
            "{}\n{} ended with {}\ncommand: {}\nhelp: {}",
            last_lines(&String::from_utf8_lossy(&result.stderr)),
            self.program.to_string_lossy(),
            result.status,
            self.shown(),
            self.help
        )
    }

    /// The standard library's command, for callers that stream.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args);
        for name in &self.removed {
            command.env_remove(name);
        }
        command.envs(self.envs.iter().map(|(name, value)| (name, value)));
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        command
    }

    /// As [`Tool::command`], for what must not outlive the thread that starts it, however that ends.
    pub(crate) fn command_of_this_thread(&self) -> Result<Command> {
        let Some(program) = find_program(&self.program.to_string_lossy()) else { bail!(self.cannot_start()) };
        let mut bound = self.clone();
        bound.program = "setpriv".into();
        bound.args = ["--pdeathsig", "KILL"].map(OsString::from).to_vec();
        bound.args.push(program.into());
        bound.args.extend(self.args.iter().cloned());
        Ok(bound.command())
    }

    /// The command as one line, quoted for a reader.
    pub(crate) fn shown(&self) -> String {
        let words = std::iter::once(&self.program).chain(&self.args);
        words.map(|word| quote(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
    }

    fn cannot_start(&self) -> String {
        format!(
            "cannot start {}\nhelp: `build/tb doctor` names the Debian package that has it",
            self.program.to_string_lossy()
        )
    }
}

/// One word quoted for a POSIX shell; newlines are written so that the result stays on one line.
pub(crate) fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    if word.contains('\n') {
        let escaped = word.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n");
        return format!("$'{escaped}'");
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Finds a program in the search path, the administrator's folders included.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file())
}

fn append(log: &Path) -> Result<File> {
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("cannot write log {}", log.display()))
}

/// The last lines of a log.
pub(crate) fn tail(log: &Path) -> String {
    last_lines(&String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()))
}

fn last_lines(text: &str) -> String {
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting_survives_a_shell() {
        for word in ["", "plain", "two words", "it's", "a\nb'\\c", "$HOME `x`"] {
            let script = format!("printf %s {}", quote(word));
            let shown = Tool::new("bash").args(["-c", &script]).output().unwrap();
            assert_eq!(shown, word);
        }
    }

    #[test]
    fn what_is_bound_to_a_thread_ends_with_it() {
        let sleep = || {
            let child = Tool::new("sleep").arg("60").command_of_this_thread().unwrap().spawn().unwrap();
            let name = format!("/proc/{}/comm", child.id());
            while std::fs::read_to_string(&name).unwrap() != "sleep\n" {
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            child
        };
        let mut child = std::thread::spawn(sleep).join().unwrap();
        assert!(!child.wait().unwrap().success());
        let missing = Tool::new("no-such-program").command_of_this_thread().unwrap_err().to_string();
        assert!(missing.starts_with("cannot start no-such-program\nhelp: "), "{missing}");
    }

    #[test]
    fn failure_shows_log_and_help() {
        let log = std::env::temp_dir().join(format!("tb-tool-{}.log", std::process::id()));
        let error =
            Tool::new("sh").args(["-c", "echo cause; exit 3"]).help("try this").run(&log).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("cause") && text.contains("exit status: 3") && text.ends_with("help: try this")
        );
        std::fs::remove_file(log).unwrap();
    }
}
