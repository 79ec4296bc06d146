//! Compares our signing of trusted applications with OP-TEE's own script.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};

use crate::builder::Builder;
use crate::sign_ta::{Algorithm, SigningKey, sign};
use crate::suite::Case;
use crate::tool::Tool;

const GROUP: &str = "signing";
const UUID: &str = "00112233-4455-6677-8899-aabbccddeeff";
const UUID_OCTETS: [u8; 16] =
    [0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff];
const VERSION: u32 = 7;
/// Header and digest, in front of the signature.
const BEFORE_SIGNATURE: usize = 52;

pub(crate) fn run(builder: &Builder) -> Result<Vec<Case>> {
    let script = builder.source("optee-os")?.folder.join("scripts/sign_encrypt.py");
    let key = builder.ta_signing_key()?;
    let bench = Bench { builder, script: &script, key: &key, elf: sample() };
    Ok(vec![
        Case::of(GROUP, "PKCS#1 v1.5 file equals that of sign_encrypt.py", bench.deterministic()),
        Case::of(
            GROUP,
            "PSS file equals that of sign_encrypt.py but for the salted signature",
            bench.salted(),
        ),
        Case::of(GROUP, "sign_encrypt.py verifies a PSS file of ours", bench.verified()),
    ])
}

/// Not an ELF file: the format does not look inside.
fn sample() -> Vec<u8> {
    (0..5000_u32).map(|number| (number % 251) as u8).collect()
}

struct Bench<'a> {
    builder: &'a Builder,
    script: &'a Path,
    key: &'a SigningKey,
    elf: Vec<u8>,
}

impl Bench<'_> {
    fn deterministic(&self) -> Result<()> {
        let ours = sign(self.key, Algorithm::Pkcs1v15, &UUID_OCTETS, VERSION, &self.elf)?;
        let theirs = self.theirs("TEE_ALG_RSASSA_PKCS1_V1_5_SHA256")?;
        ensure!(ours == theirs, "files differ at octet {:?}", first_difference(&ours, &theirs));
        Ok(())
    }

    fn salted(&self) -> Result<()> {
        let ours = sign(self.key, Algorithm::Pss, &UUID_OCTETS, VERSION, &self.elf)?;
        let theirs = self.theirs("TEE_ALG_RSASSA_PKCS1_PSS_MGF1_SHA256")?;
        ensure!(ours.len() == theirs.len(), "lengths differ: {} and {}", ours.len(), theirs.len());
        let after = ours.len() - self.elf.len() - UUID_OCTETS.len() - 4;
        ensure!(ours[..BEFORE_SIGNATURE] == theirs[..BEFORE_SIGNATURE], "headers differ");
        ensure!(ours[after..] == theirs[after..], "identity or ELF differ");
        Ok(())
    }

    fn verified(&self) -> Result<()> {
        let ours = sign(self.key, Algorithm::Pss, &UUID_OCTETS, VERSION, &self.elf)?;
        let folder = self.builder.work("signing")?;
        let file = folder.join("ours.ta");
        fs::write(&file, ours)?;
        let tool = self.script("verify").arg("--in").arg(&file);
        tool.run(&self.builder.log("signing"))
    }

    fn theirs(&self, algorithm: &str) -> Result<Vec<u8>> {
        let folder = self.builder.work("signing")?;
        let (elf, out) = (folder.join("sample.elf"), folder.join("theirs.ta"));
        fs::write(&elf, &self.elf)?;
        let tool = self.script("sign-enc").args(["--ta-version", &VERSION.to_string(), "--algo", algorithm]);
        tool.arg("--in").arg(elf).arg("--out").arg(&out).run(&self.builder.log("signing"))?;
        Ok(fs::read(out)?)
    }

    fn script(&self, command: &str) -> Tool {
        let pem = self.builder.repo.dev_keys().join("ta-signing.pem");
        let tool = Tool::new("/usr/bin/python3").arg("-B").arg(self.script).arg(command);
        tool.args(["--uuid", UUID, "--key"]).arg(pem)
    }
}

fn first_difference(ours: &[u8], theirs: &[u8]) -> Option<usize> {
    let differs = ours.iter().zip(theirs).position(|(a, b)| a != b);
    differs.or((ours.len() != theirs.len()).then_some(ours.len().min(theirs.len())))
}
