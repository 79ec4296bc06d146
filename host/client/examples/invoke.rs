//! Calls an enclave once: `cargo run --example invoke -- UUID COMMAND [TEXT]`, on a device with TrustBox.
//!
//! Prints what device it is, launches the enclave, and waits for its answer five seconds at most.

use std::error::Error;
use std::time::Duration;

use trustbox_client::TrustBox;

/// Bytes of reply there is room for.
const CAPACITY: usize = 4096;
const LIMIT: Duration = Duration::from_secs(5);
const USAGE: &str = "usage: invoke UUID COMMAND [TEXT]";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let uuid = arguments.next().ok_or(USAGE)?.parse()?;
    let command = arguments.next().ok_or(USAGE)?.parse()?;
    let text = arguments.next().unwrap_or_default();

    let mut trustbox = TrustBox::open()?;
    let info = trustbox.info()?;
    println!("device {}, {}", info.device_id, info.lifecycle.name());

    let mut enclave = trustbox.open_enclave(uuid)?;
    let reply = enclave.invoke_within(command, text.as_bytes(), CAPACITY, LIMIT)?;
    println!("{}", String::from_utf8_lossy(&reply));
    Ok(())
}
