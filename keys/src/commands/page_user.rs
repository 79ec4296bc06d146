//! `trustbox-keys page-user`: who may look at the line's page with a password and a code.

use std::path::PathBuf;

use age::secrecy::ExposeSecret;
use anyhow::{Context, Result, anyhow, ensure};
use clap::Args;
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use trustbox_keys::ceremony::protect;
use trustbox_keys::service::identity::Role;
use trustbox_keys::service::page::users::Users;

/// Lets somebody look at the line's page with a password and a code, or no more. The secret of the codes is shown once, for their
/// authenticator.
#[derive(Args)]
pub(crate) struct PageUser {
    /// The file that the service's configuration names as `page.users`; it is made where it is not there
    users: PathBuf,
    /// The name
    name: String,
    /// What they may: admin, auditor or factory
    #[arg(long, value_parser = parse_role, required_unless_present = "remove")]
    role: Option<Role>,
    /// File with the password, which is asked for where none is named
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
    /// Removes them
    #[arg(long, conflicts_with_all = ["role", "password_file"])]
    remove: bool,
}

impl PageUser {
    pub(crate) fn run(&self) -> Result<()> {
        let mut users = Users::read(&self.users)?;
        let Some(role) = self.role else {
            ensure!(users.remove(&self.name), "{} is not there", self.name);
            return users.write(&self.users);
        };
        let password = match &self.password_file {
            Some(path) => protect::read_passphrase(path)?,
            None => protect::ask_for_new(&format!("password of {}", self.name))?,
        };
        let address = users.add(&self.name, role, password.expose_secret())?;
        users.write(&self.users)?;
        let code = QrCode::new(address.as_bytes()).context("cannot make a QR code")?;
        println!("{}\n{}", code.render::<Dense1x2>().build(), address.as_str());
        Ok(())
    }
}

fn parse_role(text: &str) -> Result<Role> {
    Role::parse(text).ok_or_else(|| anyhow!("no such role"))
}
