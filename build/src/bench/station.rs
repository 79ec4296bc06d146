//! A factory's line on emulated devices: three at once beside one, what a station itself adds, and where the time goes. Devices make
//! their RSA keys before the clock runs.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};
use serde_json::{Value, json};

use super::measure::Measured;
use crate::builder::Builder;
use crate::running::wait_for;
use crate::suite::station::{Line, device, passed};

/// The device that is taken alone, and those that are taken together.
const ONE: &str = "alone";
const THREE: [&str; 3] = ["first", "second", "third"];
/// How long a device may take to start and to make its keys.
const PATIENCE: Duration = Duration::from_secs(300);
/// Ticks of a processor's time in a second, as `/proc` counts them.
const TICKS: f64 = 100.0;

/// What one run of a station took.
struct Taken {
    /// Until the last device passed.
    seconds: f64,
    /// Of the device for which the station itself did most: what it was not waited for.
    overhead: f64,
    /// Processor time of all emulators, and of the station with the service.
    emulators: f64,
    host: f64,
}

/// Figures and their references.
pub(super) fn figures(builder: &Builder) -> Result<(Vec<Measured>, Vec<Measured>)> {
    let mut line = Line::prepare(builder)?;
    // Three devices with more cores than this host wait for each other's turns.
    line.images.emulator.cpus = 1;
    let stop = AtomicBool::new(false);
    let (stop, images, folder) = (&stop, &line.images, &line.folder);
    let taken = std::thread::scope(|scope| {
        let names = THREE.iter().chain([&ONE]);
        let devices: Vec<_> =
            names.clone().map(|name| scope.spawn(move || device(images, folder, name, stop))).collect();
        let taken = names.clone().try_for_each(|name| ready(&line, name));
        let taken = taken.and_then(|()| Ok((take(&line, &[ONE])?, take(&line, &THREE)?)));
        stop.store(true, Ordering::Relaxed);
        let ended =
            devices.into_iter().map(|one| one.join().unwrap_or_else(|_| Err(anyhow!("a thread failed"))));
        ended.collect::<Result<()>>().and(taken)
    });
    line.end()?;
    let (one, three) = taken?;
    let figure = |name, value| Measured::new(name, value, "s");
    let ours = vec![
        figure("station_three", three.seconds),
        figure("station_overhead", one.overhead.max(three.overhead)),
        figure("station_emulators", three.emulators),
        figure("station_host", three.host),
    ];
    let references = vec![
        figure("station_three", one.seconds),
        figure("station_emulators", one.emulators),
        figure("station_host", one.host),
    ];
    Ok((ours, references))
}

/// It is up and has its keys.
fn ready(line: &Line, name: &str) -> Result<()> {
    let socket = line.folder.join(format!("{name}.socket"));
    let stream = wait_for(PATIENCE, || Ok(UnixStream::connect(&socket).ok()))?;
    let mut stream = stream.with_context(|| format!("{name} is not there"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let argv = ["trustbox", "key", "export", "--json"];
    stream.write_all(format!("{}\n", json!({"argv": argv})).as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    ensure!(answer.contains("\"status\":0"), "{name} has no keys: {answer}");
    Ok(())
}

fn take(line: &Line, names: &[&str]) -> Result<Taken> {
    let (emulators, host) = (emulators()?, host()?);
    let start = Instant::now();
    let said = passed(&line.station("station.toml", names))?;
    let seconds = start.elapsed().as_secs_f64();
    let events = said.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
    let outcomes = events.iter().filter(|event| event["passed"] == true);
    let own =
        outcomes.filter_map(|event| Some(event["seconds"].as_f64()? - event["device_seconds"].as_f64()?));
    let overhead = own.fold(0.0, f64::max);
    Ok(Taken { seconds, overhead, emulators: self::emulators()? - emulators, host: self::host()? - host })
}

/// Processor time of the emulators that this process started.
fn emulators() -> Result<f64> {
    processes(|stat| stat.contains("(qemu"))
}

/// The same of the service, and of what ended: the station.
fn host() -> Result<f64> {
    let own = fs::read_to_string("/proc/self/stat")?;
    Ok(processes(|stat| stat.contains("(trustbox-keys"))? + time(&own, [15, 16]))
}

fn processes(wanted: impl Fn(&str) -> bool) -> Result<f64> {
    let own = std::process::id().to_string();
    let mut sum = 0.0;
    for entry in fs::read_dir("/proc")? {
        // Whoever is no process, or none any more, has no such file.
        let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else { continue };
        if wanted(&stat) && field(&stat, 3) == Some(&own) {
            sum += time(&stat, [13, 14]);
        }
    }
    Ok(sum)
}

/// Seconds in two fields of `stat` (proc(5), counted from 0).
fn time(stat: &str, fields: [usize; 2]) -> f64 {
    fields.iter().filter_map(|number| field(stat, *number)?.parse::<f64>().ok()).sum::<f64>() / TICKS
}

/// The name in parentheses may hold anything.
fn field(stat: &str, number: usize) -> Option<&str> {
    stat.rsplit_once(") ")?.1.split(' ').nth(number.checked_sub(2)?)
}
