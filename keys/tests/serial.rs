//! A serial console without a board: the agent of the line's images on a pseudo-terminal of this host, and everything that happens to
//! what is on a line. The station on an emulated device's console is in `build/tb test --only station`.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use trustbox_keys::station::link::{Link, Place, Trouble};

/// What happens on the line.
#[derive(Clone, Default)]
struct Line {
    /// Octets that still come through to the station; none where all do.
    left: Option<usize>,
    /// One octet of so many is another one, to the board and to the station; 0 for none.
    noise: [usize; 2],
    /// What the station says comes back to it.
    echoes: bool,
    /// It ends.
    over: bool,
}

/// A board with its agent and the line to it.
struct Board {
    agent: Child,
    place: Place,
    line: Arc<Mutex<Line>>,
}

impl Drop for Board {
    fn drop(&mut self) {
        self.line.lock().unwrap().over = true;
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

/// A pseudo-terminal: the end that a cable is plugged into, and the path of the other.
fn terminal() -> (File, String) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let path = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    (File::from(master), path)
}

impl Board {
    fn new() -> Self {
        let ((station, path), (board, tty)) = (terminal(), terminal());
        let agent = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/station-agent");
        let agent = Command::new("sh").arg(agent).arg(tty).stderr(Stdio::null()).spawn().unwrap();
        let line = Arc::new(Mutex::new(Line::default()));
        let there = [station.try_clone().unwrap(), board.try_clone().unwrap(), station.try_clone().unwrap()];
        let back = [board, station];
        for (direction, mut ends) in [Vec::from(there), Vec::from(back)].into_iter().enumerate() {
            let line = Arc::clone(&line);
            spawn(move || carry(direction, &mut ends, &line));
        }
        Self { agent, place: Place::Serial(path, 115_200), line }
    }

    fn link(&self) -> Link {
        Link::open(&self.place, None).unwrap()
    }

    fn happens(&self, change: impl FnOnce(&mut Line)) {
        change(&mut self.line.lock().unwrap());
    }
}

/// From the first end to the second, and to the third what is echoed.
fn carry(direction: usize, ends: &mut [File], line: &Mutex<Line>) {
    let (mut bytes, mut carried) = ([0; 512], 0);
    loop {
        let Ok(count) = ends[0].read(&mut bytes) else {
            if line.lock().unwrap().over {
                return;
            }
            // Nobody has the terminal open at the moment.
            sleep(Duration::from_millis(2));
            continue;
        };
        let mut through = bytes[..count].to_vec();
        let now = line.lock().unwrap().clone();
        for byte in &mut through {
            carried += 1;
            if now.noise[direction] > 0 && carried % now.noise[direction] == 0 {
                *byte ^= 0x15;
            }
        }
        if let (1, Some(left)) = (direction, now.left) {
            through.truncate(left);
            line.lock().unwrap().left = Some(left - through.len());
        }
        let _ = ends[1].write_all(&through);
        if now.echoes {
            let _ = ends.get_mut(2).map(|end| end.write_all(&through));
        }
    }
}

fn trouble(error: &anyhow::Error) -> &Trouble {
    error.downcast_ref().unwrap_or_else(|| panic!("{error:#}"))
}

#[test]
fn commands_run_and_their_output_comes_as_it_is() {
    let board = Board::new();
    let mut link = board.link();
    assert_eq!(link.run(&["printf", "%s", "it's \"$HOME\"\n"]).unwrap(), b"it's \"$HOME\"\n");
    assert_eq!(link.run(&["true"]).unwrap(), b"");
    let error = link.run(&["sh", "-c", "echo out; echo no >&2; exit 7"]).unwrap_err().to_string();
    assert!(error.contains("exit status 7: no"), "{error}");
    // More than a terminal takes in a line, both ways, and every octet.
    let long = "x".repeat(9000);
    assert_eq!(link.run(&["printf", "%s", &long]).unwrap(), long.as_bytes());
    let all = link.run(&["sh", "-c", "head -c 20000 /dev/zero; printf '\\377\\0\\r\\n'"]).unwrap();
    assert!(all.len() == 20004 && all.ends_with(&[255, 0, 13, 10]), "{}", all.len());
    let path = link.put("file", b"what is put there").unwrap();
    assert_eq!(link.run(&["cat", &path]).unwrap(), b"what is put there");
    assert!(link.waited > Duration::ZERO);
}

#[test]
fn a_line_with_noise_and_echo_gives_right_answers_and_runs_nothing_twice() {
    let (board, folder) = (Board::new(), tempfile::tempdir().unwrap());
    let mut link = board.link();
    board.happens(|line| (line.noise, line.echoes) = ([1777, 1571], true));
    let count = folder.path().join("count");
    let script = format!("echo once >>{}; head -c 6000 /dev/zero | tr '\\0' y", count.display());
    for turn in 1..=8 {
        assert_eq!(link.run(&["sh", "-c", &script]).unwrap(), "y".repeat(6000).as_bytes());
        assert_eq!(fs::read_to_string(&count).unwrap().lines().count(), turn);
    }
    // More of it than anybody gets through.
    board.happens(|line| (line.noise, line.echoes) = ([0, 23], false));
    let error = link.run(&["true"]).unwrap_err();
    assert!(matches!(trouble(&error), Trouble::Noise(_)), "{error:#}");
    board.happens(|line| line.noise = [29, 0]);
    let error = link.run(&["true"]).unwrap_err();
    assert!(matches!(trouble(&error), Trouble::Noise(_)), "{error:#}");
    board.happens(|line| line.noise = [0, 0]);
    assert_eq!(link.run(&["echo", "quiet"]).unwrap(), b"quiet\n");
}

#[test]
fn a_console_that_is_cut_in_the_middle_of_a_line_is_named_and_goes_on_later() {
    std::thread::scope(|scope| {
        for left in [0, 30, 45, 700] {
            scope.spawn(move || cut_after(left));
        }
    });
}

fn cut_after(left: usize) {
    let board = Board::new();
    let mut link = board.link();
    board.happens(|line| line.left = Some(left));
    let start = Instant::now();
    let error = link.run(&["sh", "-c", "head -c 900 /dev/zero"]).unwrap_err();
    assert!(matches!(trouble(&error), Trouble::Gone(_)), "{error:#}");
    assert!(start.elapsed() < Duration::from_secs(60), "{left}: {:?}", start.elapsed());
    drop(link);
    board.happens(|line| line.left = None);
    assert_eq!(board.link().run(&["echo", "again"]).unwrap(), b"again\n");
}

#[test]
fn who_asks_what_is_forgotten_or_what_another_one_has_hears_so() {
    let board = Board::new();
    let mut link = board.link();
    let error = Link::open(&board.place, None).err().unwrap().to_string();
    assert!(error.contains("another station uses"), "{error}");
    // A command may take longer than a line may be silent.
    assert_eq!(link.run(&["sh", "-c", "sleep 32; echo late"]).unwrap(), b"late\n");
    drop(link);
    let not_one = Place::Serial("/dev/null".to_owned(), 115_200);
    assert!(Link::open(&not_one, None).is_err());
    let nothing = Place::Serial("/dev/no-such-console".to_owned(), 115_200);
    assert!(Link::open(&nothing, None).err().unwrap().to_string().contains("cannot open"));
}
