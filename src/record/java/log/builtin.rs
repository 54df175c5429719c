//! The formats that `LOGTOJSON` knows, read by hand: ASCII tokens, fixed separators. Knows no names of fields.
//! Invariant: it accepts what the patterns in the tests accept, and finds the same parts.

use super::Format;

/// The parts of a record; `None` stands for one that is not there.
pub(super) type Parts = Vec<Option<(usize, usize)>>;

/// Finds the parts of a record of `format` and appends them to `parts`. `None`: it is not of the format.
pub(super) fn read(format: Format, text: &str, parts: &mut Parts) -> Option<()> {
    let mut line = Line { text: text.as_bytes(), at: 0, parts };
    match format {
        Format::CommonApache => line.access(false),
        Format::CombinedApache => line.access(true),
        Format::ApacheError => line.error(),
        Format::Syslog => line.syslog(Line::syslog_time),
        Format::Rfc3339Syslog => line.syslog(Line::rfc3339),
    }
}

const MONTHS: [(&[u8], &[u8]); 12] = [
    (b"Jan", b"uary"),
    (b"Feb", b"ruary"),
    (b"Mar", b"ch"),
    (b"Apr", b"il"),
    (b"May", b""),
    (b"Jun", b"e"),
    (b"Jul", b"y"),
    (b"Aug", b"ust"),
    (b"Sep", b"tember"),
    (b"Oct", b"ober"),
    (b"Nov", b"ember"),
    (b"Dec", b"ember"),
];
const DAYS: [(&[u8], &[u8]); 7] = [
    (b"Mon", b"day"),
    (b"Tue", b"sday"),
    (b"Wed", b"nesday"),
    (b"Thu", b"rsday"),
    (b"Fri", b"day"),
    (b"Sat", b"urday"),
    (b"Sun", b"day"),
];

/// A record and how far it is read. What a method reads, it reads as far as it can: no token is followed by what it may hold.
struct Line<'a> {
    text: &'a [u8],
    at: usize,
    parts: &'a mut Parts,
}

impl Line<'_> {
    /// Host, two users, date, request, status, bytes; `combined`: referer and agent. Anything may follow.
    fn access(&mut self, combined: bool) -> Option<()> {
        self.part(Self::host)?;
        self.take(b" ")?;
        self.part(Self::user)?;
        self.take(b" ")?;
        self.part(Self::user)?;
        self.take(b" [")?;
        self.part(Self::http_date)?;
        self.take(b"] ")?;
        self.quoted()?;
        self.take(b" ")?;
        self.part(Self::number_or_dash)?;
        self.take(b" ")?;
        self.part(Self::number_or_dash)?;
        if combined {
            self.take(b" ")?;
            self.quoted()?;
            self.take(b" ")?;
            self.quoted()?;
        }
        self.rest()
    }

    fn error(&mut self) -> Option<()> {
        self.take(b"[")?;
        self.part(Self::error_time)?;
        self.take(b"] [")?;
        let word = self.at;
        self.one_or_more(is_word)?;
        if self.take(b":").is_some() {
            self.parts.push(Some((word, self.at - 1)));
            self.part(|line| line.one_or_more(is_word))?;
        } else {
            self.parts.push(None);
            self.parts.push(Some((word, self.at)));
        }
        self.take(b"] [pid ")?;
        self.part(|line| line.one_or_more(is_digit))?;
        if self.take(b":tid ").is_some() {
            self.part(|line| line.one_or_more(is_digit))?;
        } else {
            self.parts.push(None);
        }
        self.take(b"] [client ")?;
        self.part(|line| {
            line.host()?;
            if line.take(b":").is_some() { line.positive() } else { Some(()) }
        })?;
        self.take(b"] ")?;
        self.part(Self::rest)
    }

    fn syslog(&mut self, time: fn(&mut Self) -> Option<()>) -> Option<()> {
        self.part(time)?;
        self.take(b" ")?;
        self.facility()?;
        self.part(Self::user)?;
        self.take(b" ")?;
        self.part(|line| line.one_or_more(|byte| is_word(byte) || b"._/%-".contains(&byte)))?;
        if self.take(b"[").is_some() {
            self.part(Self::positive)?;
            self.take(b"]")?;
        } else {
            self.parts.push(None);
        }
        self.take(b": ")?;
        self.part(Self::rest)
    }

    /// Reads with `token` and keeps what it read as a part.
    fn part(&mut self, token: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let start = self.at;
        token(self)?;
        self.parts.push(Some((start, self.at)));
        Some(())
    }

    fn left(&self) -> &[u8] {
        &self.text[self.at..]
    }

    fn take(&mut self, literal: &[u8]) -> Option<()> {
        let found = self.left().starts_with(literal);
        found.then(|| self.at += literal.len())
    }

    fn count(&self, accept: impl Fn(u8) -> bool) -> usize {
        self.left().iter().position(|&byte| !accept(byte)).unwrap_or(self.left().len())
    }

    fn one_or_more(&mut self, accept: impl Fn(u8) -> bool) -> Option<()> {
        let count = self.count(accept);
        self.at += count;
        (count > 0).then_some(())
    }

    /// As many digits as are wanted.
    fn digits(&mut self, wanted: usize) -> Option<()> {
        let found = self.left().get(..wanted)?.iter().all(u8::is_ascii_digit);
        found.then(|| self.at += wanted)
    }

    /// What is left, if it is on one line.
    fn rest(&mut self) -> Option<()> {
        let left = self.left();
        let ends = memchr::memchr3(b'\n', b'\r', 0xc2, left).is_some() || memchr::memchr(0xe2, left).is_some();
        if ends && std::str::from_utf8(left).is_ok_and(|text| text.contains(is_line_end)) {
            return None;
        }
        self.at = self.text.len();
        Some(())
    }

    /// Labels joined by dots, perhaps one dot more; or digits and dots in any order.
    fn host(&mut self) -> Option<()> {
        let len = self.count(|byte| is_word(byte) || byte == b'-' || byte == b'.');
        let name = &self.left()[..len];
        let labels = !name.starts_with(b".") && memchr::memmem::find(name, b"..").is_none();
        let numbers = || name.iter().all(|&byte| is_digit(byte) || byte == b'.');
        let accepted = !name.is_empty() && (labels || numbers());
        accepted.then(|| self.at += len)
    }

    fn user(&mut self) -> Option<()> {
        self.one_or_more(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    }

    /// Quotes around one character or more, none of which is a quote; those between are a part.
    fn quoted(&mut self) -> Option<()> {
        self.take(b"\"")?;
        let len = memchr::memchr(b'"', self.left()).filter(|&len| len > 0)?;
        self.parts.push(Some((self.at, self.at + len)));
        self.at += len + 1;
        Some(())
    }

    fn number(&mut self) -> Option<()> {
        let _ = self.take(b"+").or_else(|| self.take(b"-"));
        self.one_or_more(is_digit)
    }

    fn number_or_dash(&mut self) -> Option<()> {
        let start = self.at;
        if self.number().is_some() {
            return Some(());
        }
        self.at = start;
        self.take(b"-")
    }

    /// A number without a sign that does not begin with 0.
    fn positive(&mut self) -> Option<()> {
        if self.left().first() == Some(&b'0') { None } else { self.one_or_more(is_digit) }
    }

    fn name(&mut self, names: &[(&[u8], &[u8])]) -> Option<()> {
        let (_, end) = names.iter().find(|(begin, _)| self.take(begin).is_some())?;
        let _ = self.take(end);
        Some(())
    }

    fn spaces(&mut self) -> Option<()> {
        self.one_or_more(is_space)
    }

    fn day_of_month(&mut self) -> Option<()> {
        let len = match self.left() {
            [b'0', b'1'..=b'9', ..] | [b'1' | b'2', b'0'..=b'9', ..] | [b'3', b'0' | b'1', ..] => 2,
            [b'1'..=b'9', ..] => 1,
            _ => return None,
        };
        self.at += len;
        Some(())
    }

    fn time(&mut self) -> Option<()> {
        let hour = match self.left() {
            [b'2', b'0'..=b'3', ..] | [b'0' | b'1', b'0'..=b'9', ..] => 2,
            [b'0'..=b'9', ..] => 1,
            _ => return None,
        };
        self.at += hour;
        self.take(b":")?;
        let [b'0'..=b'5', b'0'..=b'9', ..] = self.left() else { return None };
        self.at += 2;
        self.take(b":")?;
        let second = match self.left() {
            [b'0'..=b'5', b'0'..=b'9', ..] | [b'6', b'0', ..] => 2,
            [b'0'..=b'9', ..] => 1,
            _ => return None,
        };
        self.at += second;
        if let [b':' | b'.' | b',', b'0'..=b'9', ..] = self.left() {
            self.at += 1;
            self.one_or_more(is_digit)?;
        }
        Some(())
    }

    fn http_date(&mut self) -> Option<()> {
        self.day_of_month()?;
        self.take(b"/")?;
        self.name(&MONTHS)?;
        self.take(b"/")?;
        self.positive()?;
        self.take(b":")?;
        self.time()?;
        self.left().first().copied().filter(|&byte| is_space(byte))?;
        self.at += 1;
        self.number()
    }

    fn error_time(&mut self) -> Option<()> {
        self.name(&DAYS)?;
        self.spaces()?;
        self.name(&MONTHS)?;
        self.spaces()?;
        self.day_of_month()?;
        self.spaces()?;
        self.time()?;
        self.spaces()?;
        self.positive()
    }

    fn syslog_time(&mut self) -> Option<()> {
        self.name(&MONTHS)?;
        self.spaces()?;
        self.day_of_month()?;
        self.spaces()?;
        self.time()
    }

    fn rfc3339(&mut self) -> Option<()> {
        for (digits, behind) in [(4, "-"), (2, "-"), (2, "T"), (2, ":"), (2, ":")] {
            self.digits(digits)?;
            self.take(behind.as_bytes())?;
        }
        self.digits(2)?;
        if self.take(b".").is_some() {
            self.one_or_more(is_digit)?;
        }
        if self.take(b"Z").is_some() {
            return Some(());
        }
        self.take(b"+").or_else(|| self.take(b"-"))?;
        self.digits(2)?;
        self.take(b":")?;
        self.digits(2)
    }

    /// Perhaps `<`, digits, any character, digits, `> `: it is no part.
    fn facility(&mut self) -> Option<()> {
        if self.take(b"<").is_none() {
            return Some(());
        }
        let digits = self.count(is_digit);
        self.one_or_more(is_digit)?;
        // The character between may be a digit itself.
        if digits >= 3 && self.take(b"> ").is_some() {
            return Some(());
        }
        let left = std::str::from_utf8(self.left()).ok()?;
        let between = left.chars().next().filter(|&c| !is_line_end(c))?;
        self.at += between.len_utf8();
        self.one_or_more(is_digit)?;
        self.take(b"> ")
    }
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_digit()
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// What ends a line in Java's eyes.
fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use regex::bytes::Regex;

    use super::*;

    const HOST: &str = r"(?:[0-9A-Za-z_-]+(?:\.[0-9A-Za-z_-]+)*\.?|[0-9.]+)";
    const USER: &str = "[a-zA-Z0-9._-]+";
    const MONTH: &str = "(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:tember)?|Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)";
    const DAY: &str = "(?:Mon(?:day)?|Tue(?:sday)?|Wed(?:nesday)?|Thu(?:rsday)?|Fri(?:day)?|Sat(?:urday)?|Sun(?:day)?)";
    const MONTHDAY: &str = "(?:0[1-9]|[12][0-9]|3[01]|[1-9])";
    const TIME: &str = "(?:(?:2[0-3]|[01]?[0-9]):[0-5][0-9]:(?:[0-5]?[0-9]|60)(?:[:.,][0-9]+)?)";
    const YEAR: &str = "[1-9][0-9]*";
    const SPACE: &str = r"[ \t\n\x0B\f\r]";
    const INT: &str = "[+-]?[0-9]+";
    const DOT: &str = r"[^\n\r\x{85}\x{2028}\x{2029}]";

    /// What a format accepts, as one pattern.
    fn pattern(format: Format) -> String {
        let common = format!(
            r#"({HOST}) ({USER}) ({USER}) \[({MONTHDAY}/{MONTH}/{YEAR}:{TIME}{SPACE}{INT})\] "([^"]+)" ({INT}|-) ({INT}|-)"#
        );
        let tail = format!(r"(?:<[0-9]+{DOT}[0-9]+> )?({USER}) ([0-9A-Za-z_./%-]+)(?:\[([1-9][0-9]*)\])?: ({DOT}*)");
        let word = "[0-9A-Za-z_]+";
        let body = match format {
            Format::CommonApache => format!("{common}{DOT}*"),
            Format::CombinedApache => format!(r#"{common} "([^"]+)" "([^"]+)"{DOT}*"#),
            Format::ApacheError => format!(
                r"\[({DAY}{SPACE}+{MONTH}{SPACE}+{MONTHDAY}{SPACE}+{TIME}{SPACE}+{YEAR})\] \[(?:({word}):)?({word})\] \[pid ([0-9]+)(?::tid ([0-9]+))?\] \[client ({HOST}(?::[1-9][0-9]*)?)\] ({DOT}*)"
            ),
            Format::Syslog => format!("({MONTH}{SPACE}+{MONTHDAY}{SPACE}+{TIME}) {tail}"),
            Format::Rfc3339Syslog => format!(
                r"([0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(?:\.[0-9]+)?(?:Z|[-+][0-9]{{2}}:[0-9]{{2}})) {tail}"
            ),
        };
        format!(r"\A(?:{body})\z")
    }

    const FORMATS: [Format; 5] =
        [Format::CommonApache, Format::CombinedApache, Format::ApacheError, Format::Syslog, Format::Rfc3339Syslog];

    /// Compares what is found by hand with what the patterns find. True: some format accepts the text.
    fn check(text: &str) -> bool {
        static PATTERNS: LazyLock<Vec<Regex>> =
            LazyLock::new(|| FORMATS.iter().map(|&f| Regex::new(&pattern(f)).expect("a pattern")).collect());
        let mut any = false;
        for (format, regex) in FORMATS.into_iter().zip(&*PATTERNS) {
            let mut parts = Vec::new();
            let found = read(format, text, &mut parts).map(|()| parts);
            let expected = regex.captures(text.as_bytes()).map(|groups| {
                groups.iter().skip(1).map(|group| group.map(|m| (m.start(), m.end()))).collect::<Parts>()
            });
            assert_eq!(found, expected, "{format:?} {text:?}");
            assert!(expected.is_none_or(|parts| parts.len() == format.names().len()));
            any |= found.is_some();
        }
        any
    }

    const EXAMPLES: [&str; 9] = [
        r#"64.242.88.10 - - [07/Mar/2004:16:10:02 -0800] "GET /x HTTP/1.1" 200 6291"#,
        r#"h.example.com. frank u_1 [7/March/1:1:10:60.5 +1] "-" - - "ref" "agent" more"#,
        "[Fri Sep 09 10:42:29.902022 2011] [core:error] [pid 35708:tid 43286] [client 72.15.99.187:80] File",
        "[Sunday January 1 0:00:0 9] [error] [pid 1] [client a-b.] -",
        "Mar  7 04:22:00 avas CROND[11460]: (cronjob) CMD",
        "Oct 11 22:14:15,5 <134> mymachine su: x",
        "2016-01-05T22:14:15.003+02:00 host.example.com sshd[99]: hello world",
        "2016-01-05T22:14:15Z <1.3> h p: \u{85}",
        "Oct 11 22:14:15 <1é3> h a_b./%-c: m",
    ];

    #[test]
    fn the_examples_are_read_like_their_patterns() {
        let read = EXAMPLES.iter().filter(|text| check(text)).count();
        assert_eq!(read, 8);
    }

    fn piece() -> impl Strategy<Value = String> {
        let words = prop_oneof![
            Just(" "),
            Just("  "),
            Just("-"),
            Just("."),
            Just(".."),
            Just(":"),
            Just("/"),
            Just("["),
            Just("]"),
            Just("\""),
            Just("<"),
            Just(">"),
            Just("> "),
            Just("0"),
            Just("6"),
            Just("12"),
            Just("31"),
            Just("60"),
            Just("61"),
            Just("Oct"),
            Just("October"),
            Just("Octo"),
            Just("Sun"),
            Just("T"),
            Just("Z"),
            Just("+"),
            Just(","),
            Just("\n"),
            Just("\r"),
            Just("\t"),
            Just("é"),
            Just("\u{85}"),
            Just("\u{2028}"),
            Just("a"),
            Just("_"),
            Just(": "),
            Just("[1]"),
            Just(":tid 5"),
            Just("\u{1f600}"),
        ];
        words.prop_map(str::to_owned)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn what_is_read_by_hand_is_what_the_patterns_say(
            example in 0..EXAMPLES.len(),
            edits in proptest::collection::vec((any::<proptest::sample::Index>(), 0..4usize, piece()), 0..3),
        ) {
            let mut text: Vec<char> = EXAMPLES[example].chars().collect();
            for (place, removed, inserted) in edits {
                let at = place.index(text.len() + 1);
                let end = text.len().min(at + removed);
                text.splice(at..end, inserted.chars());
            }
            check(&text.into_iter().collect::<String>());
        }
    }
}
