//! Trusted input: believes a reading only with the authenticator of the sensor that made it.
//!
//! A sensor gets its key once, where the device is commissioned. From then on Linux carries readings that it cannot
//! make, change or repeat; it can only lose them, and a gap in the sequence shows that to whoever wants to know.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use trustbox_enclave::{Bytes, EnclaveError, Launch, Launched, Sealed, Secret, TrustBox, random};
use trustbox_example_interfaces::sensor::{MAX_SENSORS, Reading, SensorError, Sensors, Summary};

const STATE: &str = "state";
/// What a sensor can measure, in thousandths of a degree.
const POSSIBLE: core::ops::RangeInclusive<i32> = -50_000..=150_000;

/// The enclave.
pub struct Input {
    storage: Sealed,
    trustbox: TrustBox,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    sensors: Vec<Sensor>,
    summary: Summary,
}

#[derive(Serialize, Deserialize)]
struct Sensor {
    number: u32,
    key: Secret<32>,
    /// Of the last reading; none has 0.
    sequence: u64,
}

impl Launch for Input {
    fn launch(launched: Launched) -> Result<Self, EnclaveError> {
        Ok(Self { storage: launched.storage, trustbox: launched.trustbox })
    }
}

impl Sensors for Input {
    fn enrol(&mut self, sensor: u32) -> Result<[u8; 32], EnclaveError> {
        let _lock = self.storage.lock()?;
        let mut state = self.state()?;
        if state.sensors.iter().any(|known| known.number == sensor) {
            return Err(SensorError::Enrolled.into());
        }
        if state.sensors.len() == MAX_SENSORS {
            return Err(SensorError::Full.into());
        }
        let key: [u8; 32] = random::bytes();
        state.sensors.push(Sensor { number: sensor, key: Secret::new(key), sequence: 0 });
        self.storage.save(STATE, &state)?;
        Ok(key)
    }

    fn submit(&mut self, reading: Reading, authenticator: [u8; 32]) -> Result<Summary, EnclaveError> {
        let _lock = self.storage.lock()?;
        let mut state = self.state()?;
        let sensor = state.sensors.iter_mut().find(|known| known.number == reading.sensor);
        let sensor = sensor.ok_or(SensorError::Unknown)?;
        check_authentic(&sensor.key, &reading, &authenticator)?;
        if reading.sequence <= sensor.sequence {
            return Err(SensorError::Replayed.into());
        }
        if !POSSIBLE.contains(&reading.millidegrees) {
            return Err(SensorError::Impossible.into());
        }
        sensor.sequence = reading.sequence;
        state.summary = state.summary.with(reading.millidegrees).ok_or(SensorError::Impossible)?;
        self.storage.save(STATE, &state)?;
        Ok(state.summary)
    }

    fn summary(&mut self, nonce: [u8; 32]) -> Result<Vec<u8>, EnclaveError> {
        self.trustbox.report(Bytes(nonce), &self.state()?.summary.encode())
    }
}

impl Input {
    fn state(&self) -> Result<State, EnclaveError> {
        Ok(self.storage.load(STATE)?.unwrap_or_default())
    }
}

/// In constant time.
fn check_authentic(
    key: &Secret<32>,
    reading: &Reading,
    authenticator: &[u8; 32],
) -> Result<(), EnclaveError> {
    let mac = Hmac::<Sha256>::new_from_slice(key.expose()).map_err(|_| SensorError::Forged)?;
    let mac = mac.chain_update(reading.encode());
    mac.verify_slice(authenticator).map_err(|_| SensorError::Forged.into())
}

#[cfg(test)]
mod tests {
    extern crate std;

    use trustbox_enclave::fake;
    use trustbox_example_interfaces::sensor::{SensorsClient, SensorsService};
    use trustbox_verifier::Token;

    use super::*;

    type Client = SensorsClient<fake::Session<trustbox_enclave::Typed<SensorsService, Input>>>;

    fn input() -> Client {
        SensorsClient::new(fake::launch::<SensorsService, Input>().unwrap())
    }

    fn signed(key: &[u8; 32], reading: &Reading) -> [u8; 32] {
        let mac = Hmac::<Sha256>::new_from_slice(key).unwrap().chain_update(reading.encode());
        mac.finalize().into_bytes().into()
    }

    #[test]
    fn readings_of_enrolled_sensors_are_summed_up_and_signed() {
        let mut input = input();
        let keys = [input.enrol(1).unwrap(), input.enrol(2).unwrap()];
        for (sensor, sequence, millidegrees) in [(1, 1, 20_500), (2, 1, -3_000), (1, 5, 21_000)] {
            let reading = Reading { sensor, sequence, millidegrees };
            input.submit(reading, signed(&keys[sensor as usize - 1], &reading)).unwrap();
        }
        let want = Summary { count: 3, lowest: -3_000, highest: 21_000, sum: 38_500 };
        let report = input.summary([9; 32]).unwrap();
        let report = Token::parse(&report).unwrap();
        let report = report.verify_report(&fake::attestation_key(), &[9; 32]).unwrap();
        assert_eq!(report.data, want.encode());
    }

    #[test]
    fn forged_repeated_strange_and_impossible_readings_change_nothing() {
        let mut input = input();
        let key = input.enrol(1).unwrap();
        let good = Reading { sensor: 1, sequence: 3, millidegrees: 20_000 };
        let first = input.submit(good, signed(&key, &good)).unwrap();
        let hot = Reading { sequence: 4, millidegrees: 150_001, ..good };
        let cases = [
            (Reading { sequence: 4, ..good }, signed(&key, &good), SensorError::Forged),
            (Reading { sequence: 4, millidegrees: 1, ..good }, [0; 32], SensorError::Forged),
            (good, signed(&key, &good), SensorError::Replayed),
            (Reading { sensor: 2, ..good }, signed(&key, &good), SensorError::Unknown),
            (hot, signed(&key, &hot), SensorError::Impossible),
        ];
        for (reading, authenticator, want) in cases {
            assert_eq!(input.submit(reading, authenticator).unwrap_err().own(), Some(want), "{reading:?}");
        }
        let next = Reading { sequence: 4, ..good };
        assert_eq!(input.submit(next, signed(&key, &next)).unwrap().count, first.count + 1);
    }

    #[test]
    fn keys_are_handed_out_once_and_sensors_are_limited() {
        let mut one = input();
        one.enrol(1).unwrap();
        assert_eq!(input().enrol(1).unwrap_err().own(), Some(SensorError::Enrolled));
        for sensor in 2..=MAX_SENSORS as u32 {
            one.enrol(sensor).unwrap();
        }
        assert_eq!(one.enrol(99).unwrap_err().own(), Some(SensorError::Full));
    }
}
