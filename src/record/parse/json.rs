//! `json`: the members of an object, each value as the text that stands in the line. Knows the grammar of RFC 8259, not what
//! numbers mean. Invariant: a line that is accepted is one valid JSON object in UTF-8, to its last byte.

use super::{
    super::{
        fields::{Fields, MAX_FIELDS, Text, Value},
        text,
    },
    Mismatch,
};

/// Objects and arrays within each other, the outermost counted.
pub(super) const MAX_DEPTH: u32 = 128;

/// Adds the members of the object that `line` is, equal names not yet merged.
pub(super) fn parse(line: &[u8], fields: &mut Fields) -> Result<(), Mismatch> {
    std::str::from_utf8(line).map_err(|error| Mismatch::Utf8 { at: error.valid_up_to() })?;
    let mut scanner = Scanner { line, at: 0 };
    let most = fields.len() + MAX_FIELDS;
    scanner.space();
    scanner.expect(b'{', "`{` of an object")?;
    scanner.space();
    let mut more = scanner.peek() != Some(b'}');
    while more {
        if fields.len() == most {
            return Err(Mismatch::Fields { at: scanner.at });
        }
        member(&mut scanner, fields)?;
        more = scanner.another(b'}', "`,` or `}`")?;
    }
    scanner.at += 1;
    scanner.space();
    if scanner.peek().is_some() { scanner.expected("the end") } else { Ok(()) }
}

fn member(scanner: &mut Scanner<'_>, fields: &mut Fields) -> Result<(), Mismatch> {
    let line = scanner.line;
    let start = scanner.at;
    let has_escapes = scanner.name()?;
    let end = scanner.at;
    scanner.colon()?;
    let name = fields.json_name(line, start, end, has_escapes);

    let start = scanner.at;
    let value = match scanner.peek() {
        Some(b'n') => {
            scanner.literal("null")?;
            Value::Null
        }
        Some(b'{' | b'[') => {
            scanner.nested()?;
            let text = &line[start..scanner.at];
            Value::Json(if memchr::memchr2(b'\n', b'\r', text).is_some() {
                fields.compose(|out| push_compact(text, out))
            } else {
                Text::line(start, scanner.at)
            })
        }
        _ => {
            scanner.scalar()?;
            Value::Json(Text::line(start, scanner.at))
        }
    };
    fields.push(name, value);
    Ok(())
}

/// Appends valid JSON without the space between its tokens.
fn push_compact(json: &[u8], out: &mut Vec<u8>) {
    let (mut in_string, mut escaped) = (false, false);
    for &byte in json {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if is_space(byte) {
            continue;
        } else {
            in_string = byte == b'"';
        }
        out.push(byte);
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Reads tokens off a line that is valid UTF-8. `at` is the next byte to read.
struct Scanner<'a> {
    line: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    fn expected<T>(&self, what: &'static str) -> Result<T, Mismatch> {
        Err(Mismatch::Expected { what, at: self.at })
    }

    fn space(&mut self) {
        while self.peek().is_some_and(is_space) {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Mismatch> {
        if self.peek() != Some(byte) {
            return self.expected(what);
        }
        self.at += 1;
        Ok(())
    }

    /// A member's name; true if it has escapes.
    fn name(&mut self) -> Result<bool, Mismatch> {
        if self.peek() == Some(b'"') { self.string() } else { self.expected("a name in quotes") }
    }

    /// What stands between a name and its value.
    fn colon(&mut self) -> Result<(), Mismatch> {
        self.space();
        self.expect(b':', "`:` after the name")?;
        self.space();
        Ok(())
    }

    /// After a value: true with `at` on the next member or element, or false with `at` on `close`.
    fn another(&mut self, close: u8, what: &'static str) -> Result<bool, Mismatch> {
        self.space();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.space();
                Ok(true)
            }
            Some(byte) if byte == close => Ok(false),
            _ => self.expected(what),
        }
    }

    fn literal(&mut self, literal: &'static str) -> Result<(), Mismatch> {
        if !self.line[self.at..].starts_with(literal.as_bytes()) {
            return self.expected(literal);
        }
        self.at += literal.len();
        Ok(())
    }

    fn scalar(&mut self) -> Result<(), Mismatch> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal("true"),
            Some(b'f') => self.literal("false"),
            Some(b'n') => self.literal("null"),
            _ => self.expected("a value"),
        }
    }

    /// A string, `at` on its first quote; true if it has escapes.
    fn string(&mut self) -> Result<bool, Mismatch> {
        let mut has_escapes = false;
        self.at += 1;
        loop {
            self.at = text::find_special(self.line, self.at);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(has_escapes);
                }
                Some(b'\\') => {
                    self.escape()?;
                    has_escapes = true;
                }
                Some(_) => return self.expected("no control character in a string"),
                None => return self.expected("`\"` that ends the string"),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Mismatch> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let digits = self.line.get(self.at + 1..self.at + 5);
                if !digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit)) {
                    return self.expected("`u` and four hexadecimal digits");
                }
                self.at += 5;
            }
            _ => return self.expected("an escape"),
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Mismatch> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Mismatch> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { self.expected("a digit") } else { Ok(()) }
    }

    /// An object or array inside the outermost object, with all it holds.
    fn nested(&mut self) -> Result<(), Mismatch> {
        let mut open = Nest::default();
        loop {
            // A value begins here.
            if let Some(bracket @ (b'{' | b'[')) = self.peek() {
                open.push(bracket == b'{').ok_or(Mismatch::Depth { at: self.at })?;
                self.at += 1;
                self.space();
                if self.peek() != Some(open.close()) {
                    self.begin(&open)?;
                    continue;
                }
                self.at += 1;
                open.pop();
            } else {
                self.scalar()?;
            }
            // A value ended here, and with it what held nothing more.
            loop {
                if open.depth == 0 {
                    return Ok(());
                }
                let what = if open.is_object() { "`,` or `}`" } else { "`,` or `]`" };
                if self.another(open.close(), what)? {
                    self.begin(&open)?;
                    break;
                }
                self.at += 1;
                open.pop();
            }
        }
    }

    /// What stands before the next value of the innermost object or array: in an object, its name.
    fn begin(&mut self, open: &Nest) -> Result<(), Mismatch> {
        if open.is_object() {
            self.name()?;
            self.colon()?;
        }
        Ok(())
    }
}

/// The objects and arrays that are open inside the outermost object: a bit each, the innermost lowest, 1 for an object.
#[derive(Default)]
struct Nest {
    objects: u128,
    depth: u32,
}

impl Nest {
    /// Opens an object or array; none if that is too deep.
    fn push(&mut self, object: bool) -> Option<()> {
        // The outermost object is not in here.
        if self.depth + 1 == MAX_DEPTH {
            return None;
        }
        self.objects = self.objects << 1 | u128::from(object);
        self.depth += 1;
        Some(())
    }

    fn pop(&mut self) {
        self.objects >>= 1;
        self.depth -= 1;
    }

    fn is_object(&self) -> bool {
        self.objects & 1 == 1
    }

    fn close(&self) -> u8 {
        if self.is_object() { b'}' } else { b']' }
    }
}

#[cfg(test)]
mod tests;
