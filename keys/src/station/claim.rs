//! One station has a device, whoever else has it before it: on one machine the journal's lock says so, over machines a lease, with
//! the registry where there is one and on the device itself always. A lease is renewed with every step, and ends by itself.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::clock;
use super::config::Config;
use super::link::{FOLDER, Link};
use crate::client::{Connection, blocking};

/// How long a lease lasts, in seconds: longer than the longest step.
pub const LEASE: u64 = 600;
/// Exit status of the script where another station has the device.
const OTHERS: i64 = 75;

/// Takes or renews the lease, or says who has it. By the device's time since it started, because its clock may say anything. Who
/// takes over what has ended looks again after a second: of two that do so at once, the later one has it.
const SCRIPT: &str = r#"mkdir -p "$1" && cd "$1" || exit 9
now=$(cut -d. -f1 /proc/uptime); new=claim.$$
echo "$now $2" >$new || exit 9
if ln $new claim 2>/dev/null; then rm $new; exit 0; fi
read -r since who <claim
if [ "$who" = "$2" ]; then mv $new claim; exit 0; fi
if [ $((now - since)) -lt "$3" ]; then rm $new; echo "$who"; exit 75; fi
mv $new claim; sleep 1; read -r since who <claim
[ "$who" = "$2" ] || { echo "$who"; exit 75; }"#;
/// Gives it back, if it is ours.
const RELEASE: &str =
    r#"read -r since who 2>/dev/null <"$1/claim" && [ "$who" = "$2" ] && rm "$1/claim"; exit 0"#;

/// Who a station is, to other stations: its name and its machine.
pub struct Claimant(String);

impl Claimant {
    /// This station on this machine.
    pub fn of(station: &str) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
        Self(
            format!("{}@{}", station, host.trim())
                .chars()
                .map(|c| if c == '@' { c } else { plain(c) })
                .collect(),
        )
    }

    /// As others hear of it.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Takes or renews the lease on the device; `Some` names the station that has it.
    pub fn on_device(&self, link: &mut Link) -> Result<Option<String>> {
        self.in_folder(link, FOLDER, LEASE)
    }

    fn in_folder(&self, link: &mut Link, folder: &str, lease: u64) -> Result<Option<String>> {
        let lease = lease.to_string();
        let (status, stdout, stderr) = link.said(&["sh", "-c", SCRIPT, "sh", folder, &self.0, &lease])?;
        match status {
            0 => Ok(None),
            OTHERS => Ok(Some(String::from_utf8_lossy(&stdout).trim().to_owned())),
            _ => anyhow::bail!("exit status {status}: {}", String::from_utf8_lossy(&stderr).trim()),
        }
    }

    /// Gives the device back; where it does not hear it, the lease ends by itself.
    pub fn release(&self, link: &mut Link) {
        let _ = link.said(&["sh", "-c", RELEASE, "sh", FOLDER, &self.0]);
    }

    /// The same in the registry; the error is that it does not answer.
    pub fn in_registry(&self, config: &Config, device_id: &str, step: &str) -> Result<Option<String>> {
        let body = json!({"station": self.0, "sku": config.sku, "step": step});
        let path = format!("/v1/devices/{device_id}/claim");
        let asked = async |mut connection: Connection| {
            connection.send("POST", Some(&path), body.to_string().into_bytes(), &[]).await
        };
        let answer = blocking(&config.service, &config.identity, asked)?;
        answer.time.map_or(Ok(()), |time| clock::agrees(time, "the service"))?;
        if answer.status != 409 {
            return answer.json().map(|_: Value| None);
        }
        let problem: Value = serde_json::from_slice(&answer.body).context("the answer is not JSON")?;
        Ok(Some(problem["detail"].as_str().unwrap_or("another station").to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::station::link::here::host;

    #[test]
    fn one_station_has_a_device_until_its_lease_ends() {
        let dir = tempfile::tempdir().unwrap();
        let (_server, place) = host(dir.path());
        let folder = dir.path().join("claims").display().to_string();
        let mut link = Link::open(&place, None).unwrap();
        let (one, two) = (Claimant::of("line 1"), Claimant::of("line 2; rm -rf /"));
        assert!(one.name().starts_with("line-1@") && !two.name().contains([' ', ';', '/']));
        let mut claim = |who: &Claimant, lease| who.in_folder(&mut link, &folder, lease).unwrap();
        assert_eq!(claim(&one, 600), None);
        assert_eq!(claim(&one, 600), None);
        assert_eq!(claim(&two, 600).as_deref(), Some(one.name()));
        // Once it has ended, whoever comes has it, and the first one hears so.
        assert_eq!(claim(&two, 0), None);
        assert_eq!(claim(&one, 600).as_deref(), Some(two.name()));
    }
}
