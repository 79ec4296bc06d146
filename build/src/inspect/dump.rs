//! A map of a file: each part by its offset, its bytes in hexadecimal, and what they are.

/// Bytes of a line.
const WIDTH: usize = 16;
/// Lines of a long part that are shown at its start; of its end, one is.
const LINES: usize = 3;

/// A part of a file, ready to be shown.
pub(super) fn part(offset: u64, bytes: &[u8], what: &str) -> Vec<String> {
    let lines: Vec<&[u8]> = bytes.chunks(WIDTH).collect();
    let mut shown = Vec::new();
    if lines.is_empty() {
        shown.push(line(offset, &[], what));
    }
    for (index, chunk) in lines.iter().enumerate() {
        let at = offset + (index * WIDTH) as u64;
        let hidden = index >= LINES && index + 1 < lines.len();
        match (hidden, index) {
            (true, LINES) => shown.push("*".to_owned()),
            (true, _) => {}
            (false, 0) => shown.push(line(at, chunk, what)),
            (false, _) => shown.push(line(at, chunk, "")),
        }
    }
    shown
}

fn line(offset: u64, bytes: &[u8], what: &str) -> String {
    let hexadecimal = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x} ")).collect::<String>();
    let (left, right) = bytes.split_at(bytes.len().min(WIDTH / 2));
    let readable = |byte: &u8| if byte.is_ascii_graphic() || *byte == b' ' { char::from(*byte) } else { '.' };
    let text: String = bytes.iter().map(readable).collect();
    let line =
        format!("{offset:08x}  {:<24} {:<24} |{text:<16}|  {what}", hexadecimal(left), hexadecimal(right));
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_parts_are_cut_in_the_middle() {
        let bytes: Vec<u8> = (0..100).collect();
        let shown = part(0x40, &bytes, "stream 0");
        assert_eq!(
            shown[0],
            "00000040  00 01 02 03 04 05 06 07  08 09 0a 0b 0c 0d 0e 0f  |................|  stream 0"
        );
        assert_eq!((shown.len(), shown[3].as_str()), (5, "*"));
        assert!(shown[4].starts_with("000000a0  60 61 62 63 ") && shown[4].ends_with("|`abc            |"));
        assert_eq!(part(0, &bytes[..64], "").len(), 4);
        assert_eq!(part(7, &[], "empty"), [format!("00000007  {:<50}|{:16}|  empty", "", "")]);
    }
}
