//! `common` and `combined`: the access logs of Apache and nginx. Knows the order of the fields, not what they mean.
//! Invariant: every field is text, `-` included.

use memchr::{memchr, memchr_iter, memchr2, memrchr_iter};

use super::{
    super::fields::{Fields, Name, Text},
    Mismatch,
    cursor::Cursor,
};

/// The fields in the order of the line; the first `COMMON` of them are those of `common`.
const NAMES: [&str; 9] = ["host", "ident", "authuser", "datetime", "request", "response", "bytes", "referrer", "agent"];
const COMMON: usize = 7;

#[derive(Clone, Debug)]
pub(in super::super) struct Access {
    names: Vec<Name>,
}

impl Access {
    pub(super) fn common(fields: &mut Fields) -> Self {
        Self { names: NAMES[..COMMON].iter().map(|name| fields.intern(name)).collect() }
    }

    pub(super) fn combined(fields: &mut Fields) -> Self {
        Self { names: NAMES.iter().map(|name| fields.intern(name)).collect() }
    }

    fn is_combined(&self) -> bool {
        self.names.len() > COMMON
    }

    pub(super) fn name(&self) -> &'static str {
        if self.is_combined() { "combined" } else { "common" }
    }

    pub(super) fn parse(&self, line: &[u8], fields: &mut Fields) -> Result<(), Mismatch> {
        let mut cursor = Cursor::new(line, fields);
        let host = cursor.word("the host")?;
        cursor.literal(b" ", "a space after the host")?;
        let ident = cursor.word("the ident")?;
        cursor.literal(b" ", "a space after the ident")?;
        let (user, date) = cursor.user_and_date()?;
        cursor.literal(b" \"", "` \"` of the request")?;
        let request = cursor.quoted("`\"` that ends the request")?;
        cursor.literal(b" ", "a space before the response code")?;
        let response = cursor.number("the response code or `-`")?;
        cursor.literal(b" ", "a space before the bytes")?;
        let bytes = cursor.number("the bytes or `-`")?;
        cursor.push_all(&self.names, [host, ident, user, date, request, response, bytes]);
        if self.is_combined() {
            cursor.literal(b" \"", "` \"` of the referrer")?;
            let referrer = cursor.quoted("`\"` that ends the referrer")?;
            cursor.literal(b" \"", "` \"` of the agent")?;
            let agent = cursor.quoted("`\"` that ends the agent")?;
            cursor.push_all(&self.names[COMMON..], [referrer, agent]);
        }
        cursor.end()
    }
}

impl Cursor<'_> {
    fn push_all<const N: usize>(&mut self, names: &[Name], texts: [Text; N]) {
        for (name, text) in names.iter().zip(texts) {
            self.push(*name, text);
        }
    }

    fn number(&mut self, what: &'static str) -> Result<Text, Mismatch> {
        let rest = self.rest();
        let digits = rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len());
        match (digits, rest.first()) {
            (0, Some(b'-')) => Ok(self.take(1)),
            (0, _) => self.fail(what),
            (digits, _) => Ok(self.take(digits)),
        }
    }

    /// The user, everything up to the ` [` of the date, and what stands between the brackets.
    fn user_and_date(&mut self) -> Result<(Text, Text), Mismatch> {
        let rest = self.rest();
        let after_space = |&at: &usize| at > 0 && rest[at - 1] == b' ';
        let Some(open) = memchr_iter(b'[', rest).find(after_space) else {
            let user = memchr(b' ', rest).map_or(rest.len(), |space| space + 1);
            return self.fail_at("`[` of the date", self.at + user);
        };
        let Some(len) = memchr(b']', &rest[open..]) else {
            return self.fail_at("`]` of the date", self.line.len());
        };
        let close = open + len;
        // A user's name may hold ` [` too: the date's is the last one before the date's end.
        let open = memrchr_iter(b'[', &rest[..close]).find(after_space).unwrap_or(open);
        let texts = (Text::line(self.at, self.at + open - 1), Text::line(self.at + open + 1, self.at + close));
        self.at += close + 1;
        Ok(texts)
    }

    /// What stands before the next quote that no backslash precedes; the quote is taken too.
    fn quoted(&mut self, what: &'static str) -> Result<Text, Mismatch> {
        let start = self.at;
        let mut unescape = false;
        while let Some(len) = memchr2(b'"', b'\\', self.rest()) {
            self.at += len;
            if self.line[self.at] == b'"' {
                self.at += 1;
                return Ok(if unescape { self.unescaped(start, self.at - 1) } else { Text::line(start, self.at - 1) });
            }
            unescape |= matches!(self.line.get(self.at + 1), Some(b'"' | b'\\'));
            self.at = self.line.len().min(self.at + 2);
        }
        self.fail_at(what, self.line.len())
    }

    /// The bytes `[start, end)`, where `\"` stands for `"` and `\\` for `\`; every other escape stays as it is.
    fn unescaped(&mut self, start: usize, end: usize) -> Text {
        let mut rest = &self.line[start..end];
        self.fields.compose(|out| {
            while let Some(at) = memchr(b'\\', rest) {
                out.extend_from_slice(&rest[..at]);
                match rest.get(at + 1) {
                    Some(&escaped @ (b'"' | b'\\')) => out.push(escaped),
                    _ => out.extend_from_slice(&rest[at..rest.len().min(at + 2)]),
                }
                rest = &rest[rest.len().min(at + 2)..];
            }
            out.extend_from_slice(rest);
        })
    }

    /// Further fields, which many servers are configured to write, begin with a space. They are not read.
    fn end(&self) -> Result<(), Mismatch> {
        match self.rest().first() {
            None | Some(b' ') => Ok(()),
            Some(_) => self.fail("a space or the end"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::super::fields::Value, *};

    /// Parses `line` and compares its fields, joined by `|`, or why it is none, with `expected`.
    #[track_caller]
    fn check(new: fn(&mut Fields) -> Access, line: &str, expected: &str) {
        let mut fields = Fields::default();
        let access = new(&mut fields);
        let result = access.parse(line.as_bytes(), &mut fields);
        let text = |value| match value {
            Value::Text(text) => String::from_utf8_lossy(fields.bytes(line.as_bytes(), text)).into_owned(),
            other => panic!("{other:?}"),
        };
        let found = match result {
            Ok(()) => fields.iter().map(|field| text(field.value)).collect::<Vec<_>>().join("|"),
            Err(mismatch) => mismatch.to_string(),
        };
        assert_eq!(found, expected);
    }

    fn combined(line: &str, expected: &str) {
        check(Access::combined, line, expected);
    }

    fn common(line: &str, expected: &str) {
        check(Access::common, line, expected);
    }

    const DATE: &str = "10/Oct/2000:13:55:36 -0700";

    #[test]
    fn a_combined_line_has_nine_fields() {
        combined(
            r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /a.gif HTTP/1.0" 200 2326 "http://x.org/" "Mozilla/4.08 [en]""#,
            "127.0.0.1|-|frank|10/Oct/2000:13:55:36 -0700|GET /a.gif HTTP/1.0|200|2326|http://x.org/|Mozilla/4.08 [en]",
        );
    }

    #[test]
    fn a_common_line_has_seven_fields_and_keeps_its_dashes() {
        common(&format!(r#"::1 - - [{DATE}] "-" 408 -"#), &format!("::1|-|-|{DATE}|-|408|-"));
    }

    #[test]
    fn what_follows_the_last_field_is_not_read() {
        common(&format!(r#"h - - [{DATE}] "GET /" 200 1 "r" "a""#), &format!("h|-|-|{DATE}|GET /|200|1"));
        combined(
            &format!(r#"h - - [{DATE}] "GET /" 200 1 "r" "a" 0.003 "x"#),
            &format!("h|-|-|{DATE}|GET /|200|1|r|a"),
        );
        combined(&format!(r#"h - - [{DATE}] "GET /" 200 1 "r" "a"x"#), "expected a space or the end at byte 56");
        common(&format!(r#"h - - [{DATE}] "GET /" 200 12ab"#), "expected a space or the end at byte 49");
    }

    #[test]
    fn a_user_may_have_spaces_and_brackets_or_be_empty() {
        common(&format!(r#"h - j r doe [{DATE}] "G" 200 1"#), &format!("h|-|j r doe|{DATE}|G|200|1"));
        common(&format!(r#"h - a [b [{DATE}] "G" 200 1"#), &format!("h|-|a [b|{DATE}|G|200|1"));
        common(&format!(r#"h - a[b] [{DATE}] "G" 200 1"#), &format!("h|-|a[b]|{DATE}|G|200|1"));
        common(&format!(r#"h -  [{DATE}] "G" 200 1"#), &format!("h|-||{DATE}|G|200|1"));
    }

    #[test]
    fn escaped_quotes_and_backslashes_are_unescaped_and_no_other_escape() {
        combined(
            &format!(r#"h - - [{DATE}] "GET /\"\\\x22\n" 200 1 "" "\\""#),
            &format!(r#"h|-|-|{DATE}|GET /"\\x22\n|200|1||\"#),
        );
    }

    #[test]
    fn a_line_that_is_not_of_the_format_says_where() {
        combined("", "expected the host at byte 0");
        combined(" h", "expected the host at byte 0");
        combined("host", "expected a space after the host at byte 4");
        combined("1.2.3.4 - frank hello", "expected `[` of the date at byte 16");
        combined("1.2.3.4 - [now", "expected `[` of the date at byte 14");
        combined("h - - [now", "expected `]` of the date at byte 10");
        combined("h - - [now]", "expected ` \"` of the request at byte 11");
        combined(r#"h - - [now] "GET \""#, "expected `\"` that ends the request at byte 19");
        combined(r#"h - - [now] "GET \"#, "expected `\"` that ends the request at byte 18");
        combined(r#"h - - [now] "G" OK 1"#, "expected the response code or `-` at byte 16");
        combined(r#"h - - [now] "G" 200"#, "expected a space before the bytes at byte 19");
        combined(r#"h - - [now] "G" 200 "#, "expected the bytes or `-` at byte 20");
        combined(r#"h - - [now] "G" 200 7"#, "expected ` \"` of the referrer at byte 21");
        combined(r#"h - - [now] "G" 200 7 "r""#, "expected ` \"` of the agent at byte 25");
        combined(r#"h - - [now] "G" 200 7 "r" "a"#, "expected `\"` that ends the agent at byte 28");
    }
}
