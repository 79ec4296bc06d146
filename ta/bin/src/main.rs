//! The TrustBox trusted application: entry points over `trustbox-tee`, nothing else.
#![no_std]
#![no_main]

trustbox_tee::trusted_application!(trustbox_tee::TrustBox);
