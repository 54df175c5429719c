//! `SINGLELINE`: the lines of a record become one. Knows no other converter.

use super::text;

/// Appends the lines of `text`, joined, and a newline.
pub(super) fn convert(trim: bool, escape_new_line: bool, text: &str, out: &mut Vec<u8>) {
    // Java leaves empty pieces at the end out, before it trims.
    let lines = text.trim_end_matches('\n');
    for (at, line) in lines.split('\n').enumerate() {
        if escape_new_line && at > 0 {
            out.extend_from_slice(br"\\n");
        }
        out.extend_from_slice(if trim { text::trim(line) } else { line }.as_bytes());
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(trim: bool, escape_new_line: bool, text: &str, expected: &str) {
        let mut out = b"before".to_vec();
        convert(trim, escape_new_line, text, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), format!("before{expected}"));
    }

    #[test]
    fn lines_are_trimmed_and_joined() {
        check(true, false, "{\n  \"a\": 1,\n\t\"b\": 2\n}\n", "{\"a\": 1,\"b\": 2}\n");
        check(true, false, "hello", "hello\n");
        check(true, false, "\n\n", "\n");
        check(true, false, "", "\n");
        check(false, false, " a  \r\n b \n", " a  \r b \n");
    }

    #[test]
    fn escaped_newlines_stand_between_lines_even_empty_ones() {
        check(true, true, "\na\n\n  \nb\n\n", "\\\\na\\\\n\\\\n\\\\nb\n");
        check(true, true, "a\n \n", "a\\\\n\n");
        check(false, true, " a \n b \n", " a \\\\n b \n");
        check(true, true, "\n", "\n");
    }
}
