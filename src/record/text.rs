//! The text of JSON strings: what must be escaped, escaping, unescaping. Knows nothing of fields or records.
//! Invariant: what is appended to an `out` is valid UTF-8 when what it was given claims to be, and always where bytes are taken.

use std::io::Write as _;

const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();
const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);

/// Offset of the first `"`, `\` or control character at or after `from`, or the length of `bytes`.
pub(super) fn find_special(bytes: &[u8], from: usize) -> usize {
    let mut at = from;
    for word in bytes[from..].as_chunks::<8>().0 {
        let hits = special_lanes(u64::from_le_bytes(*word));
        if hits != 0 {
            return at + (hits.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    bytes[at..].iter().position(|&byte| is_special(byte)).map_or(bytes.len(), |skipped| at + skipped)
}

fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Sets the high bit of each lane that holds a special byte. Only the lowest bit set is exact: a borrow may mark lanes above it.
fn special_lanes(word: u64) -> u64 {
    let zeros = |lanes: u64| lanes.wrapping_sub(ONES) & !lanes;
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    (controls | zeros(word ^ (ONES * 0x22)) | zeros(word ^ (ONES * 0x5c))) & HIGHS
}

/// Appends `bytes`, each invalid sequence replaced with U+FFFD.
pub(super) fn push_lossy(bytes: &[u8], out: &mut Vec<u8>) {
    push_valid(bytes, out, |text, out| out.extend_from_slice(text.as_bytes()));
}

/// Appends `bytes` as a JSON string, quotes included, each invalid sequence replaced with U+FFFD.
pub(super) fn push_json_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    push_json_text(bytes, out);
    out.push(b'"');
}

/// Appends `bytes` as they stand inside a JSON string, each invalid sequence replaced with U+FFFD.
pub(super) fn push_json_text(bytes: &[u8], out: &mut Vec<u8>) {
    push_valid(bytes, out, push_escaped);
}

fn push_valid(bytes: &[u8], out: &mut Vec<u8>, push: impl Fn(&str, &mut Vec<u8>)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        push(text, out);
        return;
    }
    for chunk in bytes.utf8_chunks() {
        push(chunk.valid(), out);
        if !chunk.invalid().is_empty() {
            out.extend_from_slice(REPLACEMENT);
        }
    }
}

/// Appends `text` with what JSON forbids in a string escaped.
fn push_escaped(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    loop {
        let at = find_special(bytes, copied);
        out.extend_from_slice(&bytes[copied..at]);
        let Some(&special) = bytes.get(at) else { return };
        push_escape(special, out);
        copied = at + 1;
    }
}

fn push_escape(special: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match special {
        b'"' | b'\\' => special,
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[HEX[usize::from(special >> 4)], HEX[usize::from(special & 15)]]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Appends what the inside of a JSON string means. Half a surrogate pair, which stands for nothing, becomes U+FFFD.
pub(super) fn push_unescaped(inside: &[u8], out: &mut Vec<u8>) {
    for piece in Pieces(inside) {
        match piece {
            Piece::Plain(bytes) => out.extend_from_slice(bytes),
            Piece::Char(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Piece::Half(_) => out.extend_from_slice(REPLACEMENT),
        }
    }
}

/// Appends the inside of a JSON string in the one form that all strings of its meaning share: escaped only where needed.
pub(super) fn push_canonical(inside: &[u8], out: &mut Vec<u8>) {
    for piece in Pieces(inside) {
        match piece {
            Piece::Plain(bytes) => out.extend_from_slice(bytes),
            Piece::Char(c) => push_escaped(c.encode_utf8(&mut [0; 4]), out),
            Piece::Half(unit) => write!(out, "\\u{unit:04x}").expect("a Vec takes every write"),
        }
    }
}

/// The inside of a JSON string, run by run. What is no escape of JSON passes as plain bytes.
struct Pieces<'a>(&'a [u8]);

enum Piece<'a> {
    Plain(&'a [u8]),
    Char(char),
    /// Half of a surrogate pair without its other half.
    Half(u16),
}

impl<'a> Iterator for Pieces<'a> {
    type Item = Piece<'a>;

    fn next(&mut self) -> Option<Piece<'a>> {
        if self.0.is_empty() {
            return None;
        }
        let plain = memchr::memchr(b'\\', self.0).unwrap_or(self.0.len());
        let (piece, taken) = if plain > 0 { (Piece::Plain(&self.0[..plain]), plain) } else { read_escape(self.0) };
        self.0 = &self.0[taken..];
        Some(piece)
    }
}

/// The escape at the head of `text`, and its length.
fn read_escape(text: &[u8]) -> (Piece<'_>, usize) {
    let c = match text.get(1) {
        Some(b'b') => '\x08',
        Some(b't') => '\t',
        Some(b'n') => '\n',
        Some(b'f') => '\x0c',
        Some(b'r') => '\r',
        Some(&(b'"' | b'\\' | b'/')) => char::from(text[1]),
        _ => return read_code_point(text).unwrap_or((Piece::Plain(&text[..1]), 1)),
    };
    (Piece::Char(c), 2)
}

fn read_code_point(text: &[u8]) -> Option<(Piece<'_>, usize)> {
    let unit = read_unit(text)?;
    let pair = text.get(6..).and_then(read_unit).map_or([unit, 0], |next| [unit, next]);
    Some(match char::decode_utf16(pair).next()? {
        Ok(c) => (Piece::Char(c), if c.len_utf16() == 2 { 12 } else { 6 }),
        Err(half) => (Piece::Half(half.unpaired_surrogate()), 6),
    })
}

/// The four digits of a `\uXXXX` at the head of `text`.
fn read_unit(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.first_chunk::<4>()?;
    digits.iter().try_fold(0, |unit, &digit| {
        let value = char::from(digit).to_digit(16)?;
        Some(unit << 4 | u16::try_from(value).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn escaped(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        push_json_string(bytes, &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    fn canonical(inside: &str) -> String {
        let mut out = Vec::new();
        push_canonical(inside.as_bytes(), &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn only_what_json_forbids_is_escaped() {
        let input = "a\"b\\c/\u{8}\t\n\u{c}\r\u{0}\u{1f}\u{7f}é\u{2028}";
        assert_eq!(escaped(input.as_bytes()), "\"a\\\"b\\\\c/\\b\\t\\n\\f\\r\\u0000\\u001f\u{7f}é\u{2028}\"");
    }

    #[test]
    fn invalid_utf8_becomes_replacement_characters() {
        assert_eq!(escaped(b"a\xff\"\xc3"), "\"a\u{fffd}\\\"\u{fffd}\"");
        assert_eq!(escaped(b"\xe2\x82x\xf0\x9f\x98"), "\"\u{fffd}x\u{fffd}\"");
    }

    #[test]
    fn a_canonical_string_is_the_same_however_it_was_escaped() {
        assert_eq!(canonical(r"\u0061\/\u00e9\uD83D\uDE00"), "a/é😀");
        assert_eq!(canonical(r"\u0022\u005c\u000A\u0001"), r#"\"\\\n\u0001"#);
        assert_eq!(canonical(r"\uD83Dx\uDE00\uD83D"), r"\ud83dx\ude00\ud83d");
    }

    #[test]
    fn half_a_surrogate_pair_means_nothing() {
        let mut out = Vec::new();
        push_unescaped(br"a\ud83d\u0041\udc00\ud83d\ud83d\ude00", &mut out);
        assert_eq!(out, "a\u{fffd}A\u{fffd}\u{fffd}😀".as_bytes());
    }

    proptest! {
        #[test]
        fn the_first_special_byte_is_found(bytes in proptest::collection::vec(any::<u8>(), 0..64), from in 0..64usize) {
            let from = from.min(bytes.len());
            let slow = (from..bytes.len()).find(|&at| is_special(bytes[at])).unwrap_or(bytes.len());
            prop_assert_eq!(find_special(&bytes, from), slow);
        }

        #[test]
        fn escaping_round_trips(text in any::<String>()) {
            let json = escaped(text.as_bytes());
            prop_assert_eq!(&serde_json::from_str::<String>(&json).expect("JSON"), &text);
            let mut back = Vec::new();
            push_unescaped(&json.as_bytes()[1..json.len() - 1], &mut back);
            prop_assert_eq!(back, text.as_bytes());
        }

        #[test]
        fn any_bytes_escape_to_what_lossy_decoding_gives(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let json = escaped(&bytes);
            let lossy = String::from_utf8_lossy(&bytes);
            prop_assert_eq!(&serde_json::from_str::<String>(&json).expect("JSON"), lossy.as_ref());
            let mut plain = Vec::new();
            push_lossy(&bytes, &mut plain);
            prop_assert_eq!(plain, lossy.as_bytes());
        }

        #[test]
        fn no_bytes_make_unescaping_panic(bytes in proptest::collection::vec(prop_oneof![Just(b'\\'), Just(b'u'), Just(b'd'), any::<u8>()], 0..64)) {
            push_unescaped(&bytes, &mut Vec::new());
            push_canonical(&bytes, &mut Vec::new());
        }
    }
}
