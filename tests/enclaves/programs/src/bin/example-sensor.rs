//! The host program of trusted input, and the sensor: in life the two are connected by a bus that nobody trusts.

use std::process::ExitCode;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use trustbox_api::Bytes;
use trustbox_client::{EnclaveSession, TrustBox};
use trustbox_example_interfaces::sensor::{Reading, SensorError, SensorsClient, Summary, UUID};
use trustbox_example_programs::{Case, Failed, Known, Outcome, nonce, run, same};

const CASES: &[Case<Bench>] = &[
    (9301, "readings with their sensor's authenticator are taken", taken),
    (9302, "forged and repeated readings are refused, and change nothing", refused),
    (9303, "a sensor's key is handed out once", once),
    (9304, "the summary is signed by the device", signed),
];
const ROOM: u32 = 7;

/// A device with a sensor.
struct Bench {
    trustbox: TrustBox,
    key: [u8; 32],
    sequence: u64,
}

fn main() -> ExitCode {
    let bench = || -> Result<Bench, Failed> {
        let mut trustbox = TrustBox::open()?;
        let key = open(&mut trustbox)?.enrol(ROOM)?;
        Ok(Bench { trustbox, key, sequence: 0 })
    };
    match bench() {
        Ok(bench) => run(bench, CASES),
        Err(_) => {
            eprintln!(
                "error: cannot enrol the sensor\nhelp: its key is handed out once; uninstall with --erase first"
            );
            ExitCode::FAILURE
        }
    }
}

fn open(trustbox: &mut TrustBox) -> Result<SensorsClient<EnclaveSession<'_>>, Failed> {
    Ok(SensorsClient::new(trustbox.open_enclave(UUID.parse()?)?))
}

impl Bench {
    /// What the sensor does.
    fn measure(&mut self, millidegrees: i32) -> (Reading, [u8; 32]) {
        self.sequence += 1;
        let reading = Reading { sensor: ROOM, sequence: self.sequence, millidegrees };
        let mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("any length will do");
        (reading, mac.chain_update(reading.encode()).finalize().into_bytes().into())
    }

    fn summary(&mut self) -> Result<Summary, Failed> {
        let (reading, authenticator) = self.measure(20_000);
        Ok(open(&mut self.trustbox)?.submit(reading, authenticator)?)
    }
}

fn taken(bench: &mut Bench) -> Outcome {
    let readings = [20_500, -3_000, 21_000].map(|value| bench.measure(value));
    let mut client = open(&mut bench.trustbox)?;
    let mut summary = Summary::default();
    for (reading, authenticator) in readings {
        summary = client.submit(reading, authenticator)?;
    }
    same!(summary, Summary { count: 3, lowest: -3_000, highest: 21_000, sum: 38_500 }, "summary");
    Ok(())
}

fn refused(bench: &mut Bench) -> Outcome {
    let before = bench.summary()?;
    let (good, authenticator) = bench.measure(20_000);
    let mut client = open(&mut bench.trustbox)?;
    let warmer = Reading { millidegrees: 30_000, ..good };
    let error = client.submit(warmer, authenticator).err().ok_or("took a forged reading")?;
    same!(error.own(), Some(SensorError::Forged), "forged");
    client.submit(good, authenticator)?;
    let error = client.submit(good, authenticator).err().ok_or("took a reading twice")?;
    same!(error.own(), Some(SensorError::Replayed), "repeated");
    drop(client);
    same!(bench.summary()?.count, before.count + 2, "count");
    Ok(())
}

fn once(bench: &mut Bench) -> Outcome {
    let error = open(&mut bench.trustbox)?.enrol(ROOM).err().ok_or("the key came out twice")?;
    same!(error.own(), Some(SensorError::Enrolled), "refusal");
    Ok(())
}

fn signed(bench: &mut Bench) -> Outcome {
    let (known, nonce) = (Known::note(&mut bench.trustbox)?, nonce());
    let summary = bench.summary()?;
    let evidence = open(&mut bench.trustbox)?.summary(nonce.0)?;
    same!(known.report(&evidence, nonce, UUID)?.data[..], summary.encode(), "data of the report");
    same!(known.report(&evidence, Bytes([0; 32]), UUID).is_err(), true, "another nonce refused");
    Ok(())
}
