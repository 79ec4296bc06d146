//! The host program: greets everybody who is named on the command line.

use std::error::Error;

use {{ident}}_interface::{{{Type}}Client, UUID};
use trustbox_client::TrustBox;

fn main() -> Result<(), Box<dyn Error>> {
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    if names.is_empty() {
        names.push("world".into());
    }
    let mut trustbox = TrustBox::open()?;
    let mut enclave = {{Type}}Client::new(trustbox.open_enclave(UUID.parse()?)?);
    for name in names {
        let greeting = enclave.greet(&name)?;
        println!("{} (greeting number {})", greeting.text, greeting.count);
    }
    Ok(())
}
