//! Text form of DER: PEM (RFC 7468).

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

/// Characters on a line (RFC 7468, section 2).
const LINE: usize = 64;

/// `der` as PEM with this label, `PUBLIC KEY` for example.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> =
        (0..text.len()).step_by(LINE).map(|start| &text[start..text.len().min(start + LINE)]).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_64_characters() {
        let text = pem("PUBLIC KEY", &[0xaa; 100]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            (lines[0], lines[lines.len() - 1]),
            ("-----BEGIN PUBLIC KEY-----", "-----END PUBLIC KEY-----")
        );
        assert_eq!(lines[1..lines.len() - 1].iter().map(|line| line.len()).collect::<Vec<_>>(), [64, 64, 8]);
        assert_eq!(BASE64_STANDARD.decode(lines[1..lines.len() - 1].concat()).unwrap(), [0xaa; 100]);
        assert_eq!(pem("X", &[0; 48]).lines().count(), 3);
    }
}
