//! An image with containers on the emulated device, with files of somebody else in it: three containers, a file of addresses on the
//! data partition, and a program at two ports. Each container tells on the console what it can do.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::outside::{self, Doors};
use super::power_on::closed;
use super::{Bench, MOST};
use crate::boot::emulated::end_of;
use crate::firmware::EPOCH;
use crate::hash::sha256_hex;
use crate::image::ImageRequest;
use crate::image::emulate::{self, Options};
use crate::image::factory::Factory;
use crate::image::parts::Edition;
use crate::tool::Tool;

/// Where busybox is in its package.
const BUSYBOX: &str = "usr/bin/busybox";
/// Where images that are in the verified root are taken from, by the policy of `platform/image/containers`.
const IMAGE: &str = "usr/share/trustbox/containers/probe";
/// The program of the container: its first word is its name.
const PROBE: &str = r#"
say() { echo "container $name: $*"; }
name=$1
if [ "$name" = stays ]; then exec sleep 10000; fi
say "devices of the tee: $(ls /dev | grep -c tee)"
if [ -c /dev/tee0 ] && ( : <>/dev/tee0 ) 2>/dev/null; then say "tee: opens"; else say "tee: does not open"; fi
if ( : >/written ) 2>/dev/null; then say "root: written"; else say "root: read-only"; fi
if mount -t tmpfs none /tmp 2>/dev/null; then say "mount: done"; else say "mount: refused"; fi
say "user: $(awk '{ if ($2 >= 1048576) print "of its own"; else print "of the device" }' /proc/self/uid_map)"
say "capabilities: $(awk '/^CapBnd/ { print $2 }' /proc/self/status)"
say "interfaces: $(ls /sys/class/net)"
say "end"
"#;
/// What the containers must say. The second one is named in the image as one that talks to the TEE.
const SAID: [&str; 14] = [
    "container plain: devices of the tee: 0",
    "container plain: tee: does not open",
    "container plain: root: read-only",
    "container plain: mount: refused",
    "container plain: user: of its own",
    "container plain: capabilities: 0000000000000000",
    "container plain: interfaces: lo",
    "container plain: end",
    "container named: devices of the tee: 1",
    "container named: tee: opens",
    "container named: root: read-only",
    "container named: user: of its own",
    "container named: capabilities: 0000000000000000",
    "container named: end",
];
/// For Podman's generator (podman-systemd.unit(5)).
const PLAIN: &str = "[Container]\nImage=oci:/usr/share/trustbox/containers/probe\nExec=plain\n\
    [Service]\nType=oneshot\nRemainAfterExit=yes\nStandardOutput=journal+console\n\
    [Install]\nWantedBy=multi-user.target\n";
const NAMED: &str = "[Unit]\nAfter=plain.service\n\
    [Container]\nImage=oci:/usr/share/trustbox/containers/probe\nExec=named\n\
    AddDevice=/dev/tee0\nUserNS=auto:gidmapping=100:100:1\nGroupAdd=100\n\
    [Service]\nType=oneshot\nRemainAfterExit=yes\nStandardOutput=journal+console\n\
    [Install]\nWantedBy=multi-user.target\n";
const STAYS: &str = "[Unit]\nAfter=named.service\n\
    [Container]\nImage=oci:/usr/share/trustbox/containers/probe\nExec=stays\n\
    [Install]\nWantedBy=multi-user.target\n";
/// The report is made while a container runs.
const REPORT: &str = "[Unit]\nAfter=stays.service\n";
/// An address of its own, as whoever owns the device would put it there.
const ADDRESS: &str = "10.0.2.77";
const OVERRIDE: &str = "[Match]\nType=ether\n[Network]\nAddress=10.0.2.77/24\nDNS=10.0.2.9\nIPv6AcceptRA=no\nLinkLocalAddressing=no\n";
const PUTS: &str = "[Unit]\nRequires=trustbox-data.service\nAfter=trustbox-data.service\nBefore=trustbox-network.service\n\
    [Service]\nType=oneshot\nExecStart=/usr/lib/probe/busybox install -D /usr/lib/probe/own.network /var/lib/data/network/own.network\n";
const WANTS: &str = "[Unit]\nWants=puts.service\nAfter=puts.service\n";

impl Bench<'_> {
    /// Small enough; what runs in containers is closed; the device is as closed as without them.
    pub(super) fn containers(&self) -> Result<()> {
        let mut request =
            ImageRequest::development(self.builder, Edition { containers: true, ..Edition::default() })?;
        let folder = self.folder.join("with");
        let _ = fs::remove_dir_all(&folder);
        self.own_files(&folder)?;
        request.more = Some(folder);
        let made = self.builder.image(&request)?;
        let octets = made.root_octets();
        ensure!(octets <= MOST[1], "the root has {octets} octets, {} are allowed", MOST[1]);
        let image = self.file("containers.img");
        made.write(&image)?;
        let factory = Factory::prepare(self.builder)?;
        let doors = Doors::to(ADDRESS)?;
        let options = Options { forward: doors.forward.clone(), ..Options::of(&image, None) };
        let boot = emulate::boot_then(self.builder, Some(&factory), &options, |_| doors.knock())?;
        let report = boot.report.with_context(|| end_of(&boot.log))?;
        ensure!(report["failed"].as_object().is_some_and(serde_json::Map::is_empty), "{report}");
        for line in SAID {
            ensure!(boot.log.contains(line), "no {line:?}:\n{}", end_of(&boot.log));
        }
        let services = report["hardening"]["services"].as_array().context("no services")?;
        ensure!(services.contains(&json!("stays.service")), "{report}");
        let hardening = outside::without_them(&report["hardening"])?;
        closed(&hardening).with_context(|| report.to_string())?;
        started_from(&report["hardening"]["writable_and_executable"])?;
        let network = json!({"addresses": [ADDRESS], "name_servers": ["10.0.2.9"]});
        ensure!(report["network"] == network, "{}", report["network"]);
        Ok(())
    }

    /// What an image's maker would put into it besides.
    fn own_files(&self, folder: &Path) -> Result<()> {
        let busybox = fs::read(self.builder.binary("busybox-static")?.join(BUSYBOX))?;
        self.oci_image(&folder.join(IMAGE), &busybox)?;
        let containers = "etc/containers/systemd";
        let units = "etc/systemd/system";
        for (path, text) in [
            (format!("{containers}/plain.container"), PLAIN),
            (format!("{containers}/named.container"), NAMED),
            (format!("{containers}/stays.container"), STAYS),
            (format!("{units}/trustbox-report.service.d/10-probe.conf"), REPORT),
            (format!("{units}/trustbox-network.service.d/10-probe.conf"), WANTS),
            (format!("{units}/puts.service"), PUTS),
            ("usr/lib/probe/own.network".to_owned(), OVERRIDE),
        ] {
            put(&folder.join(path), text.as_bytes(), false)?;
        }
        for (path, text) in outside::FILES {
            put(&folder.join(path), text.as_bytes(), false)?;
        }
        put(&folder.join("usr/lib/probe/busybox"), &busybox, true)
    }

    /// An image of one layer (OCI image format, image layout).
    fn oci_image(&self, folder: &Path, busybox: &[u8]) -> Result<()> {
        let (staged, layer) = (self.folder.join("layer"), self.file("layer.tar"));
        let _ = fs::remove_dir_all(&staged);
        put(&staged.join("bin/busybox"), busybox, true)?;
        put(&staged.join("probe"), PROBE.as_bytes(), false)?;
        for name in ["dev", "etc", "proc", "run", "sys", "tmp"] {
            fs::create_dir_all(staged.join(name))?;
        }
        let tool = Tool::new("tar").args(["--sort=name", "--owner=0", "--group=0", "--mode=u+rw,go=rX"]);
        let tool =
            tool.arg(format!("--mtime=@{EPOCH}")).arg("-C").arg(&staged).arg("-cf").arg(&layer).arg(".");
        tool.output()?;
        let blob = |kind: &str, content: &[u8]| -> Result<Value> {
            let digest = sha256_hex(content);
            put(&folder.join("blobs/sha256").join(&digest), content, false)?;
            let kind = format!("application/vnd.oci.image.{kind}");
            Ok(json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": content.len()}))
        };
        let layer = blob("layer.v1.tar", &fs::read(layer)?)?;
        let config = json!({
            "architecture": "arm64", "os": "linux",
            "config": {"Entrypoint": ["/bin/busybox", "sh", "/probe"]},
            "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
        });
        let config = blob("config.v1+json", &serde_json::to_vec(&config)?)?;
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": [layer]});
        let manifest = blob("manifest.v1+json", &serde_json::to_vec(&manifest)?)?;
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        put(&folder.join("index.json"), &serde_json::to_vec(&index)?, false)?;
        put(&folder.join("oci-layout"), br#"{"imageLayoutVersion":"1.0.0"}"#, false)
    }
}

/// Programs are started from the verified root and from containers' storage, and from nowhere else.
fn started_from(mounts: &Value) -> Result<()> {
    let mounts: Vec<&str> = mounts.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    ensure!(mounts.contains(&"/var/lib/containers"), "{mounts:?}");
    ensure!(mounts.iter().all(|mount| mount.starts_with("/var/lib/containers")), "{mounts:?}");
    Ok(())
}

fn put(file: &Path, content: &[u8], executable: bool) -> Result<()> {
    fs::create_dir_all(file.parent().context("no folder above")?)?;
    fs::write(file, content).with_context(|| format!("cannot write {}", file.display()))?;
    let mode = if executable { 0o755 } else { 0o644 };
    Ok(fs::set_permissions(file, fs::Permissions::from_mode(mode))?)
}
