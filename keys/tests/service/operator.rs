//! What a line worker sees and hears: the program on a terminal and without one.

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::bench::Bench;
use crate::support::factory_line::Line;

const ESCAPE: char = '\x1b';
const BELL: char = '\x07';

/// A run of the station: on a terminal, or into a pipe.
struct Run<'a> {
    line: &'a Line,
    devices: [String; 2],
}

impl Run<'_> {
    fn program(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trustbox-keys"));
        command.args(["station", "--config"]).arg(self.line.world.path("station.toml")).args(words);
        self.devices.iter().for_each(|device| {
            command.args(["--device", device]);
        });
        // Colours are for the test to say, not for whoever runs it.
        for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
            command.env_remove(name);
        }
        command.env("TERM", "xterm").stderr(Stdio::null());
        command
    }

    fn piped(&self, words: &[&str]) -> String {
        String::from_utf8(self.program(words).output().unwrap().stdout).unwrap()
    }

    fn on_terminal(&self, words: &[&str], environment: &[(&str, &str)]) -> String {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
        let mut command = self.program(words);
        command.envs(environment.iter().copied());
        let mut child = command.stdout(File::options().write(true).open(path).unwrap()).spawn().unwrap();
        // Nobody else holds the terminal: its end is the program's.
        drop(command);
        let (mut text, mut master) = (Vec::new(), File::from(master));
        let _ = master.read_to_end(&mut text);
        assert_eq!(child.wait().unwrap().code(), Some(1));
        String::from_utf8(text).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn words_say_everything_and_a_terminal_gets_colours_and_a_bell_who_wants_it() {
    let line = Line::new().await;
    let bench = Bench::new(&line.world, 1, |_| {});
    let place = match &bench.place {
        trustbox_keys::station::link::Place::Unix(path) => format!("good=unix:{path}"),
        other => panic!("{other:?}"),
    };
    let run = Run { line: &line, devices: [place, "bad=unix:/nowhere/socket".to_owned()] };
    tokio::task::block_in_place(|| {
        let words = |text: &str| {
            for expected in ["PASS", "good: ", "FAIL", "bad: unknown device: identify: link: ", "help: "] {
                assert!(text.contains(expected), "{expected}: {text}");
            }
        };
        let coloured = run.on_terminal(&[], &[]);
        assert!(coloured.contains("\x1b[1m\x1b[32mPASS\x1b[0m"), "{coloured:?}");
        assert!(coloured.contains("\x1b[1m\x1b[31mFAIL\x1b[0m") && !coloured.contains(BELL), "{coloured:?}");
        // Without its colours it is the same text.
        for plain in [
            run.on_terminal(&[], &[("NO_COLOR", "1")]),
            run.on_terminal(&[], &[("TERM", "dumb")]),
            run.piped(&[]),
            run.piped(&["--bell"]),
        ] {
            assert!(!plain.contains([ESCAPE, BELL]), "{plain:?}");
            words(&plain);
        }
        let heard = run.on_terminal(&["--bell"], &[]);
        assert_eq!(heard.matches(BELL).count(), 4, "{heard:?}");
        assert!(run.piped(&["--json"]).lines().all(|line| line.starts_with('{')));
    });
    line.stop().await;
}
