//! The configuration of a line, TOML. Paths in it are relative to its folder.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde::Deserialize;

use crate::service::config::read_private_toml;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Name of this station, in journals and vouchers.
    pub station: String,
    /// What is made here: stock-keeping unit, in vouchers.
    pub sku: String,
    /// Folder with a file for each device; it is made where it is not there.
    pub journal: PathBuf,
    /// Private key of the provisioning authority.
    pub authority: PathBuf,
    /// Public key of the owner root.
    pub owner_root: PathBuf,
    /// Certificate of the factory CA.
    pub factory_ca: PathBuf,
    /// Its private key.
    pub factory_ca_key: PathBuf,
    /// The owner's statements that every device gets.
    #[serde(default)]
    pub statements: Vec<PathBuf>,
    /// What is expected of a device at the end.
    #[serde(default)]
    pub references: Vec<PathBuf>,
    /// Plan of their fuses, `fuses.json`: what the voucher says of them, and what they must be; none where boards have none.
    #[serde(default)]
    pub fuses: Option<PathBuf>,
    /// Class of the devices, in the registry.
    pub class: String,
    /// Class keys that they get.
    #[serde(default)]
    pub class_keys: Vec<String>,
    /// The key service.
    pub service: String,
    /// The line works without it: devices get no class keys here, and the registry hears of them when `sync` says so.
    #[serde(default)]
    pub offline: bool,
    /// Configuration of SSH for the way to boards: keys, known hosts.
    #[serde(default)]
    pub ssh_config: Option<PathBuf>,
    /// Who asks it: folder of a client of role `factory`.
    pub identity: PathBuf,
}

impl Config {
    /// Reads a file. Its folder must not be open to others.
    pub fn load(path: &Path) -> Result<Self> {
        let (mut config, folder): (Self, _) = read_private_toml(path)?;
        let own = [
            &mut config.journal,
            &mut config.authority,
            &mut config.owner_root,
            &mut config.factory_ca,
            &mut config.factory_ca_key,
            &mut config.identity,
        ];
        let lists = config.statements.iter_mut().chain(&mut config.references);
        let optional = config.ssh_config.iter_mut().chain(&mut config.fuses);
        own.into_iter().chain(lists).chain(optional).for_each(|path| *path = folder.join(&*path));
        ensure!(!config.station.is_empty() && !config.sku.is_empty(), "station and sku have a name");
        Ok(config)
    }
}
