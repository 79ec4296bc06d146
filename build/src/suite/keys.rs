//! The key service on what it will run on: a PostgreSQL cluster and a SoftHSM token, both started by the tests themselves; and
//! `tb pack`, whose class keys are in it.

use std::env;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use trustbox_api::Uuid;
use trustbox_keys::dev::{self, Role};

use crate::builder::Builder;
use crate::demo::service::KeyService;
use crate::python;
use crate::sign_ta::{Algorithm, SigningKey, sign};
use crate::suite::{Case, Outcome, libtest};
use crate::tool::{Tool, find_program};

const GROUP: &str = "keys";
/// A COSE implementation for Python; it does not understand what newer versions of its CBOR library return.
const COSE: [&str; 2] = ["pycose==1.1.0", "cbor2==5.6.5"];

pub(crate) fn run(builder: &Builder) -> Result<Vec<Case>> {
    let log = builder.log("keys-cluster");
    let _ = fs::remove_file(&log);
    let test =
        ["test", "--color=never", "-p", "trustbox-keys", "--features", "cluster-tests", "--test", "cluster"];
    let tool = builder.cargo().args(test).help("the Debian packages postgresql and softhsm2 are needed");
    let mut cases = libtest::cases(GROUP, &log, tool.run(&log))?;
    cases.push(Case::of(GROUP, "tb pack with a class key that stays in the service", pack(builder)));
    cases.push(cose(builder));
    cases.push(unit(builder));
    Ok(cases)
}

/// The verifier's vector with a COSE implementation that is not ours. Without one, from PyPI, this is not tried.
fn cose(builder: &Builder) -> Case {
    let name = "the vectors of token and report verify with pycose, and no changed one does";
    let packages = match builder.python_packages(&COSE) {
        Ok(packages) => packages,
        Err(error) => {
            return Case::new(GROUP, name, Outcome::Skipped(format!("pip does not install pycose: {error}")));
        }
    };
    let verifier = builder.repo().root().join("keys/verifier");
    let tool = python::with(&packages).arg(verifier.join("tests/cose.py"));
    let said = ["blank-device", "enclave-report"]
        .iter()
        .fold(tool, |tool, name| tool.arg(verifier.join(format!("vectors/{name}.txt"))))
        .output();
    let all = said.and_then(|said| {
        ensure!(said.trim().ends_with("changed tokens refused"), "cose.py says {said}");
        Ok(())
    });
    Case::of(GROUP, name, all)
}

/// A package made with the service's class key opens with that key, and to the enclave that went in; who is no build agent makes
/// none.
fn pack(builder: &Builder) -> Result<()> {
    let keys = dev::ensure(&builder.repo().dev_keys())?;
    let folder = tempfile::tempdir()?;
    let at = |name: &str| folder.path().join(name);
    let mut service = KeyService::start(builder, &keys, &at("service"))?;
    let uuid: Uuid = "a3f1c2d4-5b6e-4f70-8192-a3b4c5d6e7f8".parse()?;
    let ta_key = SigningKey::load_or_generate(&builder.repo().dev_keys().join("ta-signing.pem"))?;
    fs::write(at("image.ta"), sign(&ta_key, Algorithm::Pss, &uuid.0.0, 3, b"an enclave")?)?;
    let pack = |identity: &Path, out: &str| {
        let words = ["pack", "--name", "meter", "--class-key", "demo-class", "--key-service", service.url()];
        let tool = Tool::new(env::current_exe()?).args(words).arg("--identity").arg(identity);
        let tool = tool.arg("--publisher").arg(keys.private_path(Role::Publisher));
        let tool = tool.arg("--owner-root").arg(keys.public_path(Role::OwnerRoot));
        tool.arg("--out").arg(at(out)).arg(at("image.ta")).output()
    };
    pack(&service.agent(), "meter.cpk")?;
    let unpack = Tool::new(env::current_exe()?).arg("unpack").arg(at("meter.cpk"));
    let unpack = unpack.arg("--key-file").arg(keys.class_keys_path());
    unpack.arg("--out").arg(at("again.ta")).output()?;
    ensure!(fs::read(at("again.ta"))? == fs::read(at("image.ta"))?, "another enclave came out than went in");
    let refused = pack(&service.line(), "refused.cpk").err().context("the factory's client packs")?;
    let refused = format!("{refused:#}");
    ensure!(refused.contains("refused, number 4") && !at("refused.cpk").exists(), "{refused}");
    for (outcome, count) in [("allowed", 1), ("denied", 1)] {
        let found = service.audited("wrap-content-key", outcome)?;
        ensure!(found == count, "the audit log has {found} of outcome {outcome}, expected {count}");
    }
    service.stop()
}

/// What systemd says of the unit, from 0 for safe to 10: at most 1.5.
fn unit(builder: &Builder) -> Case {
    let name = "systemd unit is hardened";
    let Some(program) = find_program("systemd-analyze") else {
        return Case::new(GROUP, name, Outcome::Skipped("no systemd-analyze on this host".to_owned()));
    };
    let unit = builder.repo().root().join("keys/deploy/trustbox-keys.service");
    let tool = Tool::new(program).args(["security", "--offline=true", "--threshold=15"]).arg(unit);
    Case::of(GROUP, name, tool.output().map(drop))
}
