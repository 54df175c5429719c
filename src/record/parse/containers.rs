//! `cri` and `docker`: the files in which container runtimes keep what containers print. Knows no message. Invariant: the
//! message is what the container printed, without the line end that the runtime counts to it.

use super::{
    super::fields::{Fields, Name, Value},
    Mismatch,
    cursor::Cursor,
    json,
};

/// `time stream tag message`, as containerd and CRI-O write it.
#[derive(Clone, Debug)]
pub(in super::super) struct Cri {
    /// time, stream, logtag, message
    names: [Name; 4],
}

impl Cri {
    pub(super) fn new(fields: &mut Fields) -> Self {
        Self { names: ["time", "stream", "logtag", "message"].map(|name| fields.intern(name)) }
    }

    pub(super) fn parse(&self, line: &[u8], fields: &mut Fields) -> Result<(), Mismatch> {
        let mut cursor = Cursor::new(line, fields);
        if !cursor.shape(b"0000-00-00T00:00:00") {
            return cursor.fail("a time like `2016-10-06T00:17:09.669794202Z`");
        }
        cursor.at = 0;
        let time = cursor.word("the time")?;
        cursor.literal(b" ", "a space after the time")?;
        let start = cursor.at;
        let stream = cursor.word("the stream")?;
        if !matches!(&line[start..cursor.at], b"stdout" | b"stderr") {
            return cursor.fail_at("`stdout` or `stderr`", start);
        }
        cursor.literal(b" ", "a space after the stream")?;
        if !matches!(cursor.peek(), Some(b'F' | b'P')) {
            return cursor.fail("`F` or `P`");
        }
        // Further tags follow after colons.
        let tag = cursor.word("`F` or `P`")?;
        // A runtime leaves the space out where the message is empty.
        let _ = cursor.pass(b" ");
        let message = cursor.take_rest();
        for (name, text) in self.names.iter().zip([time, stream, tag, message]) {
            cursor.push(*name, text);
        }
        Ok(())
    }
}

/// `{"log":"...\n","stream":"stdout","time":"..."}`, as the json-file driver of Docker writes it.
#[derive(Clone, Debug)]
pub(in super::super) struct Docker {
    log: Name,
    message: Name,
}

impl Docker {
    pub(super) fn new(fields: &mut Fields) -> Self {
        Self { log: fields.intern("log"), message: fields.intern("message") }
    }

    /// As `json`, equal names not yet merged; `log` is renamed and loses its line end.
    pub(super) fn parse(&self, line: &[u8], fields: &mut Fields) -> Result<(), Mismatch> {
        let old = fields.len();
        json::parse(line, fields)?;
        let mut found = false;
        for at in old..fields.len() {
            let field = fields.at(at);
            if !fields.is_same(line, field.name, self.log) {
                continue;
            }
            let Value::Json(text) = field.value else { continue };
            let [b'"', inside @ .., b'"'] = fields.bytes(line, text) else { continue };
            found = true;
            let (len, kept) = (inside.len(), without_escaped_newline(inside).len());
            let value = if kept < len { fields.concat(line, b"", text.part(0, 1 + kept), b"\"") } else { text };
            fields.put_at(at, self.message, Value::Json(value));
        }
        if found { Ok(()) } else { Err(Mismatch::Expected { what: "a text `log`", at: line.len() }) }
    }
}

/// The inside of a JSON string without one `\n` or `\r\n`, escaped, at its end.
fn without_escaped_newline(inside: &[u8]) -> &[u8] {
    let end = |text: &[u8]| text.iter().rev().take_while(|byte| **byte == b'\\').count() % 2 == 0;
    let strip = |text, suffix| <[u8]>::strip_suffix(text, suffix).filter(|text| end(text));
    let Some(line) = strip(inside, br"\n") else { return inside };
    strip(line, br"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::super::{Format, testing::check};

    fn cri(line: &str, expected: &str) {
        check(Format::Cri, line, expected);
    }

    fn docker(line: &str, expected: &str) {
        check(Format::Docker, line, expected);
    }

    const TIME: &str = "2016-10-06T00:17:09.669794202Z";

    #[test]
    fn lines_of_container_runtimes() {
        cri(&format!("{TIME} stdout F hello  x"), &format!("time={TIME}|stream=stdout|logtag=F|message=hello  x"));
        cri(&format!("{TIME} stderr P:x part"), &format!("time={TIME}|stream=stderr|logtag=P:x|message=part"));
        cri(&format!("{TIME} stderr F "), &format!("time={TIME}|stream=stderr|logtag=F|message="));
        cri(&format!("{TIME} stderr F"), &format!("time={TIME}|stream=stderr|logtag=F|message="));
    }

    #[test]
    fn what_is_no_such_line_says_where() {
        cri("hello", "expected a time like `2016-10-06T00:17:09.669794202Z` at byte 0");
        cri("2016-10-06T00:17:09Z", "expected a space after the time at byte 20");
        cri("2016-10-06T00:17:09Z stdin F x", "expected `stdout` or `stderr` at byte 21");
        cri("2016-10-06T00:17:09Z stdout x", "expected `F` or `P` at byte 28");
        cri("2016-10-06T00:17:09Z stdout", "expected a space after the stream at byte 27");
    }

    #[test]
    fn the_log_of_docker_is_a_message_without_its_line_end() {
        docker(
            r#"{"log":"a \"b\"\n","stream":"stderr","time":"2016"}"#,
            r#"message=`"a \"b\""`|stream=`"stderr"`|time=`"2016"`"#,
        );
        docker(r#"{"log":"a\r\n"}"#, r#"message=`"a"`"#);
        docker(r#"{"log":"a\\n"}"#, r#"message=`"a\\n"`"#);
        docker(r#"{"log":"a\\\n"}"#, r#"message=`"a\\"`"#);
        docker(r#"{"log":"\n"}"#, r#"message=`""`"#);
        docker(r#"{"log":"part","attrs":{"a":1}}"#, r#"message=`"part"`|attrs=`{"a":1}`"#);
        docker(r#"{"log":"a\n","log":"b\n"}"#, r#"message=`"b"`"#);
    }

    #[test]
    fn an_object_without_a_log_is_none_of_docker() {
        docker(r#"{"message":"a"}"#, "expected a text `log` at byte 15");
        docker(r#"{"log":1}"#, "expected a text `log` at byte 9");
        docker("x", "expected `{` of an object at byte 0");
    }
}
