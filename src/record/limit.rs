//! What is made of text that is longer than the destination takes. Knows no destination.
//! Invariant: no character is divided, and no JSON is left without its end.

use serde::de::IgnoredAny;

use super::split::char_boundary;

/// Cuts the text that begins at `from` so that it has at most `most` bytes, `terminator` at its end included. False: the
/// text is JSON, of which no beginning makes sense; it is left as it is.
pub fn cut(data: &mut Vec<u8>, from: usize, most: usize, terminator: &[u8]) -> bool {
    let text = &data[from..];
    if is_json(text) {
        return false;
    }
    let keep = char_boundary(text, most.saturating_sub(terminator.len()));
    data.truncate(from + keep);
    data.extend_from_slice(terminator);
    true
}

/// Whether text is a JSON object, list or string. What is nested too deeply to be looked through counts as one.
fn is_json(text: &[u8]) -> bool {
    if !text.trim_ascii_start().starts_with(b"{")
        && !text.trim_ascii_start().starts_with(b"[")
        && !text.trim_ascii_start().starts_with(b"\"")
    {
        return false;
    }
    match serde_json::from_slice::<IgnoredAny>(text) {
        Ok(_) => true,
        Err(error) => error.to_string().starts_with("recursion limit"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, most: usize, terminator: &str, expected: &str) {
        let mut data = b"before".to_vec();
        data.extend_from_slice(text.as_bytes());
        let cut = cut(&mut data, 6, most, terminator.as_bytes());
        assert_eq!(String::from_utf8(data).expect("no character is divided"), format!("before{expected}"));
        assert_eq!(cut, text != expected);
    }

    #[test]
    fn text_is_cut_between_characters_and_ends_with_the_terminator() {
        check("abcdefgh\n", 5, "\n", "abcd\n");
        check("éééé", 6, "\n", "éé\n");
        check("éééé", 6, "<CUT>\n", "<CUT>\n");
        check("abcdef", 4, "", "abcd");
        check("{no json}\n", 4, "\n", "{no\n");
        check("[1, 2\n", 4, "\n", "[1,\n");
        check("12345678", 4, "\n", "123\n");
    }

    #[test]
    fn json_is_left_whole() {
        for json in ["{\"a\": 1}\n", " [1, 2]\r\n", "\"text\"", &format!("{}{}", "[".repeat(500), "]".repeat(500))] {
            check(json, 4, "\n", json);
        }
    }
}
