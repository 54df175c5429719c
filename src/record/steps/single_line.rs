//! `single_line`: several lines become one. Knows nothing of records. Invariant: what it writes has no line feed but those of
//! `join`.

/// How the lines of a text are joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SingleLine {
    /// What stands between them. Default: one space.
    pub join: String,
    /// Whether blanks around each line, and empty lines, are left out. Default: true.
    pub trim: bool,
}

impl Default for SingleLine {
    fn default() -> Self {
        Self { join: " ".to_owned(), trim: true }
    }
}

impl SingleLine {
    /// Appends `text` on one line; false, and nothing, if it has one line only.
    pub(super) fn apply(&self, text: &[u8], out: &mut Vec<u8>) -> bool {
        if memchr::memchr(b'\n', text).is_none() {
            return false;
        }
        let mut first = true;
        for line in text.split(|&byte| byte == b'\n') {
            let line = if self.trim { line.trim_ascii() } else { line.strip_suffix(b"\r").unwrap_or(line) };
            if self.trim && line.is_empty() {
                continue;
            }
            if !first {
                out.extend_from_slice(self.join.as_bytes());
            }
            out.extend_from_slice(line);
            first = false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn joined(join: &str, trim: bool, text: &[u8]) -> Option<String> {
        let mut out = Vec::new();
        let changed = SingleLine { join: join.to_owned(), trim }.apply(text, &mut out);
        assert!(changed || out.is_empty());
        changed.then(|| String::from_utf8_lossy(&out).into_owned())
    }

    #[test]
    fn lines_are_trimmed_and_joined() {
        assert_eq!(joined(" ", true, b"boom\r\n\tat x.Y \n\n  at z\n").as_deref(), Some("boom at x.Y at z"));
        assert_eq!(joined("", true, b"{\n  \"a\": 1\n}").as_deref(), Some("{\"a\": 1}"));
        assert_eq!(joined("|", false, b" a \r\n\nb\rc").as_deref(), Some(" a ||b\rc"));
        assert_eq!(joined(" ", true, b"\n\n").as_deref(), Some(""));
    }

    #[test]
    fn a_single_line_stays_as_it_is() {
        assert_eq!(joined(" ", true, b"  one "), None);
        assert_eq!(joined(" ", true, b""), None);
    }

    proptest! {
        #[test]
        fn it_is_what_trimming_and_joining_lines_gives(text in r"[ab \t\r\n]{0,40}", join in "[ -]{0,2}") {
            let lines = text.split('\n').map(|line| line.trim_matches([' ', '\t', '\r'])).filter(|line| !line.is_empty());
            let expected = lines.collect::<Vec<_>>().join(&join);
            prop_assert_eq!(joined(&join, true, text.as_bytes()), text.contains('\n').then_some(expected));
        }
    }
}
