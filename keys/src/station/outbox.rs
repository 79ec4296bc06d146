//! What the registry has not heard yet: signed reports in a folder, one file each, until the registry took them. A line works on
//! without its network; what is here goes there later, in the order of time, as often as need be.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use trustbox_api::PublicKey;

use super::report::Report;
use crate::client::{Connection, blocking};
use crate::files;

/// The folder.
pub struct Outbox(PathBuf);

/// What became of what was in it.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Sent {
    /// Reports that the registry took.
    pub taken: usize,
    /// Reports that it refused, which stay: the file and why.
    pub refused: Vec<(PathBuf, String)>,
}

impl Outbox {
    /// The outbox of a journal; the folder is made where it is not there.
    pub fn of(journal: &Path) -> Result<Self> {
        let folder = journal.join("outbox");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self(folder))
    }

    /// Keeps a signed report; it lasts before this returns.
    pub fn put(&self, report: &Report, file: &[u8]) -> Result<()> {
        files::write(&self.0.join(format!("{:012}-{}.json", report.time, report.device_id)), file)
    }

    /// Reports that wait, the oldest first.
    pub fn waiting(&self) -> Result<Vec<PathBuf>> {
        let listed =
            std::fs::read_dir(&self.0).with_context(|| format!("cannot read {}", self.0.display()))?;
        let paths = listed.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
        let mut paths: Vec<_> = paths
            .into_iter()
            .filter(|path| path.extension().is_some_and(|suffix| suffix == "json"))
            .collect();
        paths.sort();
        Ok(paths)
    }

    /// Sends what waits. `key` is the factory CA's: what it did not sign is not ours to send.
    pub fn send(&self, service: &str, identity: &Path, key: &PublicKey) -> Result<Sent> {
        let waiting = self.waiting()?;
        if waiting.is_empty() {
            return Ok(Sent::default());
        }
        blocking(service, identity, async |mut connection| {
            let mut sent = Sent::default();
            for path in waiting {
                // Another process may have sent it meanwhile.
                let Ok(file) = files::read(&path) else { continue };
                match one(&mut connection, &file, key).await? {
                    Ok(()) => {
                        let _ = std::fs::remove_file(&path);
                        sent.taken += 1;
                    }
                    Err(why) => sent.refused.push((path, why)),
                }
            }
            Ok(sent)
        })
    }
}

/// The device first, then what became of it. The outer error is that the registry does not answer.
async fn one(connection: &mut Connection, file: &[u8], key: &PublicKey) -> Result<Result<(), String>> {
    let report = match Report::verify(file, key) {
        Ok((report, _)) => report,
        Err(error) => return Ok(Err(format!("{error:#}"))),
    };
    let mut asked = Vec::new();
    if let Some(entry) = &report.entry {
        asked.push(("PUT", format!("/v1/devices/{}", report.device_id), serde_json::to_value(entry)?));
    }
    let text = std::str::from_utf8(file).context("a report is not UTF-8")?;
    asked.push(("POST", "/v1/reports".to_owned(), json!({"report": text})));
    for (method, path, body) in asked {
        let answer = connection.send(method, Some(&path), body.to_string().into_bytes(), &[]).await?;
        if answer.status >= 500 || answer.status == 429 {
            answer.json()?;
        }
        if let Err(error) = answer.json().map(drop::<Value>) {
            return Ok(Err(format!("{error:#}")));
        }
    }
    Ok(Ok(()))
}
