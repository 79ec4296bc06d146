//! Addresses and name servers: what the data partition says of addresses comes before what the image says, and programs that ask name
//! servers find them in a file. Nothing here listens.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Files of systemd.network(5) on the data partition; root alone writes there.
const OWN: &str = "/var/lib/data/network";
/// Where they count, and what their names get in front: the first file by name that fits an interface is taken.
const USED: &str = "/run/systemd/network";
const FIRST: &str = "10-";
/// Interfaces, and what udev would write of a device that it is done with.
const INTERFACES: &str = "/sys/class/net";
const ANNOUNCED: &str = "/run/udev/data";
/// What systemd-networkd says of all links together.
const STATE: &str = "/run/systemd/netif/state";
/// `/etc/resolv.conf` points there.
const RESOLV: &str = "/run/trustbox-resolver/resolv.conf";
/// More than this nobody means.
const MOST_FILES: usize = 16;
const MOST_OCTETS: u64 = 16 << 10;
/// How long the boot report waits for a first address, and then for one of the other kind.
const PATIENCE: Duration = Duration::from_secs(10);
const OTHER_KIND: Duration = Duration::from_secs(8);
const LOOK: Duration = Duration::from_millis(100);
/// What the C library reads (resolv.conf(5)).
const MOST_SERVERS: usize = 3;

/// Puts the data partition's files where they count. One that is none is left out: the device keeps the addresses it can have.
pub(crate) fn prepare() -> Result<()> {
    announce().context("cannot announce the interfaces")?;
    put(Path::new(OWN), Path::new(USED))
}

/// There is no udev, for whose word systemd-networkd waits: interfaces that are there now have it from us.
fn announce() -> Result<()> {
    fs::create_dir_all(ANNOUNCED)?;
    for interface in fs::read_dir(INTERFACES)? {
        let number = fs::read_to_string(interface?.path().join("ifindex"))?;
        fs::write(Path::new(ANNOUNCED).join(format!("n{}", number.trim())), "I:1\n")?;
    }
    Ok(())
}

fn put(own: &Path, used: &Path) -> Result<()> {
    let _ = fs::remove_dir_all(used);
    fs::create_dir_all(used).with_context(|| format!("cannot make {}", used.display()))?;
    let entries = fs::read_dir(own).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.sort();
    for file in files.iter().filter(|file| !is_network(file)) {
        eprintln!("{}: left out: no file NAME.network of at most {MOST_OCTETS} octets", file.display());
    }
    files.retain(|file| is_network(file));
    for file in files.iter().skip(MOST_FILES) {
        eprintln!("{}: left out: there are more than {MOST_FILES}", file.display());
    }
    for file in files.iter().take(MOST_FILES) {
        let name = file.file_name().context("a file has no name")?.to_string_lossy();
        let to = used.join(format!("{FIRST}{name}"));
        fs::write(&to, fs::read(file)?).with_context(|| format!("cannot write {}", to.display()))?;
    }
    Ok(())
}

fn is_network(file: &Path) -> bool {
    let small = file.symlink_metadata().is_ok_and(|facts| facts.is_file() && facts.len() <= MOST_OCTETS);
    small && file.extension().is_some_and(|end| end == "network")
}

/// Writes down the name servers, whole or not at all.
pub(crate) fn name_servers() -> Result<()> {
    let state = fs::read_to_string(STATE).with_context(|| format!("cannot read {STATE}"))?;
    let text: String =
        servers(&state).iter().take(MOST_SERVERS).map(|server| format!("nameserver {server}\n")).collect();
    let part = format!("{RESOLV}.unfinished");
    fs::write(&part, text).with_context(|| format!("cannot write {part}"))?;
    fs::rename(part, RESOLV).with_context(|| format!("cannot write {RESOLV}"))
}

/// Addresses only: what else a network may call a name server is left out.
fn servers(state: &str) -> Vec<IpAddr> {
    let words = state.lines().find_map(|line| line.strip_prefix("DNS=")).unwrap_or_default();
    words.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// For the boot report: addresses that others can reach, and name servers.
pub(crate) fn found() -> Value {
    json!({"addresses": settled(), "name_servers": asked(&read(RESOLV))})
}

/// Addresses, as soon as there are both kinds or nobody waits any more.
fn settled() -> Vec<IpAddr> {
    let start = Instant::now();
    let mut first = None;
    loop {
        let found = addresses();
        let both = found.iter().any(IpAddr::is_ipv4) && found.iter().any(IpAddr::is_ipv6);
        first = first.or((!found.is_empty()).then(Instant::now));
        let over = first.map_or(start.elapsed() > PATIENCE, |first| first.elapsed() > OTHER_KIND);
        if both || over {
            return found;
        }
        std::thread::sleep(LOOK);
    }
}

fn addresses() -> Vec<IpAddr> {
    let four = addresses_4(&read("/proc/net/fib_trie")).into_iter().map(IpAddr::from);
    four.chain(addresses_6(&read("/proc/net/if_inet6")).into_iter().map(IpAddr::from)).collect()
}

fn read(name: &str) -> String {
    fs::read_to_string(name).unwrap_or_default()
}

fn asked(resolv: &str) -> Vec<&str> {
    resolv.lines().filter_map(|line| line.strip_prefix("nameserver ")).collect()
}

/// The kernel's table of routes names each address of its own as a host: `|-- ADDRESS`, then `/32 host LOCAL`.
fn addresses_4(table: &str) -> Vec<Ipv4Addr> {
    let lines: Vec<&str> = table.lines().map(str::trim).collect();
    let own = lines.windows(2).filter(|pair| pair.get(1) == Some(&"/32 host LOCAL"));
    let mut found: Vec<Ipv4Addr> =
        own.filter_map(|pair| pair.first()?.strip_prefix("|-- ")?.parse().ok()).collect();
    found.retain(|address| !address.is_loopback());
    found.sort_unstable();
    found.dedup();
    found
}

/// Lines of `ADDRESS INDEX PREFIX SCOPE FLAGS NAME`, in hexadecimal digits.
fn addresses_6(table: &str) -> Vec<Ipv6Addr> {
    let numbers = table.lines().filter_map(|line| u128::from_str_radix(line.split(' ').next()?, 16).ok());
    let mut found: Vec<Ipv6Addr> = numbers.map(Ipv6Addr::from).collect();
    found.retain(|address| !address.is_loopback() && !address.is_unicast_link_local());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_addresses_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let (own, used) = (folder.path().join("own"), folder.path().join("used"));
        fs::create_dir(&own).unwrap();
        for (name, content) in
            [("a.network", "1"), ("b.netdev", "2"), ("c.network", &"3".repeat(MOST_OCTETS as usize + 1))]
        {
            fs::write(own.join(name), content).unwrap();
        }
        std::os::unix::fs::symlink("a.network", own.join("d.network")).unwrap();
        fs::create_dir(own.join("e.network")).unwrap();
        let names = || {
            let entries = fs::read_dir(&used).unwrap().flatten();
            let mut names: Vec<_> =
                entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        put(&own, &used).unwrap();
        assert_eq!(names(), ["10-a.network"]);
        for number in 0..MOST_FILES {
            fs::write(own.join(format!("m{number:02}.network")), "").unwrap();
        }
        put(&own, &used).unwrap();
        assert_eq!(names().len(), MOST_FILES);
        fs::remove_dir_all(&own).unwrap();
        put(&own, &used).unwrap();
        assert!(names().is_empty());
    }

    #[test]
    fn a_name_server_is_an_address() {
        let state =
            "OPER_STATE=routable\nDNS=10.0.2.3 fec0::3 options\\nx dns.example 10.0.2.3:53#x\nNTP=1.2.3.4\n";
        assert_eq!(
            servers(state).iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.0.2.3", "fec0::3"]
        );
        assert!(servers("OPER_STATE=off\n").is_empty());
    }

    #[test]
    fn addresses_are_those_that_others_reach() {
        let table = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 10.0.2.15\n\
                     /32 host LOCAL\n     |-- 10.0.2.255\n        /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
        assert_eq!(addresses_4(table), [Ipv4Addr::new(10, 0, 2, 15)]);
        let table = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     fec00000000000005054 00\nfe80000000000000505400fffe123456 02 40 20 80     eth0\n\
                     fec0000000000000505400fffe123456 02 40 40 00     eth0\n";
        assert_eq!(
            addresses_6(table).last().map(ToString::to_string).as_deref(),
            Some("fec0::5054:ff:fe12:3456")
        );
        assert!(addresses_6(table).iter().all(|address| !address.is_unicast_link_local()));
    }
}
