//! `syslog_rfc3164` and `syslog_rfc5424`: what syslog daemons write and send. Knows the order of the parts, not what a message
//! says. Invariant: a priority gives its facility and its severity.

use super::{
    super::{
        fields::{Fields, Name, Text, Value},
        text,
    },
    Mismatch,
    cursor::Cursor,
};

const FACILITIES: [&str; 24] = [
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "alert", "clock", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
];
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
const MONTHS: &[u8; 36] = b"JanFebMarAprMayJunJulAugSepOctNovDec";

/// `<34>`: the fields that it gives.
#[derive(Clone, Debug)]
struct Priority {
    names: [Name; 3],
    facilities: [Text; 24],
    severities: [Text; 8],
}

impl Priority {
    fn new(fields: &mut Fields) -> Self {
        Self {
            names: ["priority", "facility", "severity"].map(|name| fields.intern(name)),
            facilities: FACILITIES.map(|word| fields.constant(word)),
            severities: SEVERITIES.map(|word| fields.constant(word)),
        }
    }

    /// Reads what stands between `<`, which was passed, and `>`.
    fn parse(&self, cursor: &mut Cursor<'_>) -> Result<(), Mismatch> {
        const WHAT: &str = "a priority of 0 to 191";
        let start = cursor.at;
        let digits = cursor.digits(WHAT)?;
        let written = &cursor.line[start..cursor.at];
        let number = written.iter().take(4).fold(0, |sum, digit| sum * 10 + usize::from(digit - b'0'));
        let is_short = written.len() <= 3 && (written.len() == 1 || written[0] != b'0');
        let Some(facility) = self.facilities.get(number / 8).filter(|_| is_short) else {
            return cursor.fail_at(WHAT, start);
        };
        cursor.literal(b">", "`>` after the priority")?;
        cursor.fields.push(self.names[0], Value::Json(digits));
        cursor.push(self.names[1], *facility);
        cursor.push(self.names[2], self.severities[number % 8]);
        Ok(())
    }
}

/// RFC 3164, and the files that syslog daemons write.
#[derive(Clone, Debug)]
pub(in super::super) struct Rfc3164 {
    priority: Priority,
    /// timestamp, hostname, program, processid, message
    names: [Name; 5],
}

impl Rfc3164 {
    pub(super) fn new(fields: &mut Fields) -> Self {
        Self {
            priority: Priority::new(fields),
            names: ["timestamp", "hostname", "program", "processid", "message"].map(|name| fields.intern(name)),
        }
    }

    pub(super) fn parse(&self, line: &[u8], fields: &mut Fields) -> Result<(), Mismatch> {
        let mut cursor = Cursor::new(line, fields);
        if cursor.pass(b"<") {
            self.priority.parse(&mut cursor)?;
        }
        let time = old_time(&mut cursor)?;
        cursor.literal(b" ", "a space after the time")?;
        let host = cursor.word("the host")?;
        let (program, process) = if cursor.pass(b" ") { program(&mut cursor) } else { (None, None) };
        let [timestamp, hostname, program_name, processid, message] = self.names;
        cursor.push(timestamp, time);
        cursor.push(hostname, host);
        cursor.push(program_name, program);
        cursor.push(processid, process);
        let rest = cursor.take_rest();
        cursor.push(message, rest);
        Ok(())
    }
}

/// `Oct 11 22:14:15`, perhaps with a year before the hour and a fraction after it; or the time of RFC 3339.
fn old_time(cursor: &mut Cursor<'_>) -> Result<Text, Mismatch> {
    let start = cursor.at;
    if cursor.shape(b"0000-00-00") {
        return match cursor.peek() {
            Some(b'T' | b't') => {
                cursor.at = start;
                cursor.word("the time")
            }
            _ => cursor.fail("`T` of the time"),
        };
    }
    let is_month = cursor.rest().first_chunk::<3>().is_some_and(|word| MONTHS.as_chunks::<3>().0.contains(word));
    if !is_month {
        return cursor.fail("a time like `Oct 11 22:14:15` or `2003-10-11T22:14:15Z`");
    }
    cursor.at += 3;
    if !(cursor.shape(b" 00 ") || cursor.shape(b"  0 ") || cursor.shape(b" 0 ")) {
        return cursor.fail("the day of the month");
    }
    // Some devices write the year.
    let _ = cursor.shape(b"0000 ");
    if !cursor.shape(b"00:00:00") {
        return cursor.fail("the time of day");
    }
    if matches!(cursor.rest(), [b'.', b'0'..=b'9', ..]) {
        cursor.at += 1;
        cursor.digits("a fraction")?;
    }
    let time = Text::line(start, cursor.at);
    // And some a colon.
    let _ = cursor.pass(b":");
    Ok(time)
}

/// `program[123]: `, `program: ` or neither: then all of it is the message, and the cursor stays.
fn program(cursor: &mut Cursor<'_>) -> (Option<Text>, Option<Text>) {
    let start = cursor.at;
    let rest = cursor.rest();
    let mut len = 0;
    loop {
        len += match rest[len..].iter().position(|byte| matches!(byte, b' ' | b':' | b'[')) {
            Some(more) => more,
            None => return (None, None),
        };
        let after = rest.get(len + 1).copied();
        match rest[len] {
            _ if len == 0 => return (None, None),
            b':' if after.is_none_or(|byte| byte == b' ') => {
                cursor.at += len + 1;
                let _ = cursor.pass(b" ");
                return (Some(Text::line(start, start + len)), None);
            }
            b':' => len += 1,
            b'[' => break,
            _ => return (None, None),
        }
    }
    let inside = &rest[len + 1..];
    let Some(process) = inside.iter().position(|byte| matches!(byte, b']' | b' ')).filter(|&at| inside[at] == b']')
    else {
        return (None, None);
    };
    let close = start + len + 1 + process;
    cursor.at = close + 1;
    let _ = cursor.pass(b":");
    let _ = cursor.pass(b" ");
    (Some(Text::line(start, start + len)), Some(Text::line(start + len + 1, close)))
}

/// RFC 5424.
#[derive(Clone, Debug)]
pub(in super::super) struct Rfc5424 {
    priority: Priority,
    version: Name,
    /// timestamp, hostname, program, processid, msgid
    names: [Name; 5],
    structured_data: Name,
    message: Name,
}

impl Rfc5424 {
    pub(super) fn new(fields: &mut Fields) -> Self {
        Self {
            priority: Priority::new(fields),
            version: fields.intern("version"),
            names: ["timestamp", "hostname", "program", "processid", "msgid"].map(|name| fields.intern(name)),
            structured_data: fields.intern("structured_data"),
            message: fields.intern("message"),
        }
    }

    pub(super) fn parse(&self, line: &[u8], fields: &mut Fields) -> Result<(), Mismatch> {
        let mut cursor = Cursor::new(line, fields);
        cursor.literal(b"<", "`<` of the priority")?;
        self.priority.parse(&mut cursor)?;
        let start = cursor.at;
        let version = cursor.digits("a version")?;
        if cursor.at - start > 3 || line[start] == b'0' {
            return cursor.fail_at("a version of 1 to 999", start);
        }
        cursor.fields.push(self.version, Value::Json(version));
        let parts = [
            "the time or `-`",
            "the host or `-`",
            "the program or `-`",
            "the process or `-`",
            "the message's id or `-`",
        ];
        for (at, what) in parts.into_iter().enumerate() {
            cursor.literal(b" ", "a space")?;
            let nil = matches!(cursor.rest(), [b'-'] | [b'-', b' ', ..]);
            let start = cursor.at;
            if at == 0 && !nil && !cursor.shape(b"0000-00-00T00:00:00") {
                return cursor.fail(what);
            }
            cursor.at = start;
            let word = cursor.word(what)?;
            cursor.push(self.names[at], (!nil).then_some(word));
        }
        cursor.literal(b" ", "a space")?;
        self.structured_data(&mut cursor)?;
        let message = match cursor.rest() {
            [] => None,
            [b' ', ..] => {
                cursor.at += 1;
                let _ = cursor.pass("\u{feff}".as_bytes());
                Some(cursor.take_rest())
            }
            _ => return cursor.fail("a space or the end after the structured data"),
        };
        cursor.push(self.message, message);
        Ok(())
    }

    /// `-`, or `[id name="value" ...]` once or more: an object of objects.
    fn structured_data(&self, cursor: &mut Cursor<'_>) -> Result<(), Mismatch> {
        if cursor.pass(b"-") {
            cursor.push(self.structured_data, None);
            return Ok(());
        }
        let mut data = StructuredData { line: cursor.line, at: cursor.at };
        let mut result = Ok(());
        let object = cursor.fields.compose(|out| result = data.object(out));
        result?;
        cursor.at = data.at;
        cursor.fields.push(self.structured_data, Value::Json(object));
        Ok(())
    }
}

struct StructuredData<'a> {
    line: &'a [u8],
    at: usize,
}

impl StructuredData<'_> {
    fn expected<T>(&self, what: &'static str) -> Result<T, Mismatch> {
        Err(Mismatch::Expected { what, at: self.at.min(self.line.len()) })
    }

    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    /// Appends the elements as a JSON object.
    fn object(&mut self, out: &mut Vec<u8>) -> Result<(), Mismatch> {
        if self.peek() != Some(b'[') {
            return self.expected("`-` or `[` of the structured data");
        }
        out.push(b'{');
        while self.peek() == Some(b'[') {
            if out.last() == Some(&b'}') {
                out.push(b',');
            }
            self.at += 1;
            self.name("an id", out)?;
            out.extend_from_slice(b":{");
            self.parameters(out)?;
            out.push(b'}');
        }
        out.push(b'}');
        Ok(())
    }

    fn parameters(&mut self, out: &mut Vec<u8>) -> Result<(), Mismatch> {
        let mut first = true;
        loop {
            match self.peek() {
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                Some(b' ') => self.at += 1,
                _ => return self.expected("a space or `]`"),
            }
            if self.peek() == Some(b']') {
                continue;
            }
            if !first {
                out.push(b',');
            }
            first = false;
            self.name("a name", out)?;
            out.push(b':');
            self.value(out)?;
        }
    }

    /// An id or a name, as a JSON string.
    fn name(&mut self, what: &'static str, out: &mut Vec<u8>) -> Result<(), Mismatch> {
        let rest = &self.line[self.at..];
        let ends = |byte: &u8| *byte <= b' ' || matches!(byte, b'=' | b']' | b'"' | 0x7f);
        match rest.iter().position(ends).unwrap_or(rest.len()) {
            0 => self.expected(what),
            len => {
                text::push_json_string(&rest[..len], out);
                self.at += len;
                Ok(())
            }
        }
    }

    /// `="value"`, as a JSON string.
    fn value(&mut self, out: &mut Vec<u8>) -> Result<(), Mismatch> {
        if !self.line[self.at..].starts_with(b"=\"") {
            return self.expected("`=\"` after the name");
        }
        self.at += 2;
        let mut copied = self.at;
        out.push(b'"');
        while let Some(len) = memchr::memchr2(b'"', b'\\', &self.line[self.at..]) {
            self.at += len;
            if self.line[self.at] == b'"' {
                text::push_json_text(&self.line[copied..self.at], out);
                out.push(b'"');
                self.at += 1;
                return Ok(());
            }
            if matches!(self.line.get(self.at + 1), Some(b'"' | b'\\' | b']')) {
                text::push_json_text(&self.line[copied..self.at], out);
                copied = self.at + 1;
            }
            self.at = self.line.len().min(self.at + 2);
        }
        self.at = self.line.len();
        self.expected("`\"` that ends the value")
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Format, testing::check};

    fn old(line: &str, expected: &str) {
        check(Format::SyslogRfc3164, line, expected);
    }

    fn new(line: &str, expected: &str) {
        check(Format::SyslogRfc5424, line, expected);
    }

    #[test]
    fn lines_as_daemons_write_and_send_them() {
        old(
            "<34>Oct 11 22:14:15 mymachine su: 'su root' failed for lonvick on /dev/pts/8",
            "priority=`34`|facility=auth|severity=crit|timestamp=Oct 11 22:14:15|hostname=mymachine|program=su|processid=null|message='su root' failed for lonvick on /dev/pts/8",
        );
        old(
            "Mar  7 04:22:00 avas postfix/smtpd[1773]: connect from unknown[10.0.0.1]",
            "timestamp=Mar  7 04:22:00|hostname=avas|program=postfix/smtpd|processid=1773|message=connect from unknown[10.0.0.1]",
        );
        old(
            "2016-01-05T22:14:15.003+02:00 host.example.com sshd(pam_unix)[99]: hello world",
            "timestamp=2016-01-05T22:14:15.003+02:00|hostname=host.example.com|program=sshd(pam_unix)|processid=99|message=hello world",
        );
        old(
            "<0>Feb 3 2024 01:02:03.456: 10.1.1.1 %ASA-6-302014: Teardown",
            "priority=`0`|facility=kern|severity=emerg|timestamp=Feb 3 2024 01:02:03.456|hostname=10.1.1.1|program=%ASA-6-302014|processid=null|message=Teardown",
        );
        old(
            "Oct 11 22:14:15 mac com.apple.xpc[1] (com.apple.x[2]): gone",
            "timestamp=Oct 11 22:14:15|hostname=mac|program=com.apple.xpc|processid=1|message=(com.apple.x[2]): gone",
        );
    }

    #[test]
    fn without_a_program_all_of_it_is_the_message() {
        let head = "Oct 11 22:14:15 h";
        let fields =
            |program, message| format!("timestamp=Oct 11 22:14:15|hostname=h|program={program}|message={message}");
        old(
            &format!("{head} last message repeated 2 times"),
            &fields("null|processid=null", "last message repeated 2 times"),
        );
        old(head, &fields("null|processid=null", ""));
        old(&format!("{head} "), &fields("null|processid=null", ""));
        old(&format!("{head} : x"), &fields("null|processid=null", ": x"));
        old(&format!("{head} prog: "), &fields("prog|processid=null", ""));
        old(&format!("{head} prog:"), &fields("prog|processid=null", ""));
        old(&format!("{head} a::b: x"), &fields("a::b|processid=null", "x"));
        old(&format!("{head} p[1 2]: x"), &fields("null|processid=null", "p[1 2]: x"));
        old(&format!("{head} p[1"), &fields("null|processid=null", "p[1"));
        old(&format!("{head} p[]:x"), &fields("p|processid=", "x"));
    }

    #[test]
    fn what_is_no_old_line_says_where() {
        old("", "expected a time like `Oct 11 22:14:15` or `2003-10-11T22:14:15Z` at byte 0");
        old("<192>Oct 11 22:14:15 h a: b", "expected a priority of 0 to 191 at byte 1");
        old("<>Oct 11 22:14:15 h a: b", "expected a priority of 0 to 191 at byte 1");
        old("<034>Oct 11 22:14:15 h a: b", "expected a priority of 0 to 191 at byte 1");
        old("<34 Oct", "expected `>` after the priority at byte 3");
        old(
            "<34>1 2003-10-11T22:14:15Z h a - - -",
            "expected a time like `Oct 11 22:14:15` or `2003-10-11T22:14:15Z` at byte 4",
        );
        old("Oct 111 22:14:15 h", "expected the day of the month at byte 3");
        old("Oct 11 22:14 h", "expected the time of day at byte 7");
        old("Oct 11 22:14:15", "expected a space after the time at byte 15");
        old("Oct 11 22:14:15 ", "expected the host at byte 16");
        old("2016-01-05 22:14:15 h", "expected `T` of the time at byte 10");
    }

    #[test]
    fn structured_data_is_an_object_of_objects() {
        new(
            r#"<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 iut="3" eventSource="Application" eventID="1011"][x@1][y@1 a="\"\\\]\n"] An event"#,
            r#"priority=`165`|facility=local4|severity=notice|version=`1`|timestamp=2003-10-11T22:14:15.003Z|hostname=mymachine.example.com|program=evntslog|processid=null|msgid=ID47|structured_data=`{"exampleSDID@32473":{"iut":"3","eventSource":"Application","eventID":"1011"},"x@1":{},"y@1":{"a":"\"\\]\\n"}}`|message=An event"#,
        );
    }

    #[test]
    fn all_but_priority_and_version_may_be_nothing() {
        let nothing =
            "timestamp=null|hostname=null|program=null|processid=null|msgid=null|structured_data=null|message=";
        let head = "priority=`0`|facility=kern|severity=emerg|version=`1`|";
        new("<0>1 - - - - - -", &format!("{head}{nothing}null"));
        new("<0>1 - - - - - - ", &format!("{head}{nothing}"));
        new("<0>1 - - - - - - \u{feff}a  b", &format!("{head}{nothing}a  b"));
    }

    #[test]
    fn what_is_no_new_line_says_where() {
        new("1 - - - - - -", "expected `<` of the priority at byte 0");
        new("<1>- - - - - - -", "expected a version at byte 3");
        new("<1>1234 - - - - - -", "expected a version of 1 to 999 at byte 3");
        new("<1>1 now - - - - -", "expected the time or `-` at byte 5");
        new("<1>1 - - - - -", "expected a space at byte 14");
        new("<1>1 -  - - - -", "expected the host or `-` at byte 7");
        new("<1>1 - - - - - x", "expected `-` or `[` of the structured data at byte 15");
        new("<1>1 - - - - - -x", "expected a space or the end after the structured data at byte 16");
        new("<1>1 - - - - - []", "expected an id at byte 16");
        new("<1>1 - - - - - [a", "expected a space or `]` at byte 17");
        new("<1>1 - - - - - [a b]", "expected `=\"` after the name at byte 19");
        new("<1>1 - - - - - [a b=\"\\\"]", "expected `\"` that ends the value at byte 24");
    }
}
