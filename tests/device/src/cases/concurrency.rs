//! 5xxx: many threads, memory that changes, calls of what is not for Linux; each is an act that campaigns repeat.

use crate::case::Case;
use crate::hostile::act;

/// The cases.
pub const CASES: &[Case] = &[
    Case {
        id: 5001,
        name: "eight threads race over all commands",
        invariants: &["INV-6", "INV-10", "INV-11"],
        run: |context| act(context, 5001, 1),
    },
    Case {
        id: 5002,
        name: "eight threads install, launch and remove one enclave",
        invariants: &["INV-3", "INV-6"],
        run: |context| act(context, 5002, 1),
    },
    Case {
        id: 5003,
        name: "memory that changes during an install installs what was signed, or nothing",
        invariants: &["INV-2", "INV-4"],
        run: |context| act(context, 5003, 3),
    },
    Case {
        id: 5004,
        name: "memory that changes during a call of an enclave is read once",
        invariants: &["INV-4"],
        run: |context| act(context, 5004, 2),
    },
    Case {
        id: 5005,
        name: "pseudo-TAs and enclaves called directly give nothing away",
        invariants: &["INV-3", "INV-9", "INV-10"],
        run: |context| act(context, 5005, 1),
    },
    Case {
        id: 5006,
        name: "sessions and memory that are used up come back",
        invariants: &["INV-11"],
        run: |context| act(context, 5006, 1),
    },
    Case {
        id: 5007,
        name: "a call whose tee-supplicant is killed is done or refused as a whole",
        invariants: &["INV-6", "INV-10"],
        run: |context| act(context, 5007, 1),
    },
    Case {
        id: 5008,
        name: "a tee-supplicant that is killed before it answers costs the call, and no object",
        invariants: &["INV-6", "INV-10"],
        run: |context| act(context, 5008, 3),
    },
    Case {
        id: 5009,
        name: "a tee-supplicant that lies about what it read costs the call, and no object",
        invariants: &["INV-6", "INV-10"],
        run: |context| act(context, 5009, 5),
    },
    Case {
        id: 5010,
        name: "a directory whose entries are said to be missing is damage, not a blank device",
        invariants: &["INV-5", "INV-6", "INV-10"],
        run: |context| act(context, 5010, 1),
    },
    Case {
        id: 5011,
        name: "whichever reading fails in the middle of a call, the TA refuses and goes on",
        invariants: &["INV-6", "INV-10"],
        run: |context| act(context, 5011, 1),
    },
    Case {
        id: 5012,
        name: "an object that is corrupt when it is read costs the call, and the TA goes on",
        invariants: &["INV-6", "INV-10"],
        run: |context| act(context, 5012, 1),
    },
];
