//! Every way to change a token a little.

/// No bit turned and no cut of what is good is believed.
pub fn are_refused(good: &[u8], believed: impl Fn(&[u8]) -> bool) {
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut changed = good.to_vec();
            changed[at] ^= 1 << bit;
            assert!(!believed(&changed), "bit {bit} of byte {at}");
        }
        assert!(!believed(&good[..at]), "cut to {at}");
    }
}
