//! `logfmt` and `key_value`: names with their values. Knows no particular name. Invariant: a line without any name that has a
//! value is no match, so that prose is not taken for names.

use memchr::memmem::Finder;

use super::{
    super::{
        fields::{Fields, MAX_FIELDS, Name, Text, Value},
        text,
    },
    Mismatch,
    cursor::Cursor,
};

/// How `key_value` tells names and values apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Between pairs; 1 to 16 bytes. Default a space.
    pub field_delimiter: String,
    /// Between a name and its value; 1 to 16 bytes, none of them the other's. Default `=`.
    pub value_delimiter: String,
    /// Whether blanks around names and values are left out. Default: yes.
    pub trim: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { field_delimiter: " ".to_owned(), value_delimiter: "=".to_owned(), trim: true }
    }
}

const NO_PAIR: &str = "a name with a value";

/// `name=value name="va\"lue" name`.
#[derive(Clone, Debug)]
pub(in super::super) struct Logfmt {
    yes: Text,
}

impl Logfmt {
    pub(super) fn new(fields: &mut Fields) -> Self {
        Self { yes: fields.constant("true") }
    }

    pub(super) fn parse(&self, line: &[u8], fields: &mut Fields) -> Result<(), Mismatch> {
        let most = fields.len() + MAX_FIELDS;
        let mut cursor = Cursor::new(line, fields);
        let mut pairs = false;
        loop {
            cursor.at += run(cursor.rest(), is_blank);
            if cursor.at == line.len() {
                return if pairs { Ok(()) } else { cursor.fail(NO_PAIR) };
            }
            if cursor.fields.len() == most {
                return Err(Mismatch::Fields { at: cursor.at });
            }
            let key = run(cursor.rest(), |byte| byte > b' ' && byte != b'=' && byte != b'"');
            if key == 0 {
                return cursor.fail("a name");
            }
            let name = cursor.fields.plain_name(&cursor.line[cursor.at..cursor.at + key]);
            cursor.at += key;
            let value = match cursor.peek() {
                Some(b'=') => {
                    pairs = true;
                    cursor.at += 1;
                    Value::Text(logfmt_value(&mut cursor)?)
                }
                None => Value::Json(self.yes),
                Some(byte) if is_blank(byte) => Value::Json(self.yes),
                Some(_) => return cursor.fail("`=` after the name"),
            };
            cursor.fields.push(name, value);
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// How many bytes are such, from the first on.
fn run(bytes: &[u8], is_such: impl Fn(u8) -> bool) -> usize {
    bytes.iter().position(|&byte| !is_such(byte)).unwrap_or(bytes.len())
}

fn logfmt_value(cursor: &mut Cursor<'_>) -> Result<Text, Mismatch> {
    if cursor.peek() != Some(b'"') {
        let len = run(cursor.rest(), |byte| !is_blank(byte));
        return Ok(cursor.take(len));
    }
    let value = quoted(cursor)?;
    match cursor.peek() {
        Some(byte) if !is_blank(byte) => cursor.fail("a space or the end after the quote"),
        _ => Ok(value),
    }
}

/// What stands between quotes, where escapes mean what they mean in JSON; the cursor is on the first quote.
fn quoted(cursor: &mut Cursor<'_>) -> Result<Text, Mismatch> {
    cursor.at += 1;
    let start = cursor.at;
    let mut escapes = false;
    while let Some(len) = memchr::memchr2(b'"', b'\\', cursor.rest()) {
        cursor.at += len;
        if cursor.line[cursor.at] == b'"' {
            let inside = Text::line(start, cursor.at);
            let bytes = &cursor.line[start..cursor.at];
            cursor.at += 1;
            return Ok(if escapes { cursor.fields.compose(|out| text::push_unescaped(bytes, out)) } else { inside });
        }
        escapes = true;
        cursor.at = cursor.line.len().min(cursor.at + 2);
    }
    cursor.fail_at("`\"` that ends the value", cursor.line.len())
}

/// `name=value name=value`, with any delimiters.
#[derive(Clone, Debug)]
pub(in super::super) struct KeyValue {
    between_fields: Finder<'static>,
    before_value: Finder<'static>,
    trim: bool,
    yes: Text,
}

impl KeyValue {
    pub(super) fn new(options: &Options, fields: &mut Fields) -> Self {
        Self {
            between_fields: Finder::new(&options.field_delimiter).into_owned(),
            before_value: Finder::new(&options.value_delimiter).into_owned(),
            trim: options.trim,
            yes: fields.constant("true"),
        }
    }

    pub(super) fn parse(&self, line: &[u8], fields: &mut Fields) -> Result<(), Mismatch> {
        let most = fields.len() + MAX_FIELDS;
        let mut cursor = Cursor::new(line, fields);
        let mut pairs = false;
        while cursor.at < line.len() {
            let len = self.between_fields.find(cursor.rest()).unwrap_or(cursor.rest().len());
            let field = &cursor.rest()[..len];
            if (if self.trim { field.trim_ascii() } else { field }).is_empty() {
                self.next_field(&mut cursor, len);
                continue;
            }
            if cursor.fields.len() == most {
                return Err(Mismatch::Fields { at: cursor.at });
            }
            let Some(key) = self.before_value.find(field) else {
                let name = self.name(&mut cursor, len)?;
                cursor.fields.push(name, Value::Json(self.yes));
                self.next_field(&mut cursor, len);
                continue;
            };
            pairs = true;
            let name = self.name(&mut cursor, key)?;
            let before = key + self.before_value.needle().len();
            cursor.at += before;
            let value = self.value(&mut cursor, len - before)?;
            cursor.fields.push(name, Value::Text(value));
        }
        if pairs { Ok(()) } else { cursor.fail(NO_PAIR) }
    }

    fn next_field(&self, cursor: &mut Cursor<'_>, len: usize) {
        cursor.at = cursor.line.len().min(cursor.at + len + self.between_fields.needle().len());
    }

    /// The name that the next `len` bytes are; the cursor stays.
    fn name(&self, cursor: &mut Cursor<'_>, len: usize) -> Result<Name, Mismatch> {
        let key = &cursor.rest()[..len];
        let key = if self.trim { key.trim_ascii() } else { key };
        if key.is_empty() { cursor.fail("a name") } else { Ok(cursor.fields.plain_name(key)) }
    }

    /// The value that begins here and, unless it is quoted, takes `len` bytes; passes the delimiter after it.
    fn value(&self, cursor: &mut Cursor<'_>, len: usize) -> Result<Text, Mismatch> {
        let written = &cursor.rest()[..len];
        let blanks = if self.trim { len - written.trim_ascii_start().len() } else { 0 };
        if written.get(blanks) != Some(&b'"') {
            let value = if self.trim { written.trim_ascii() } else { written };
            let start = cursor.at + if value.is_empty() { 0 } else { blanks };
            let text = Text::line(start, start + value.len());
            self.next_field(cursor, len);
            return Ok(text);
        }
        cursor.at += blanks;
        let value = quoted(cursor)?;
        loop {
            if cursor.at == cursor.line.len() || cursor.pass(self.between_fields.needle()) {
                return Ok(value);
            }
            match cursor.peek() {
                Some(byte) if self.trim && byte.is_ascii_whitespace() => cursor.at += 1,
                _ => return cursor.fail("a delimiter or the end after the quote"),
            }
        }
    }
}
