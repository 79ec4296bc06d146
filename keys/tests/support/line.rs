//! What stations report, signed as they sign it, without a station.

use serde_json::{Value, json};
use trustbox_keys::station::report::{Reason, Report};
use trustbox_keys::station::signed::VOUCHER;

use super::{Device, World};

/// A report of a device that passed, or failed of something.
pub fn report(world: &World, device: &Device, station: &str, failure: Option<&str>, time: u64) -> Report {
    let voucher = json!({"device_id": device.id.to_string(), "sku": "edge-201", "station": station,
        "device_key_sha256": "ab".repeat(32), "device": {"lifecycle": "locked", "hardware_key": "unique",
        "measurements": {"optee": "08".repeat(32)}}, "time": time, "previous": null});
    let voucher = VOUCHER.sign(&voucher, &world.keys.factory_ca).unwrap();
    let failure = failure.map(|name| Reason {
        name: name.to_owned(),
        what: format!("its {name} is <not> as this line wants it"),
        help: "put the device aside".to_owned(),
    });
    Report {
        device_id: device.id.to_string(),
        station: station.to_owned(),
        sku: "edge-201".to_owned(),
        started: time - 20,
        time,
        step: if failure.is_some() { "identify" } else { "voucher" }.to_owned(),
        voucher: failure.is_none().then(|| String::from_utf8(voucher).unwrap()),
        failure,
        entry: None,
    }
}

/// As it goes to the registry.
pub fn signed(world: &World, report: &Report) -> Value {
    json!({"report": String::from_utf8(report.sign(&world.keys.factory_ca).unwrap()).unwrap()})
}
