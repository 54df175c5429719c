//! Text as Java reads it: UTF-8 with its replacements, what it calls blank, how it splits. Knows no converters.

/// The text of `bytes`, malformed sequences replaced with U+FFFD as Java's decoder does; `scratch` holds it if they differ.
pub(in crate::record) fn decode<'a>(bytes: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a str {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text;
    }
    scratch.clear();
    let mut rest = bytes;
    while !rest.is_empty() {
        let valid = match std::str::from_utf8(rest) {
            Ok(_) => rest.len(),
            Err(error) => error.valid_up_to(),
        };
        scratch.extend_from_slice(&rest[..valid]);
        rest = &rest[valid..];
        if !rest.is_empty() {
            scratch.extend_from_slice("\u{fffd}".as_bytes());
            rest = &rest[malformed(rest)..];
        }
    }
    std::str::from_utf8(scratch).expect("valid text and replacement characters")
}

/// How many of these bytes, which begin with no character, become one U+FFFD.
fn malformed(bytes: &[u8]) -> usize {
    let continues = |byte: &u8| byte & 0xc0 == 0x80;
    // A half of a surrogate pair counts as one malformed character of three bytes, and not as three of one.
    if bytes[0] == 0xed && bytes.get(1).is_some_and(continues) {
        return 2 + usize::from(bytes.get(2).is_some_and(continues));
    }
    let length = std::str::from_utf8(bytes).err().and_then(|error| error.error_len());
    length.unwrap_or(bytes.len())
}

/// Without the characters up to U+0020 at both ends, as `String.trim`.
pub(super) fn trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

/// Without one newline at its end.
pub(super) fn without_newline(text: &str) -> &str {
    text.strip_suffix('\n').unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: &str) {
        assert_eq!(decode(bytes, &mut Vec::new()), expected);
    }

    #[test]
    fn malformed_sequences_are_replaced_as_java_does() {
        check(b"caf\xe9\n", "caf\u{fffd}\n");
        check(b"\xf0\x9f\x98", "\u{fffd}");
        check(b"\xf0\x9f\x98x", "\u{fffd}x");
        check(b"\xe2\x82x", "\u{fffd}x");
        check(b"\xe2\x82\xe2\x82\xac", "\u{fffd}€");
        check(b"\xc3", "\u{fffd}");
        check(b"\xc0\x80", "\u{fffd}\u{fffd}");
        check(b"\xf8\x80\x80\x80\x80x", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}\u{fffd}x");
        check(b"\xf4\x90\x80\x80", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}");
        check(b"\xf0\x80\x80\x80", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}");
        check(b"\xe0\x80\x80", "\u{fffd}\u{fffd}\u{fffd}");
        check(b"a\xffb\xfec", "a\u{fffd}b\u{fffd}c");
    }

    #[test]
    fn half_a_surrogate_pair_is_one_malformed_character() {
        check(b"\xed\xa0\x80", "\u{fffd}");
        check(b"\xed\xa0\x80\xed\xb0\x80", "\u{fffd}\u{fffd}");
        check(b"\xed\xa0x", "\u{fffd}x");
        check(b"\xed\xa0", "\u{fffd}");
        check(b"\xedx", "\u{fffd}x");
        check(b"\xed\x80", "\u{fffd}");
        check(b"\xed\x9f\xbf", "\u{d7ff}");
    }

    #[test]
    fn blanks_are_what_java_trims() {
        assert_eq!(trim("\0 \t\u{1f}a b\u{a0}\u{2003} \r\n"), "a b\u{a0}\u{2003}");
        assert_eq!(trim(" \0"), "");
        assert_eq!(without_newline("a\r\n\n"), "a\r\n");
    }
}
