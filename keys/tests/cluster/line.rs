//! A station's line whose service loses its token in the middle of a device, and one whose disk is full.

use std::fs;
use std::process::Command;

use serde_json::Value;
use trustbox_keys::station::journal::{self, State};
use trustbox_keys::station::link::Place;

use crate::UNPLUGGED;
use crate::module::{folder_of, uri_in};
use crate::postgres::{Instance, keys_program};
use crate::support::bench::Bench;
use crate::support::factory_line::Line;

/// Between the challenge and the release.
pub(crate) async fn a_token_that_is_gone_in_the_middle_of_a_device() {
    let uri = uri_in(UNPLUGGED, "line");
    let vault = format!("kind = \"pkcs11\"\nuri = \"{uri}\"\ndangerously-exportable = true\n");
    let mut line = Line::with(&vault).await;
    let bench = Bench::new(&line.world, 1, |_| {});
    let (here, away) = (folder_of(UNPLUGGED), line.world.path("away"));
    let (from, to) = (here.clone(), away.clone());
    bench.when("trustbox key import --request", move || fs::rename(from, to).unwrap());
    let failure = line.fails(&bench, "keys", "vault").await;
    assert!(failure.help.contains("module"), "{failure}");
    // Nothing is half done: it is as it was before the step, and once the token is back it passes.
    assert_eq!((line.entry(0).state, line.entry(0).step.as_str()), (State::Failed, "enrol"));
    line.fails(&bench, "keys", "vault").await;
    fs::rename(&away, &here).unwrap();
    line.live.take().unwrap().running.stop().await;
    // SoftHSM finds it again after a restart only.
    let mut restarted = Instance::start(&line.world, 0);
    let url = restarted.url().await;
    line.at(&url);
    line.passes(&bench).await;
    restarted.stop();
}

/// Whether this host lets somebody have a small disk of their own.
pub(crate) fn small_disks() -> bool {
    let mounted = Command::new("unshare").args(["-Urm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]).status();
    mounted.is_ok_and(|status| status.success())
}

/// A file system of so many pages for the journal: full at one write or another. With room, the same device passes.
pub(crate) async fn a_journal_on_a_disk_that_is_full() {
    let line = Line::new().await;
    let mut failed = 0;
    for pages in 1..=5_u8 {
        let bench = Bench::new(&line.world, pages, |_| {});
        let (first, then) = tokio::task::block_in_place(|| on_disk(&line, pages, &bench));
        if first["passed"] == false {
            failed += 1;
            let failure = &first["failure"];
            assert_eq!(failure["name"], "journal", "{pages} pages: {failure}");
            assert!(failure["what"].as_str().unwrap().contains("No space left"), "{pages} pages: {failure}");
            assert!(failure["help"].as_str().unwrap().contains("space"), "{pages} pages: {failure}");
        }
        assert_eq!(then["passed"], true, "{pages} pages, then room: {then}");
        let folder = line.world.path(&format!("copy-{pages}"));
        let entries = journal::entries(&folder).unwrap();
        assert!(entries.len() == 1 && entries[0].state == State::Passed, "{entries:?}");
    }
    assert!(failed >= 2, "the disk was full {failed} times");
    line.stop().await;
}

/// What became of the device, and then with room; the journal is copied out of the small disk in the end.
fn on_disk(line: &Line, pages: u8, bench: &Bench) -> (Value, Value) {
    let at = |name: &str| line.world.path(&format!("{name}-{pages}"));
    fs::create_dir(at("small")).unwrap();
    line.configure("small.toml", "line 1", &format!("small-{pages}"), "");
    let Place::Unix(socket) = &bench.place else { panic!("a bench without a socket") };
    let script = "mount -t tmpfs -o mode=700,size=$1 tmpfs \"$2\" && shift && small=$1 copy=$2 && shift 2 && \
        { \"$@\"; mount -o remount,size=1m \"$small\" && \"$@\"; cp -r \"$small\" \"$copy\"; }";
    let mut command = Command::new("unshare");
    command.args(["-Urm", "sh", "-c", script, "sh", &(4096 * u32::from(pages)).to_string()]);
    command.arg(at("small")).arg(at("copy")).arg(keys_program());
    command.args(["station", "--json", "--config"]).arg(line.world.path("small.toml"));
    command.arg("--device").arg(format!("bench=unix:{socket}"));
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let events = said.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let outcomes: Vec<_> = events.filter(|event| event["passed"].is_boolean()).collect();
    let [first, then] = &outcomes[..] else {
        panic!("{said}{}", String::from_utf8_lossy(&output.stderr));
    };
    (first.clone(), then.clone())
}
