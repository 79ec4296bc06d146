//! The label of a device: the fingerprint of its voucher as a QR code, SVG. Whoever reads it finds the voucher by it, and knows by it
//! whether the voucher is that of this device.

use anyhow::{Result, anyhow};
use qrcode::render::svg::Color;
use qrcode::{EcLevel, QrCode};

/// Pixels of each side at least.
const SIDE: u32 = 220;

/// A QR code of a fingerprint; its digits in capital letters, which take less room (ISO/IEC 18004, alphanumeric mode).
pub fn svg(fingerprint: &str) -> Result<String> {
    let code = QrCode::with_error_correction_level(fingerprint.to_ascii_uppercase(), EcLevel::M);
    let code = code.map_err(|error| anyhow!("cannot make a QR code: {error}"))?;
    Ok(code.render::<Color<'_>>().min_dimensions(SIDE, SIDE).build())
}
