//! The meter's commands.

use core::fmt::{self, Write};

use crate::Store;
use crate::state::State;

/// Adds a reading; the request is a decimal number of watt hours in ASCII, the reply that of [`QUERY`].
pub const RECORD: u32 = 1;
/// Asks for the total: `total=<n> readings=<n> chain=<hex>`.
pub const QUERY: u32 = 2;
/// Asks for the tariff, which is the publisher's secret until the meter runs.
pub const TARIFF: u32 = 3;
/// Has the total signed: the request is a nonce of 32 bytes, the reply an attestation token whose data is the SHA-256
/// of the reply to [`QUERY`]. It needs the device, so the enclave itself answers it.
pub const REPORT: u32 = 4;

/// What a package of the meter must not show.
const TARIFF_TEXT: &str =
    "TRUSTBOX-METER-CONFIDENTIAL-MARKER base=0.2871 peak=0.3419 off-peak=0.1987 EUR/kWh";
/// Digits of a reading at most: `u64::MAX` has so many.
const MAX_DIGITS: usize = 20;

/// Why the meter refuses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MeterError<E> {
    /// A reading is not a decimal number of 64 bits.
    NotANumber,
    /// The total or the number of readings would overflow.
    Overflow,
    /// No such command.
    UnknownCommand,
    /// The reply does not fit.
    Reply,
    /// The store failed.
    Store(E),
}

/// Carries out a command. After an error the state is what it was.
pub fn call<S: Store>(
    store: &mut S,
    command: u32,
    request: &[u8],
    reply: &mut impl Write,
) -> Result<(), MeterError<S::Error>> {
    match command {
        RECORD => answer(&record(store, request)?, reply),
        QUERY => answer(&load(store)?, reply),
        TARIFF => reply.write_str(TARIFF_TEXT),
        _ => return Err(MeterError::UnknownCommand),
    }
    .map_err(|_| MeterError::Reply)
}

fn record<S: Store>(store: &mut S, request: &[u8]) -> Result<State, MeterError<S::Error>> {
    let reading = parse(request).ok_or(MeterError::NotANumber)?;
    let state = load(store)?.after(reading).ok_or(MeterError::Overflow)?;
    store.store(&state.encode()).map_err(MeterError::Store)?;
    Ok(state)
}

fn load<S: Store>(store: &S) -> Result<State, MeterError<S::Error>> {
    let bytes = store.load().map_err(MeterError::Store)?;
    Ok(bytes.as_ref().map(State::decode).unwrap_or_default())
}

/// Digits only: no sign, no space, no line end.
fn parse(request: &[u8]) -> Option<u64> {
    if request.is_empty() || request.len() > MAX_DIGITS || !request.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(request).ok()?.parse().ok()
}

fn answer(state: &State, reply: &mut impl Write) -> fmt::Result {
    write!(reply, "total={} readings={} chain=", state.total, state.count)?;
    state.chain.iter().try_for_each(|byte| write!(reply, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::String;

    #[derive(Default)]
    struct Memory {
        state: Option<[u8; State::SIZE]>,
        broken: bool,
    }

    impl Store for Memory {
        type Error = ();

        fn load(&self) -> Result<Option<[u8; State::SIZE]>, ()> {
            Ok(self.state)
        }

        fn store(&mut self, state: &[u8; State::SIZE]) -> Result<(), ()> {
            if self.broken {
                return Err(());
            }
            self.state = Some(*state);
            Ok(())
        }
    }

    fn ask(store: &mut Memory, command: u32, request: &str) -> Result<String, MeterError<()>> {
        let mut reply = String::new();
        call(store, command, request.as_bytes(), &mut reply).map(|()| reply)
    }

    #[test]
    fn readings_add_up() {
        let mut store = Memory::default();
        let empty = ask(&mut store, QUERY, "").unwrap();
        assert_eq!(empty, std::format!("total=0 readings=0 chain={}", "00".repeat(32)));
        let recorded = ask(&mut store, RECORD, "40").unwrap();
        assert!(ask(&mut store, RECORD, "2").unwrap().starts_with("total=42 readings=2 chain="));
        assert_ne!(recorded, ask(&mut store, QUERY, "").unwrap());
    }

    #[test]
    fn bad_readings_change_nothing() {
        let mut store = Memory::default();
        ask(&mut store, RECORD, "18446744073709551615").unwrap();
        let before = store.state;
        for bad in
            ["", "-1", "+1", " 1", "1\n", "0x1", "1e3", "18446744073709551616", "000000000000000000001"]
        {
            assert_eq!(ask(&mut store, RECORD, bad), Err(MeterError::NotANumber), "{bad:?}");
        }
        assert_eq!(ask(&mut store, RECORD, "1"), Err(MeterError::Overflow));
        assert_eq!(ask(&mut store, 4, "1"), Err(MeterError::UnknownCommand));
        assert_eq!(store.state, before);
    }

    #[test]
    fn a_failing_store_loses_no_reading_it_had() {
        let mut store = Memory::default();
        ask(&mut store, RECORD, "5").unwrap();
        store.broken = true;
        assert_eq!(ask(&mut store, RECORD, "1"), Err(MeterError::Store(())));
        assert!(ask(&mut store, QUERY, "").unwrap().starts_with("total=5 readings=1 "));
    }

    #[test]
    fn tariff_is_confidential_text() {
        let text = ask(&mut Memory::default(), TARIFF, "").unwrap();
        assert!(text.contains("TRUSTBOX-METER-CONFIDENTIAL-MARKER"));
    }
}
