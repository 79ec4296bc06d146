//! TLS certificates for the service and its clients, from a small CA of their own. For those who have no CA yet, and for tests.
//!
//! ```text
//! DIR/ca.pem, ca.key.pem             the CA; the key belongs offline
//! DIR/server.pem, server.key.pem     the service
//! DIR/ROLE-NAME/ca.pem, client.pem, client.key.pem   a client: what `--identity` takes
//! ```

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

use crate::files;
use crate::service::identity::Role;

const CA: &str = "ca.pem";
const CA_KEY: &str = "ca.key.pem";

/// Makes what is missing: the CA, a certificate of the service for `hosts`, and one for each client, `ROLE:NAME`.
pub fn ensure_all(dir: &Path, hosts: &[String], clients: &[(Role, String)]) -> Result<()> {
    make_dir(dir)?;
    let (ca, ca_pem) = authority(dir)?;
    if !hosts.is_empty() {
        let mut params = CertificateParams::new(hosts.to_vec())?;
        params.distinguished_name.push(DnType::CommonName, &hosts[0]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        issue(&ca, params, &dir.join("server.pem"), &dir.join("server.key.pem"))?;
    }
    for (role, name) in clients {
        let folder = dir.join(format!("{}-{name}", role.name()));
        make_dir(&folder)?;
        files::write(&folder.join(CA), ca_pem.as_bytes())?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::OrganizationalUnitName, role.name());
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        issue(&ca, params, &folder.join("client.pem"), &folder.join("client.key.pem"))?;
    }
    Ok(())
}

fn make_dir(dir: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.with_context(|| format!("cannot make {}", dir.display()))
}

fn authority(dir: &Path) -> Result<(Issuer<'static, KeyPair>, String)> {
    let (path, key_path) = (dir.join(CA), dir.join(CA_KEY));
    ensure!(
        path.exists() == key_path.exists(),
        "{} has half of a CA\nhelp: bring {CA_KEY} back, or begin in another folder",
        dir.display()
    );
    if !path.exists() {
        let key = KeyPair::generate()?;
        files::write_private(&key_path, key.serialize_pem().as_bytes())?;
        let ca = CertifiedIssuer::self_signed(ca_params(), key)?;
        files::write(&path, ca.pem().as_bytes())?;
    }
    let bytes = files::read_private(&key_path)?;
    let key = KeyPair::from_pem(std::str::from_utf8(&bytes).unwrap_or_default());
    let key = key.ok().with_context(|| format!("{}: not a private key in PEM", key_path.display()))?;
    let pem = String::from_utf8(files::read(&path)?.to_vec())?;
    Ok((issuer(key), pem))
}

/// A CA by its key, to sign with.
pub fn issuer(key: KeyPair) -> Issuer<'static, KeyPair> {
    Issuer::new(ca_params(), key)
}

fn ca_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "TrustBox keys CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn issue(
    ca: &Issuer<'_, KeyPair>,
    params: CertificateParams,
    certificate: &Path,
    key_path: &Path,
) -> Result<()> {
    if certificate.exists() && key_path.exists() {
        return Ok(());
    }
    let key = KeyPair::generate()?;
    files::write_private(key_path, key.serialize_pem().as_bytes())?;
    files::write(certificate, params.signed_by(&key, ca)?.pem().as_bytes())
}
