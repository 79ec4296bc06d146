//! A real OCI registry for the script that pushes packages: Debian's `docker-registry`, unpacked and not installed, over TLS and
//! with a password.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::builder::Builder;
use crate::running::{Running, wait_for};
use crate::tool::Tool;

/// How long the registry may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);
const USER: &str = "publisher";
const PASSWORD: &str = "secret";
/// Bcrypt of that password, as `htpasswd` writes it.
const HASH: &str = "$2y$05$sI7evHWzrO95st4NTDDFoO0P4co/ALXFU9GeV8sqbkD.gonYigydG";

/// The project's `ci push` puts its package there, octet for octet, and says so when the password is wrong.
pub(super) fn takes(builder: &Builder, project: &Path, name: &str) -> Result<()> {
    let registry = Registry::start(builder)?;
    let package = b"what is encrypted for devices and only carried here".repeat(1000);
    fs::write(project.join(format!("target/{name}.cpk")), &package)?;
    // Also brings the client, whose own download knows the host's authorities only.
    refused(registry.push(project, PASSWORD, false), "CERTIFICATE_VERIFY_FAILED")?;
    refused(registry.push(project, "wrong", true), "UNAUTHORIZED")?;
    let pushed = registry.push(project, PASSWORD, true)?;
    ensure!(pushed.contains("pushed "), "push says {pushed}");
    let manifest: Value = serde_json::from_str(&registry.get(&format!("{name}/manifests/1"))?)?;
    let layer = &manifest["layers"][0];
    ensure!(layer["mediaType"] == "application/vnd.trustbox.package", "the manifest says {layer}");
    let digest = layer["digest"].as_str().context("the manifest has no digest")?;
    let stored = registry.get(&format!("{name}/blobs/{digest}"))?;
    ensure!(stored.as_bytes() == package, "the registry has {} other octets", stored.len());
    Ok(())
}

fn refused(result: Result<String>, why: &str) -> Result<()> {
    let text = result.err().map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(text.contains("error: ") && text.contains(why), "not refused for {why}: {text:?}");
    Ok(())
}

struct Registry {
    folder: tempfile::TempDir,
    address: String,
    _program: Running,
}

impl Registry {
    fn start(builder: &Builder) -> Result<Self> {
        let program = program(builder)?;
        let folder = tempfile::tempdir()?;
        let tls = Tool::new(builder.keys_program()?).arg("tls").arg(folder.path().join("tls"));
        tls.args(["--host", "127.0.0.1", "--client", "admin:unused"]).output()?;
        // Free now; nobody else is expected to take it in the next moment.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        fs::write(folder.path().join("htpasswd"), format!("{USER}:{HASH}\n"))?;
        fs::write(folder.path().join("config.yml"), config(&address))?;
        let tool = Tool::new(program).dir(folder.path()).args(["serve", "config.yml"]);
        let log = fs::File::create(builder.log("docker-registry"))?;
        let child = tool.command_of_this_thread()?.stdout(log.try_clone()?).stderr(log).spawn()?;
        let registry = Self { folder, address, _program: Running(child) };
        registry.wait()?;
        Ok(registry)
    }

    fn wait(&self) -> Result<()> {
        let listening = wait_for(PATIENCE, || Ok(TcpStream::connect(&self.address).ok()))?;
        let log = "see target/tb/logs/docker-registry.log";
        listening
            .map(drop)
            .with_context(|| format!("docker-registry does not listen after {} s: {log}", PATIENCE.as_secs()))
    }

    /// What its author does; `trusted` when the registry's authority is known.
    fn push(&self, project: &Path, password: &str, trusted: bool) -> Result<String> {
        let tool = Tool::new("./ci").arg("push").dir(project).env("REGISTRY_AUTH", "basic");
        let tool = tool.env("REGISTRY", format!("{}/enclaves", self.address)).env("REGISTRY_USER", USER);
        let tool = tool.env("REGISTRY_PASSWORD", password);
        if trusted { tool.env("REQUESTS_CA_BUNDLE", self.authority()).output() } else { tool.output() }
    }

    fn get(&self, path: &str) -> Result<String> {
        let accept = "Accept: application/vnd.oci.image.manifest.v1+json";
        let tool = Tool::new("curl").args(["-fsS", "--user", &format!("{USER}:{PASSWORD}"), "-H", accept]);
        let tool = tool.arg("--cacert").arg(self.authority());
        tool.arg(format!("https://{}/v2/enclaves/{path}", self.address)).output()
    }

    fn authority(&self) -> PathBuf {
        self.folder.path().join("tls/ca.pem")
    }
}

fn config(address: &str) -> String {
    format!(
        "version: 0.1\n\
         storage: {{filesystem: {{rootdirectory: store}}}}\n\
         http: {{addr: \"{address}\", tls: {{certificate: tls/server.pem, key: tls/server.key.pem}}}}\n\
         auth: {{htpasswd: {{realm: test, path: htpasswd}}}}\n"
    )
}

/// The program out of Debian's package for this host.
fn program(builder: &Builder) -> Result<PathBuf> {
    let folder = builder.repo().cache().join("tools/docker-registry");
    let program = folder.join("usr/bin/docker-registry");
    if program.is_file() {
        return Ok(program);
    }
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder)?;
    Tool::new("apt-get").args(["download", "docker-registry"]).dir(&folder).output()?;
    let package = fs::read_dir(&folder)?.next().context("apt-get has downloaded nothing")??.path();
    Tool::new("dpkg-deb").arg("-x").arg(package).arg(&folder).output()?;
    Ok(program)
}
