//! The configuration file of `trustbox-keys serve`, TOML. Paths in it are relative to its folder. It has no secrets: it says
//! where they are, files that nobody else may read.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Config {
    /// Where clients are answered, over mutual TLS.
    pub listen: SocketAddr,
    /// `sqlite:PATH` or `postgres://…`.
    pub database: String,
    /// Connections to it at most.
    #[serde(default = "connections")]
    pub connections: u32,
    /// Name of this instance in the audit log.
    #[serde(default = "instance")]
    pub instance: String,
    /// Public key of the owner root, PEM.
    pub owner_root: PathBuf,
    /// The releaser's key: a file, in age or plain, or a PKCS#11 URI.
    pub releaser: String,
    /// Public keys of the revokers whose statements are published, besides the owner root.
    #[serde(default)]
    pub revokers: Vec<PathBuf>,
    /// CA of the factory that certifies attestation keys, PEM.
    #[serde(default)]
    pub factory_ca: Option<PathBuf>,
    /// File with the passphrase of key files in age; else the environment has it.
    #[serde(default)]
    pub passphrase_file: Option<PathBuf>,
    /// TLS.
    pub tls: Tls,
    /// Where class keys are.
    pub vault: VaultConfig,
    /// Limits.
    #[serde(default)]
    pub limits: Limits,
    /// Where metrics and health are, without TLS: for the local host or a management network.
    #[serde(default)]
    pub operations: Option<SocketAddr>,
    /// The line's web page.
    #[serde(default)]
    pub page: Option<Page>,
    /// The original's endpoint.
    #[serde(default)]
    pub compatibility: Option<Compatibility>,
    /// Who hears of revocations.
    #[serde(default)]
    pub webhooks: Vec<Webhook>,
}

/// Certificates of the service, and who may be its client.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tls {
    /// Certificate chain, PEM.
    pub certificate: PathBuf,
    /// Private key, PEM; nobody else may read it.
    pub key: PathBuf,
    /// CA of clients, PEM.
    pub clients: PathBuf,
}

/// Where class keys are.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", rename_all_fields = "kebab-case", tag = "kind")]
pub enum VaultConfig {
    /// In the database, sealed under a key of 32 bytes.
    Sealed {
        /// File with that key, in age or plain.
        key: PathBuf,
    },
    /// In a PKCS#11 token.
    Pkcs11 {
        /// URI of the token; its object is what labels begin with.
        uri: String,
        /// For tests with modules that cannot wrap with OAEP-SHA256: keys leave the token. NOT-TRUSTED
        #[serde(default)]
        dangerously_exportable: bool,
    },
    /// In the database, wrapped by a key of Azure Key Vault or Managed HSM. Not tried live.
    Azure {
        /// `https://NAME.vault.azure.net/keys/KEY/VERSION`.
        key: String,
        /// File with the access token, which the host's identity agent keeps fresh.
        token: PathBuf,
        /// CA of the vault, PEM.
        ca: PathBuf,
    },
}

/// Limits of one instance.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Limits {
    /// Requests of one client in a second, over some time.
    pub requests_per_second: u32,
    /// Requests of one client at once.
    pub burst: u32,
    /// Connections at a time.
    pub connections: usize,
    /// Seconds for one request, from its first byte to its answer.
    pub request_seconds: u64,
    /// Seconds that a challenge is good for.
    pub challenge_seconds: u64,
    /// Seconds that one for a device without a network may be good for.
    pub offline_challenge_seconds: u64,
}

/// The line's web page, over TLS with the service's certificate.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Page {
    /// Where it is.
    pub listen: SocketAddr,
    /// Who may look with a password: what `trustbox-keys page-user` writes. Certificates of clients do without.
    #[serde(default)]
    pub users: Option<PathBuf>,
    /// Seconds until somebody must log in again.
    #[serde(default = "shift")]
    pub session_seconds: u64,
    /// Tries to log in within a minute, from one address and under one name.
    #[serde(default = "logins")]
    pub logins_per_minute: u32,
}

/// The endpoint of the original: no authentication, PKCS#1 v1.5. Only keys whose policy says so.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Compatibility {
    /// Where it is answered.
    pub listen: SocketAddr,
    /// The URL's path.
    pub path: String,
    /// With the service's certificate, or in the clear.
    #[serde(default = "yes")]
    pub tls: bool,
    /// Requests of one address in a minute.
    pub requests_per_minute: u32,
}

/// Who hears of revocations.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Webhook {
    /// `https://HOST[:PORT]/PATH`.
    pub url: String,
    /// CA of that host, PEM.
    pub ca: PathBuf,
    /// File with the secret whose HMAC-SHA256 of the body is sent along.
    pub secret: PathBuf,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_second: 50,
            burst: 100,
            connections: 1024,
            request_seconds: 30,
            challenge_seconds: 300,
            offline_challenge_seconds: 7 * 86_400,
        }
    }
}

fn connections() -> u32 {
    8
}

fn instance() -> String {
    "main".to_owned()
}

fn shift() -> u64 {
    8 * 3600
}

fn logins() -> u32 {
    10
}

fn yes() -> bool {
    true
}

impl Config {
    /// Reads a file. Its folder must not be open to others.
    pub fn load(path: &Path) -> Result<Self> {
        let (mut config, folder): (Self, _) = read_private_toml(path)?;
        config.resolve(folder);
        config.check().with_context(|| path.display().to_string())?;
        Ok(config)
    }

    fn resolve(&mut self, folder: &Path) {
        let absolute = |path: &mut PathBuf| *path = folder.join(&path);
        let tls = &mut self.tls;
        [&mut self.owner_root, &mut tls.certificate, &mut tls.key, &mut tls.clients]
            .into_iter()
            .for_each(absolute);
        self.revokers
            .iter_mut()
            .chain(&mut self.factory_ca)
            .chain(&mut self.passphrase_file)
            .chain(self.page.iter_mut().flat_map(|page| &mut page.users))
            .for_each(absolute);
        self.webhooks.iter_mut().flat_map(|hook| [&mut hook.ca, &mut hook.secret]).for_each(absolute);
        match &mut self.vault {
            VaultConfig::Sealed { key } => absolute(key),
            VaultConfig::Azure { token, ca, .. } => [token, ca].into_iter().for_each(absolute),
            VaultConfig::Pkcs11 { .. } => {}
        }
        if !self.releaser.starts_with(trustbox_pkcs11::SCHEME) {
            self.releaser = folder.join(&self.releaser).display().to_string();
        }
        if let Some(path) = self.database.strip_prefix("sqlite:").filter(|path| !path.starts_with(['/', ':']))
        {
            self.database = format!("sqlite:{}", folder.join(path).display());
        }
    }

    fn check(&self) -> Result<()> {
        let limits = &self.limits;
        ensure!(limits.requests_per_second > 0 && limits.burst > 0, "limits of 0 requests answer nobody");
        if let Some(compatibility) = &self.compatibility {
            ensure!(
                compatibility.path.starts_with('/'),
                "compatibility: path {:?} does not begin with /",
                compatibility.path
            );
            ensure!(
                compatibility.requests_per_minute > 0,
                "compatibility: a limit of 0 requests answers nobody"
            );
        }
        for hook in &self.webhooks {
            ensure!(hook.url.starts_with("https://"), "webhook {}: not https", hook.url);
        }
        if self.database.contains('@')
            && self.database.split('@').next().is_some_and(|user| user.matches(':').count() > 1)
        {
            bail!("the database's URL has a password\nhelp: put it into a .pgpass file, or PGPASSWORD");
        }
        Ok(())
    }
}

/// A configuration, and the folder that paths in it are relative to. The folder must not be open to others.
pub(crate) fn read_private_toml<C: DeserializeOwned>(path: &Path) -> Result<(C, &Path)> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let config = toml::from_str(&text).with_context(|| path.display().to_string())?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    refuse_open_folder(folder)?;
    Ok((config, folder))
}

/// Keys do not lie where others can look or put something.
pub fn refuse_open_folder(folder: &Path) -> Result<()> {
    let shown = folder.display();
    let metadata = fs::metadata(folder).with_context(|| format!("cannot read folder {shown}"))?;
    let mode = metadata.mode() & 0o777;
    ensure!(
        mode & 0o027 == 0,
        "folder {shown} has mode {mode:o}, others may look into it or write\nhelp: chmod 700 {shown}"
    );
    Ok(())
}

/// Services that hold keys do not run as root.
pub fn refuse_root(allowed: bool) -> Result<()> {
    let root = rustix::process::geteuid().is_root();
    ensure!(
        !root || allowed,
        "this does not run as root\nhelp: a user of its own, as the systemd unit has; for tests there is --dangerously-as-root"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const TEXT: &str = "listen = \"127.0.0.1:8443\"\ndatabase = \"sqlite:keys.db\"\nowner-root = \"root.pem\"\nreleaser = \"releaser.key.age\"\n\
        [tls]\ncertificate = \"a\"\nkey = \"b\"\nclients = \"c\"\n[vault]\nkind = \"sealed\"\nkey = \"store.key.age\"\n";

    fn load(text: &str) -> Result<Config> {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let path = folder.path().join("service.toml");
        fs::write(&path, text).unwrap();
        Config::load(&path)
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let config = load(TEXT).unwrap();
        assert!(config.database.starts_with("sqlite:/") && config.database.ends_with("/keys.db"));
        assert!(config.releaser.ends_with("/releaser.key.age") && config.tls.key.is_absolute());
        assert!(config.compatibility.is_none());
    }

    #[test]
    fn what_is_not_understood_or_dangerous_is_refused() {
        let error = |text: &str| format!("{:#}", load(text).unwrap_err());
        assert!(error(&TEXT.replace("listen", "lisen")).contains("lisen"));
        assert!(
            error(&TEXT.replace("sqlite:keys.db", "postgres://me:secret@host/keys")).contains("password")
        );
        assert!(!error(&TEXT.replace("sqlite:keys.db", "postgres://me:secret@host/keys")).contains("secret"));
        let hook = "[[webhooks]]\nurl = \"http://host/\"\nca = \"a\"\nsecret = \"b\"\n";
        assert!(error(&format!("{TEXT}{hook}")).contains("not https"));
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("service.toml"), TEXT).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let open = Config::load(&folder.path().join("service.toml")).unwrap_err();
        assert!(open.to_string().contains("chmod 700"), "{open}");
    }
}
