//! What the fuses of a board say, in its voucher: read through its link from a model of the registers, and held against the plan.

use std::fs;

use serde_json::Value;
use trustbox_keys::fuses::{ITS, OSPR0, OTPMK, Plan, SRKH};
use trustbox_keys::station::fuse::{NO_MASTER_KEY, SNVS_STATUS};
use trustbox_keys::station::signed::VOUCHER;
use trustbox_package::sign::public_key;

use crate::support::bench::Bench;
use crate::support::factory_line::Line;
use crate::support::fuse_plan::{self, OSPR1};

const SECURE: u32 = 0xf << 8;
const CLOSED: u32 = 7;

fn plan() -> Plan {
    let keys = (0..8).map(|word| (SRKH + 4 * word, Some(0x1111_1111 * (word as u32 + 1))));
    let others = [(OTPMK, None), (OSPR1, Some(CLOSED)), (OSPR0, Some(ITS))];
    fuse_plan::plan(keys.chain(others))
}

#[tokio::test(flavor = "multi_thread")]
async fn fuses_are_in_the_voucher_and_as_planned() {
    let line = Line::new().await;
    let plan = plan();
    plan.check().unwrap();
    fs::write(line.world.path("fuses.json"), serde_json::to_vec(&plan).unwrap()).unwrap();
    line.configure("station.toml", "line 1", "journal", "fuses = \"fuses.json\"");
    let bench = Bench::new(&line.world, 1, |_| {});
    let set = |register: u64, value: u32| bench.registers.lock().unwrap().insert(register, value);
    for fuse in &plan.fuses {
        set(fuse.register, fuse.value.unwrap_or_default());
    }
    set(SNVS_STATUS, SECURE);
    // What is not as it should be, by name, and then mended.
    for (register, wrong, right, name) in [
        (SRKH + 8, 0x3333_3332, 0x3333_3333, "foreign-fuses"),
        (SRKH, 0, 0x1111_1111, "foreign-fuses"),
        (OSPR1, 3, CLOSED, "fuse"),
        (OSPR0, 0, ITS, "fuse"),
        (SNVS_STATUS, 0xb << 8, SECURE, "snvs"),
        (SNVS_STATUS, SECURE | NO_MASTER_KEY, SECURE, "snvs"),
        (SNVS_STATUS, SECURE | 1 << 16, SECURE, "snvs"),
    ] {
        set(register, wrong);
        let failure = line.fails(&bench, "verify", name).await;
        assert!(failure.what.contains("0x"), "{failure}");
        set(register, right);
    }
    // More bits than the plan has are the board's own: counters, revocations.
    set(OSPR0, ITS | 1 << 10);
    line.passes(&bench).await;
    let file = fs::read(line.world.path(&format!("journal/{}.voucher.json", line.entry(0).device_id)));
    let key = public_key(line.world.keys.factory_ca.verifying_key());
    let fuses: Value = VOUCHER.verify(&file.unwrap(), &key).unwrap()["device"]["fuses"].clone();
    assert_eq!((&fuses["board"], &fuses["snvs"]), (&"model".into(), &"0x00000f00".into()));
    assert_eq!(fuses["registers"][format!("0x{OSPR0:08x}")], "0x00000404");
    assert_eq!(fuses["registers"][format!("0x{SRKH:08x}")], "0x11111111");
    // What is secret was not read.
    assert!(fuses["registers"].get(format!("0x{OTPMK:08x}")).is_none());
    assert_eq!(fuses["registers"].as_object().unwrap().len(), 10);
    line.stop().await;
}
