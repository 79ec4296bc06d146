//! The steps of one device.

use anyhow::{Context, Error, Result, anyhow, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use trustbox_api::Bytes;
use trustbox_api::token::{OPTEE, TRUSTBOX};
use trustbox_package::Request;
use trustbox_package::request::hex;
use trustbox_package::sign::public_key;
use trustbox_verifier::{Claims, ReferenceValues, Tier, Token, appraise};

use super::claim::Claimant;
use super::clock;
use super::fuse::{board, read_back};
use super::journal::{Journal, State};
use super::line::Station;
use super::link::Link;
use super::named::{AGAIN, ASIDE, CLOCK, JOURNAL, Named, OTHERS, POLICY, SERVICE};
use super::signed::VOUCHER;
use super::{Failure, Progress};
use crate::client::blocking;
use crate::factory::Requested;
use crate::files;
use crate::issue::{self, Asking};
use crate::protocol::{Device, parse_attestation_key};
use crate::service::now;

/// What `trustbox info` says, as far as a station asks.
pub(super) struct Info {
    pub(super) device_id: String,
    pub(super) lifecycle: String,
    owner_root: Option<String>,
    attestation_key: String,
    value: Value,
}

impl Info {
    pub(super) fn of(link: &mut Link) -> Result<Self> {
        let value = link.trustbox(&["info"])?;
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        Ok(Self {
            device_id: text("device_id").context("info has no device id")?,
            lifecycle: text("lifecycle").context("info has no lifecycle")?,
            owner_root: text("owner_root"),
            attestation_key: text("attestation_key_sha256").unwrap_or_default(),
            value,
        })
    }

    fn has_key(&self, name: &str) -> bool {
        self.value["class_keys"].as_array().is_some_and(|keys| keys.iter().any(|key| key["name"] == name))
    }
}

/// One device in hand.
pub(super) struct Work<'a> {
    pub(super) station: &'a Station,
    pub(super) link: &'a mut Link,
    pub(super) journal: &'a mut Journal,
    pub(super) claimant: &'a Claimant,
    pub(super) name: &'a str,
    pub(super) progress: &'a Progress,
}

impl Work<'_> {
    pub(super) fn all(&mut self, info: Info) -> Result<(), Failure> {
        if self.station.config.offline {
            // Nobody else can be asked what time it is.
            let written = clock::is_after(self.journal.entry.time, "its journal").map_err(Error::from);
            written.named("identify", "clock", CLOCK)?;
        }
        self.journal.entry.state = State::Begun;
        self.journal.entry.failure = None;
        self.claim("identify")?;
        self.identify(&info)?;
        self.done("identify", &info.lifecycle)?;
        let detail = self.certify(&info).named("certify", "certificate", AGAIN)?;
        self.done("certify", &detail)?;
        let detail = self.provision(&info).named("provision", "provision", AGAIN)?;
        self.done("provision", detail)?;
        if self.station.config.offline {
            self.done("enrol", "later: this line is offline")?;
            self.done("keys", "none: this line is offline")?;
        } else {
            self.enrol()?;
            self.done("enrol", "in the registry")?;
            let detail = self.keys().named("keys", "class-keys", POLICY)?;
            self.done("keys", &detail)?;
        }
        let detail = self.lock().named("lock", "lock", AGAIN)?;
        self.done("lock", detail)?;
        let mut facts =
            self.verify().named("verify", "evidence", "put the device aside: see which claim is wrong")?;
        if let Some(plan) = &self.station.fuses {
            facts["fuses"] = read_back(plan, &mut |register| board::read(self.link, register))?;
        }
        self.done("verify", "attested")?;
        let (file, is_new) = self.voucher(&facts).named("voucher", "voucher", JOURNAL)?;
        if is_new {
            files::write(&self.journal.beside("voucher.json"), &file).named("voucher", "journal", JOURNAL)?;
        }
        let fingerprint = VOUCHER.fingerprint(&file).named("voucher", "voucher", JOURNAL)?.to_string();
        self.done("voucher", &format!("voucher {}…", fingerprint.get(..16).unwrap_or_default()))
    }

    /// Written down before the next step begins.
    fn done(&mut self, step: &'static str, detail: &str) -> Result<(), Failure> {
        self.journal.done(step, now()).named(step, "journal", JOURNAL)?;
        self.progress.step(self.name, step, detail);
        // The last step ends the lease anyway.
        if step == "voucher" { Ok(()) } else { self.claim(step) }
    }

    /// Takes or renews the lease.
    fn claim(&mut self, step: &'static str) -> Result<(), Failure> {
        let others = |who: String| anyhow!("another station has it: {who}");
        let found = self.claimant.on_device(self.link).named(step, "link", AGAIN)?;
        found.map_or(Ok(()), |who| Err(others(who))).named(step, "claimed", OTHERS)?;
        let config = &self.station.config;
        if config.offline {
            return Ok(());
        }
        let found = self.claimant.in_registry(config, &self.journal.entry.device_id, step);
        let found = found.named(step, "registry", SERVICE)?;
        found.map_or(Ok(()), |who| Err(others(who))).named(step, "claimed", OTHERS)
    }

    fn identify(&self, info: &Info) -> Result<(), Failure> {
        let station = self.station;
        let refuse =
            |name: &'static str, what: String| Err(Failure { step: "identify", name, what, help: ASIDE });
        if info.lifecycle == "decommissioned" {
            return refuse("decommissioned", "the device is at the end of its life".to_owned());
        }
        let huk = &info.value["huk"];
        if huk != "unique" && !station.any_hardware_key {
            return refuse("hardware-key", format!("its hardware unique key is {huk}, expected unique"));
        }
        let authority = public_key(station.authority.verifying_key()).id().to_string();
        if info.value["provisioning_authority"] != authority {
            let found = &info.value["provisioning_authority"];
            return refuse("firmware", format!("its firmware trusts authority {found}, not {authority}"));
        }
        let own = station.owner_root.id().to_string();
        match &info.owner_root {
            Some(root) if *root != own => {
                refuse("foreign-owner", format!("it belongs to owner root {root}, not to {own}"))
            }
            // An owner that nobody here gave it.
            Some(_) if self.journal.entry.entry.is_none() => {
                refuse("already-provisioned", format!("it is {}, and no journal knows it", info.lifecycle))
            }
            _ => Ok(()),
        }
    }

    /// Both keys, proved: see `factory`.
    fn certify(&mut self, info: &Info) -> Result<String> {
        let shown = |entry: &Device| format!("device key {}…", &entry.device_key_sha256[..16]);
        if let Some(entry) = &self.journal.entry.entry {
            let known = BASE64_STANDARD.decode(&entry.attestation_key).ok();
            let known = known.and_then(|der| parse_attestation_key(&der)).map(|key| key.id().to_string());
            if known.as_deref() == Some(&info.attestation_key) {
                return Ok(shown(entry));
            }
            self.returned()?;
        }
        let nonce = fresh_nonce()?;
        let csr = decoded(&self.link.trustbox(&["csr", "--nonce", &hex(&nonce)])?, "csr")?;
        let token = decoded(&self.link.trustbox(&["attest", "--nonce", &hex(&nonce)])?, "token")?;
        let requested = Requested::read(&csr)?;
        ensure!(requested.device_id.to_string() == info.device_id, "the request is of another device");
        let claims = requested.attested(&token, &nonce)?;
        // Where the device stands, and whose it is, comes later.
        let early = ReferenceValues { lifecycles: vec![], owner_root: None, ..self.station.expected.clone() };
        let early = ReferenceValues {
            components: early
                .components
                .into_iter()
                .filter(|part| [OPTEE, TRUSTBOX].contains(&part.kind.as_str()))
                .collect(),
            ..early
        };
        believe(&claims, &early)?;
        let certified = self.station.factory.certify(&requested, &claims)?;
        let entry = Device {
            class: self.station.config.class.clone(),
            attestation_key: BASE64_STANDARD.encode(requested.attestation_key.spki()),
            device_key_sha256: requested.device_key_id().to_string(),
            certificate: Some(BASE64_STANDARD.encode(certified.attestation)),
            device_key_certificate: Some(BASE64_STANDARD.encode(certified.device_key)),
        };
        let detail = shown(&entry);
        self.journal.entry.entry = Some(entry);
        Ok(detail)
    }

    /// A device with other keys than the journal knows: it was wiped, or it came back and the owner says so.
    fn returned(&mut self) -> Result<()> {
        let id = &self.journal.entry.device_id;
        let order = self.station.returned.iter().find(|(order, _)| order.device_id == *id);
        let (order, fingerprint) = order.context(
            "the device has other keys than the journal knows: it was wiped, and no return is given",
        )?;
        self.station.is_of(order, self.journal)?;
        self.journal.entry.returned.push(fingerprint.clone());
        self.journal.entry.entry = None;
        Ok(())
    }

    fn provision(&mut self, info: &Info) -> Result<&'static str> {
        let (root, mut files) = (self.station.owner_root, Vec::new());
        if info.owner_root.is_none() {
            let asking = self.asking(&["provision"])?;
            let pin = issue::pin_root(&self.station.authority, &root, &asking)?;
            files.push(self.link.put("pin-root", &pin)?);
        }
        for (number, statement) in self.station.statements.iter().enumerate() {
            files.push(self.link.put(&format!("statement-{number}"), statement)?);
        }
        if !files.is_empty() {
            let words = ["trustbox", "provision"].into_iter().chain(files.iter().map(String::as_str));
            self.link.run(&words.collect::<Vec<_>>())?;
        }
        let after = Info::of(self.link)?;
        ensure!(after.owner_root == Some(root.id().to_string()), "read back: the owner root is not pinned");
        Ok(if info.owner_root.is_none() { "owner root pinned" } else { "was done" })
    }

    fn asking(&mut self, words: &[&str]) -> Result<Asking> {
        let request = Request::from_json(&self.link.request(words)?)?;
        let asking = Asking::from(&request);
        let same = asking.device_id.to_string() == self.journal.entry.device_id;
        ensure!(same, "the request is of another device");
        Ok(asking)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let config = &self.station.config;
        blocking(&config.service, &config.identity, async |mut connection| {
            connection.call(method, path, body).await
        })
    }

    fn enrol(&self) -> Result<(), Failure> {
        let asked = || {
            let entry = self.journal.entry.entry.as_ref().context("the journal has no certificates")?;
            let path = format!("/v1/devices/{}", self.journal.entry.device_id);
            let (config, body) = (&self.station.config, serde_json::to_vec(entry)?);
            blocking(&config.service, &config.identity, async |mut connection| {
                connection.send("PUT", Some(&path), body, &[]).await
            })
        };
        let answer = asked().named("enrol", "registry", SERVICE)?;
        let duplicate = answer.status == 409;
        let state = answer.json().and_then(|answer| {
            ensure!(answer["state"] == "enrolled", "the registry has the device as {}", answer["state"]);
            Ok(())
        });
        if duplicate {
            state.named("enrol", "duplicate-serial", ASIDE)
        } else {
            state.named("enrol", "registry", SERVICE)
        }
    }

    fn keys(&mut self) -> Result<String> {
        let station = self.station;
        for name in &station.config.class_keys {
            if Info::of(self.link)?.has_key(name) {
                continue;
            }
            let challenge = self.call("POST", "/v1/challenges", &json!({}))?;
            let challenge = challenge["nonce"].as_str().context("the service gives no challenge")?.to_owned();
            let request: Value = serde_json::from_slice(&self.link.request(&["key", "import"])?)?;
            let token = self.link.trustbox(&["attest", "--nonce", &challenge])?;
            let question = json!({"key": name, "request": request, "token": token["token"]});
            let bundle = decoded(&self.call("POST", "/v1/releases", &question)?, "bundle")?;
            let path = self.link.put("bundle", &bundle)?;
            self.link.trustbox(&["key", "import", &path])?;
            ensure!(Info::of(self.link)?.has_key(name), "read back: the device does not hold {name}");
        }
        Ok(station.config.class_keys.join(" "))
    }

    fn lock(&mut self) -> Result<&'static str> {
        if Info::of(self.link)?.lifecycle == "locked" {
            return Ok("was done");
        }
        let asking = self.asking(&["lock"])?;
        let lock = issue::lock(&self.station.authority, self.station.owner_root.id(), &asking)?;
        let path = self.link.put("lock", &lock)?;
        self.link.trustbox(&["lock", &path])?;
        let after = Info::of(self.link)?.lifecycle;
        ensure!(after == "locked", "read back: the device is {after}, not locked");
        Ok("locked")
    }

    /// What the voucher says of the device, from a fresh token.
    fn verify(&mut self) -> Result<Value> {
        let entry = self.journal.entry.entry.as_ref().context("the journal has no certificates")?;
        let key = BASE64_STANDARD.decode(&entry.attestation_key)?;
        let key = parse_attestation_key(&key).context("the journal's attestation key is damaged")?;
        let bound = entry.device_key_sha256.clone();
        let nonce = fresh_nonce()?;
        let token = decoded(&self.link.trustbox(&["attest", "--nonce", &hex(&nonce)])?, "token")?;
        let claims = Token::parse(&token).and_then(|token| token.verify(&key, &nonce))?;
        ensure!(Bytes(claims.wrapping_key).to_string() == bound, "the token binds another device key");
        believe(&claims, &self.station.expected)?;
        let info = Info::of(self.link)?;
        let measured = |kind: &str| claims.component(kind).map(|part| hex(&part.measurement));
        Ok(json!({
            "lifecycle": info.lifecycle,
            "hardware_key": info.value["huk"],
            "rollback_protection": info.value["rollback_protection"],
            "profile": info.value["profile"],
            "versions": info.value["versions"],
            "implementation_id": hex(&claims.implementation_id),
            "measurements": {"optee": measured(OPTEE), "trustbox": measured(TRUSTBOX)},
            "class_keys": info.value["class_keys"],
        }))
    }

    /// The voucher's file, and whether it is another one than before.
    fn voucher(&self, facts: &Value) -> Result<(Vec<u8>, bool)> {
        let path = self.journal.beside("voucher.json");
        let entry = self.journal.entry.entry.as_ref().context("the journal has no certificates")?;
        let attestation_key = BASE64_STANDARD.decode(&entry.attestation_key)?;
        let attestation_key = parse_attestation_key(&attestation_key).map(|key| key.id().to_string());
        let (config, station) = (&self.station.config, self.station);
        let mut value = json!({
            "device_id": self.journal.entry.device_id,
            "sku": config.sku,
            "station": config.station,
            "owner_root": station.owner_root.id().to_string(),
            "attestation_key_sha256": attestation_key,
            "device_key_sha256": entry.device_key_sha256,
            "device": facts,
        });
        if !self.journal.entry.returned.is_empty() {
            value["returned"] = self.journal.entry.returned.clone().into();
        }
        let mut previous = None;
        if path.exists() {
            let file = files::read(&path)?;
            let mut before = VOUCHER.verify(&file, &public_key(station.factory_key.verifying_key()))?;
            let fields = before.as_object_mut().context("the voucher is no object")?;
            fields.remove("time");
            fields.remove("previous");
            if before == value {
                return Ok((file.to_vec(), false));
            }
            previous = Some(VOUCHER.fingerprint(&file)?.to_string());
        }
        value["time"] = now().into();
        value["previous"] = previous.into();
        Ok((VOUCHER.sign(&value, &station.factory_key)?, true))
    }
}

fn believe(claims: &Claims<'_>, expected: &ReferenceValues) -> Result<()> {
    let findings = appraise(claims, expected).findings;
    match findings.into_iter().find(|found| found.tier == Tier::Contraindicated) {
        Some(wrong) => Err(anyhow!("{}: {}", wrong.claim, wrong.reason)),
        None => Ok(()),
    }
}

fn fresh_nonce() -> Result<[u8; 32]> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).context("no random numbers")?;
    Ok(nonce)
}

fn decoded(value: &Value, name: &str) -> Result<Vec<u8>> {
    let bytes = value[name].as_str().and_then(|text| BASE64_STANDARD.decode(text).ok());
    bytes.with_context(|| format!("the answer has no {name}"))
}
