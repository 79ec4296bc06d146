//! What the owner of a network does: believes an enclave's report, and seals the weights to that enclave on that device.

use anyhow::{Context, Result, anyhow, ensure};
use ring::rand::{SecureRandom, SystemRandom};

use crate::builder::Builder;
use crate::demo::talk::{done, share};
use crate::device::Device;
use crate::tool::Tool;

const WEIGHTS: &str = "tests/enclaves/inference/data/weights.bin";

/// From an installed enclave without weights to one that has them. `program` is its host program on the device.
pub(super) fn deliver(builder: &Builder, device: &mut Device, program: &str, uuid: &str) -> Result<()> {
    let (folder, log) = (builder.work("weights")?, builder.log("trustbox-keys-seal"));
    let mut nonce = [0; 32];
    SystemRandom::new().fill(&mut nonce).map_err(|_| anyhow!("this host has no random numbers"))?;
    let nonce = crate::hash::hex(&nonce);
    let offer = device.exec(&[program, "--offer", &nonce])?;
    ensure!(offer.status == 0, "{program} --offer: {}", String::from_utf8_lossy(&offer.stderr));
    std::fs::write(folder.join("report"), &offer.stdout)?;
    std::fs::write(folder.join("key.pem"), done(device, &["key", "export", "--attestation"])?)?;
    let _ = std::fs::remove_file(&log);
    Tool::new(builder.keys_program()?)
        .arg("seal")
        .arg(builder.repo.root().join(WEIGHTS))
        .args(["--uuid", uuid, "--nonce", &nonce, "--not-secured"])
        .arg("--report")
        .arg(folder.join("report"))
        .arg("--key")
        .arg(folder.join("key.pem"))
        .arg("--out")
        .arg(folder.join("sealed"))
        .run(&log)?;
    let sealed = std::fs::read(folder.join("sealed")).context("nothing was sealed")?;
    let path = share(device, "weights.sealed", &sealed)?;
    let load = device.exec(&[program, "--load", &path])?;
    ensure!(load.status == 0, "{program} --load: {}", String::from_utf8_lossy(&load.stderr));
    Ok(())
}
