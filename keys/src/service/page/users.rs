//! Who may look with a password: a file of names, roles, Argon2id hashes and secrets of one-time passwords (TOTP, RFC 6238), which
//! nobody else may read. `trustbox-keys page-user` writes it; it is read anew at each use, so that who is removed is out.

use std::path::Path;
use std::sync::LazyLock;

use anyhow::{Context, Result, anyhow, ensure};
use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use serde::{Deserialize, Serialize};
use totp_rs::{Builder, Secret, Totp};
use zeroize::Zeroizing;

use crate::files;
use crate::service::identity::Role;

/// Bytes of a one-time password's secret, as RFC 4226 recommends.
const SECRET: usize = 20;
/// Seconds for which a one-time password is good, and one before and after it.
const STEP: u64 = 30;

/// One person.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct User {
    /// The name.
    pub name: String,
    /// The role, as in certificates.
    pub role: String,
    /// Argon2id, in the PHC's form.
    password: String,
    /// Base32.
    secret: Zeroizing<String>,
}

/// The file.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Users {
    users: Vec<User>,
}

impl Users {
    /// Reads the file; one that is not there has nobody.
    pub fn read(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        // The parser's words are not shown: they could quote a secret.
        let bytes = files::read_private(path)?;
        serde_json::from_slice(&bytes)
            .ok()
            .with_context(|| format!("{}: not a file of users", path.display()))
    }

    /// Writes it.
    pub fn write(&self, path: &Path) -> Result<()> {
        files::write_private(path, &Zeroizing::new(serde_json::to_vec_pretty(self)?))
    }

    /// A person.
    pub fn find(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    /// Adds a person; returns the address for an authenticator, which holds the new secret.
    pub fn add(&mut self, name: &str, role: Role, password: &str) -> Result<Zeroizing<String>> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let fits = !name.is_empty() && name.len() <= 32 && name.chars().all(plain);
        ensure!(fits, "a name has 1 to 32 letters, digits, dots, dashes");
        ensure!(may_look(role), "role {} does not look at the page", role.name());
        ensure!(self.find(name).is_none(), "{name} is there already\nhelp: remove first, then add again");
        let mut secret = Zeroizing::new([0; SECRET]);
        getrandom::fill(&mut *secret).context("no random numbers")?;
        let secret = Zeroizing::new(Secret::from(secret.to_vec()).to_base32());
        let address = format!("otpauth://totp/TrustBox:{name}?secret={}&issuer=TrustBox", secret.as_str());
        self.users.push(User {
            name: name.to_owned(),
            role: role.name().to_owned(),
            password: hashed(password)?,
            secret,
        });
        Ok(Zeroizing::new(address))
    }

    /// Removes a person; whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.users.len();
        self.users.retain(|user| user.name != name);
        self.users.len() < before
    }

    /// The role of a name whose password and one-time password are right, and the time step of that one. Who is not there takes as
    /// long as who is.
    pub fn check(&self, name: &str, password: &str, code: &str, time: u64) -> Option<(Role, u64)> {
        static NOBODY: LazyLock<Option<String>> = LazyLock::new(|| hashed("nobody has this password").ok());
        let user = self.find(name);
        let hash = user.map(|user| &user.password).or(NOBODY.as_ref())?;
        let hash = PasswordHash::new(hash).ok()?;
        let right = Argon2::default().verify_password(password.as_bytes(), &hash).is_ok();
        let user = user.filter(|_| right)?;
        let step = user.totp()?.check(code.trim(), time)?;
        Some((Role::parse(&user.role)?, step))
    }
}

impl User {
    /// Its role.
    pub fn role(&self) -> Option<Role> {
        Role::parse(&self.role)
    }

    fn totp(&self) -> Option<Totp> {
        let secret = Secret::try_from_base32(self.secret.as_str()).ok()?;
        Builder::new().with_secret(secret).with_step_duration(STEP).build().ok()
    }

    /// The one-time password of a time: for tests of others.
    pub fn code(&self, time: u64) -> Option<String> {
        Some(self.totp()?.generate(time).to_string())
    }
}

/// Whether a role looks at the page.
pub fn may_look(role: Role) -> bool {
    matches!(role, Role::Admin | Role::Auditor | Role::Factory)
}

fn hashed(password: &str) -> Result<String> {
    let mut salt = [0; 16];
    getrandom::fill(&mut salt).context("no random numbers")?;
    let hash: argon2::password_hash::phc::PasswordHash = Argon2::default()
        .hash_password_with_salt(password.as_bytes(), &salt)
        .map_err(|error| anyhow!("cannot hash a password: {error}"))?;
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_the_password_and_the_code_must_be_right() {
        let (mut users, time) = (Users::default(), 1_800_000_000);
        let address = users.add("carol", Role::Auditor, "correct horse battery").unwrap();
        assert!(address.starts_with("otpauth://totp/TrustBox:carol?secret="));
        assert!(users.add("carol", Role::Auditor, "another password").is_err());
        assert!(users.add("a b", Role::Auditor, "another password").is_err());
        assert!(users.add("dev", Role::Device, "another password").is_err());
        let code = users.find("carol").unwrap().code(time).unwrap();
        let check = |name, password, code: &str, time| users.check(name, password, code, time);
        let found = check("carol", "correct horse battery", &code, time);
        assert_eq!(found, Some((Role::Auditor, time / STEP)));
        assert_eq!(check("carol", "correct horse batterY", &code, time), None);
        assert_eq!(check("carol", "correct horse battery", &code, time + 10 * STEP), None);
        assert_eq!(check("carol", "correct horse battery", "", time), None);
        assert_eq!(check("mallory", "nobody has this password", &code, time), None);
        let file = serde_json::to_string(&users).unwrap();
        assert!(file.contains("$argon2id$v=19$m=19456,t=2,p=1$") && !file.contains("correct horse"));
        assert!(users.remove("carol") && !users.remove("carol"));
    }
}
