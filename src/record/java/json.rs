//! JSON as the Java agent reads and writes it: values in their order, numbers as Java prints them. Knows no keys.
//! Invariant: reading ends with a value or says where it stopped; nothing it accepts is nested deeper than [`MAX_DEPTH`].

use super::super::text;

/// Deepest nesting, as in the library that the Java agent uses.
pub const MAX_DEPTH: usize = 1_000;

/// A value and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Offset of its first byte.
    pub at: usize,
    pub value: Value,
}

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    /// A whole number, its digits as written.
    Integer(String),
    /// Any other number. What is not finite is written as text.
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order first written; the last value of a name stands in its first place.
    Map(Vec<Member>),
}

/// A member of an object.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Offset of its name.
    pub at: usize,
    pub name: String,
    pub node: Node,
    /// The name was written more than once.
    pub repeated: bool,
}

/// What is allowed beyond JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// `//` and `/* */`, and `NaN`, `Infinity` and `-Infinity`, as in the Java agent's configuration.
    pub comments_and_infinity: bool,
}

/// Why text is no JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("expected {what} at byte {at}")]
pub struct Fault {
    pub what: &'static str,
    pub at: usize,
}

/// Reads the value that `text` begins with, and says where it ends; what follows is not looked at.
pub fn parse(text: &str, extras: Extras) -> Result<(Node, usize), Fault> {
    let mut reader = Reader { text: text.as_bytes(), at: 0, extras };
    let node = reader.value(0)?;
    Ok((node, reader.at))
}

/// Whether nothing but blanks, and comments where they are allowed, follows `at`.
pub fn is_end(text: &str, at: usize, extras: Extras) -> bool {
    let mut reader = Reader { text: text.as_bytes(), at, extras };
    reader.space().is_ok() && reader.at == text.len()
}

impl Value {
    /// The member of this name, if this is an object that has it.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Node> {
        let Self::Map(members) = self else { return None };
        members.iter().find(|member| member.name == name).map(|member| &member.node)
    }

    /// Sets a member of an object in its place, or appends it.
    pub fn set(members: &mut Vec<Member>, name: &str, value: Value) {
        let node = Node { at: 0, value };
        match members.iter_mut().find(|member| member.name == name) {
            Some(member) => member.node = node,
            None => members.push(Member { at: 0, name: name.to_owned(), node, repeated: false }),
        }
    }

    /// Appends the value, without blanks.
    pub fn push_compact(&self, out: &mut Vec<u8>) {
        self.push(out, None);
    }

    /// Appends the value, indented by two blanks a level, lists on one line.
    pub fn push_pretty(&self, out: &mut Vec<u8>) {
        self.push(out, Some(0));
    }

    fn push(&self, out: &mut Vec<u8>, indent: Option<usize>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Integer(digits) => out.extend_from_slice(digits.as_bytes()),
            Self::Float(number) if number.is_finite() => out.extend_from_slice(java_double(*number).as_bytes()),
            Self::Float(number) => push_string(java_double(*number).as_bytes(), out),
            Self::Text(text) => push_string(text.as_bytes(), out),
            Self::List(items) => push_list(items, out, indent),
            Self::Map(members) => {
                push_members(members.iter().map(|member| (&*member.name, &member.node.value)), out, indent);
            }
        }
    }
}

fn push_list(items: &[Node], out: &mut Vec<u8>, indent: Option<usize>) {
    let (open, comma, close): (&[u8], &[u8], &[u8]) =
        if indent.is_some() { (b"[ ", b", ", b" ]") } else { (b"[", b",", b"]") };
    out.extend_from_slice(if items.is_empty() { b"[" } else { open });
    for (at, item) in items.iter().enumerate() {
        if at > 0 {
            out.extend_from_slice(comma);
        }
        item.value.push(out, indent);
    }
    out.extend_from_slice(close);
}

/// Appends an object with these members; `indent` is that of the object itself, none for no blanks at all.
pub(super) fn push_members<'v>(
    members: impl Iterator<Item = (&'v str, &'v Value)>,
    out: &mut Vec<u8>,
    indent: Option<usize>,
) {
    let new_line = |out: &mut Vec<u8>, indent: usize| {
        out.push(b'\n');
        out.resize(out.len() + 2 * indent, b' ');
    };
    out.push(b'{');
    let mut first = true;
    for (name, value) in members {
        if !first {
            out.push(b',');
        }
        first = false;
        if let Some(indent) = indent {
            new_line(out, indent + 1);
        }
        push_string(name.as_bytes(), out);
        out.extend_from_slice(if indent.is_some() { b" : " } else { b":" });
        value.push(out, indent.map(|indent| indent + 1));
    }
    match indent {
        Some(_) if first => out.push(b' '),
        Some(indent) => new_line(out, indent),
        None => {}
    }
    out.push(b'}');
}

/// Appends text as a JSON string: control characters in upper-case hexadecimal digits.
pub(super) fn push_string(bytes: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    text::push_json_string(bytes, out);
    // Ours are in lower case; `\u00` is followed by two digits, and `\\` by another of its kind.
    let mut at = from;
    while let Some(found) = memchr::memchr(b'\\', &out[at..]) {
        at += found;
        if out[at + 1] == b'u' {
            out[at + 4..at + 6].make_ascii_uppercase();
        }
        at += 2;
    }
}

/// A number as Java's `Double.toString` writes it.
#[must_use]
pub fn java_double(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let size = number.abs();
    if size == 0.0 || (1e-3..1e7).contains(&size) {
        return format!("{number:?}");
    }
    let text = format!("{number:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let point = if mantissa.contains('.') { "" } else { ".0" };
    format!("{mantissa}{point}E{exponent}")
}

struct Reader<'t> {
    text: &'t [u8],
    at: usize,
    extras: Extras,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn expected<T>(&self, what: &'static str) -> Result<T, Fault> {
        Err(Fault { what, at: self.at })
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.text[self.at..].starts_with(word.as_bytes());
        if found {
            self.at += word.len();
        }
        found
    }

    /// Skips blanks, and comments where they are allowed.
    fn space(&mut self) -> Result<(), Fault> {
        loop {
            while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
                self.at += 1;
            }
            if !self.extras.comments_and_infinity {
                return Ok(());
            }
            let rest = &self.text[self.at..];
            if rest.starts_with(b"//") {
                self.at += memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            } else if rest.starts_with(b"/*") {
                match memchr::memmem::find(&rest[2..], b"*/") {
                    Some(end) => self.at += end + 4,
                    None => return self.expected("`*/` that ends the comment"),
                }
            } else {
                return Ok(());
            }
        }
    }

    fn value(&mut self, depth: usize) -> Result<Node, Fault> {
        self.space()?;
        let at = self.at;
        let value = match self.peek() {
            Some(b'{' | b'[') if depth == MAX_DEPTH => return self.expected("no deeper nesting"),
            Some(b'{') => self.map(depth)?,
            Some(b'[') => self.list(depth)?,
            Some(b'"') => Value::Text(self.string("a value")?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => self.word()?,
        };
        Ok(Node { at, value })
    }

    fn word(&mut self) -> Result<Value, Fault> {
        let words = [("null", Value::Null), ("true", Value::Bool(true)), ("false", Value::Bool(false))];
        let infinities = [("NaN", f64::NAN), ("Infinity", f64::INFINITY), ("+Infinity", f64::INFINITY)];
        for (word, value) in words {
            if self.take(word) {
                return Ok(value);
            }
        }
        for (word, value) in infinities {
            if self.extras.comments_and_infinity && self.take(word) {
                return Ok(Value::Float(value));
            }
        }
        self.expected("a value")
    }

    fn list(&mut self, depth: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut items = Vec::new();
        self.space()?;
        if self.take("]") {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space()?;
            if self.take("]") {
                return Ok(Value::List(items));
            }
            if !self.take(",") {
                return self.expected("`,` or `]`");
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Fault> {
        self.at += 1;
        let mut members: Vec<Member> = Vec::new();
        let mut places: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
        self.space()?;
        if self.take("}") {
            return Ok(Value::Map(members));
        }
        loop {
            self.space()?;
            let at = self.at;
            let name = self.string("a name in quotes")?;
            self.space()?;
            if !self.take(":") {
                return self.expected("`:` after the name");
            }
            let node = self.value(depth + 1)?;
            if let Some(&place) = places.get(&name) {
                members[place] = Member { node, repeated: true, ..members[place].clone() };
            } else {
                places.insert(name.clone(), members.len());
                members.push(Member { at, name, node, repeated: false });
            }
            self.space()?;
            if self.take("}") {
                return Ok(Value::Map(members));
            }
            if !self.take(",") {
                return self.expected("`,` or `}`");
            }
        }
    }

    fn number(&mut self) -> Result<Value, Fault> {
        let start = self.at;
        let negative = self.take("-");
        if negative && self.extras.comments_and_infinity && self.take("Infinity") {
            return Ok(Value::Float(f64::NEG_INFINITY));
        }
        if !self.take("0") {
            self.digits()?;
        } else if matches!(self.peek(), Some(b'0'..=b'9')) {
            return self.expected("no digit after a leading zero");
        }
        let mut whole = true;
        if self.take(".") {
            whole = false;
            self.digits()?;
        }
        if self.take("e") || self.take("E") {
            whole = false;
            let _ = self.take("+") || self.take("-");
            self.digits()?;
        }
        let text = std::str::from_utf8(&self.text[start..self.at]).expect("digits are ASCII");
        Ok(match text {
            "-0" => Value::Integer("0".to_owned()),
            _ if whole => Value::Integer(text.to_owned()),
            _ => Value::Float(text.parse().expect("the form of a number was checked")),
        })
    }

    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        if self.at == start { self.expected("a digit") } else { Ok(()) }
    }

    fn string(&mut self, what: &'static str) -> Result<String, Fault> {
        if !self.take("\"") {
            return self.expected(what);
        }
        let mut out = String::new();
        loop {
            let start = self.at;
            self.at = text::find_special(self.text, start);
            // Cut at ASCII bytes of what is UTF-8.
            out.push_str(std::str::from_utf8(&self.text[start..self.at]).expect("text between ASCII bytes"));
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => self.escape(&mut out)?,
                Some(_) => return self.expected("no control character in a string"),
                None => return self.expected("`\"` that ends the string"),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), Fault> {
        let c = match self.text.get(self.at + 1) {
            Some(b'b') => '\x08',
            Some(b't') => '\t',
            Some(b'n') => '\n',
            Some(b'f') => '\x0c',
            Some(b'r') => '\r',
            Some(&c @ (b'"' | b'\\' | b'/')) => char::from(c),
            Some(b'u') => return self.code_point(out),
            _ => return self.expected("an escape"),
        };
        self.at += 2;
        out.push(c);
        Ok(())
    }

    fn code_point(&mut self, out: &mut String) -> Result<(), Fault> {
        let Some(unit) = self.unit() else { return self.expected("`u` and four hexadecimal digits") };
        self.at += 6;
        let low = if (0xd800..0xdc00).contains(&unit) { self.unit() } else { None };
        match char::decode_utf16([unit].into_iter().chain(low)).next() {
            Some(Ok(c)) => {
                self.at += if c.len_utf16() == 2 { 6 } else { 0 };
                out.push(c);
            }
            // Java writes half of a pair as a question mark.
            _ => out.push('?'),
        }
        Ok(())
    }

    /// The unit of an escape `\uXXXX` here.
    fn unit(&self) -> Option<u16> {
        let digits = self.text.get(self.at..)?.strip_prefix(b"\\u")?.get(..4)?;
        let text = std::str::from_utf8(digits).ok()?;
        if text.starts_with('+') { None } else { u16::from_str_radix(text, 16).ok() }
    }
}

/// For messages: the line and column, both from 1, of an offset.
#[must_use]
pub fn place(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(at)];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = Vec::new();
        self.push_compact(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: Extras = Extras { comments_and_infinity: true };

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let found = match parse(text, CONFIG) {
            Ok((node, _)) => node.value.to_string(),
            Err(fault) => fault.to_string(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn numbers_are_printed_as_java_does() {
        check(
            "[1.10, 1e3, 0.001, 0.0001, 12345678901234567890, -0, -0.0, 1e7, 9999999.5, 1E-5]",
            "[1.1,1000.0,0.001,1.0E-4,12345678901234567890,0,-0.0,1.0E7,9999999.5,1.0E-5]",
        );
        check("[NaN, Infinity, -Infinity, 1e400]", r#"["NaN","Infinity","-Infinity","Infinity"]"#);
        assert!(parse("NaN", Extras::default()).is_err());
    }

    #[test]
    fn the_last_value_of_a_name_stands_in_its_first_place() {
        check(r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#);
    }

    #[test]
    fn strings_are_escaped_as_java_does() {
        check(r#""\u001f\u007F\/\ud83d\ude00\ud800x\\u001f""#, "\"\\u001F\u{7f}/😀?x\\\\u001f\"");
    }

    #[test]
    fn comments_are_skipped_where_they_are_allowed() {
        check("// x\n{ /* y */ \"a\" : // z\n 1 }", r#"{"a":1}"#);
        assert_eq!(parse("//\n1", Extras::default()), Err(Fault { what: "a value", at: 0 }));
        check("/* x", "expected `*/` that ends the comment at byte 0");
    }

    #[test]
    fn mistakes_say_where_they_are() {
        check("", "expected a value at byte 0");
        check("{\"a\" 1}", "expected `:` after the name at byte 5");
        check("[1 2]", "expected `,` or `]` at byte 3");
        check("01", "expected no digit after a leading zero at byte 1");
        check(&"[".repeat(1_001), "expected no deeper nesting at byte 1000");
        assert_eq!(place("a\nbé\n", 5), (2, 3));
    }

    #[test]
    fn pretty_is_indented_as_java_does() {
        let (node, end) = parse(r#"{"a":{"b":[1,{"c":2}]},"e":{},"l":[]} rest"#, Extras::default()).expect("JSON");
        let mut out = Vec::new();
        node.value.push_pretty(&mut out);
        let expected =
            "{\n  \"a\" : {\n    \"b\" : [ 1, {\n      \"c\" : 2\n    } ]\n  },\n  \"e\" : { },\n  \"l\" : [ ]\n}";
        assert_eq!(String::from_utf8_lossy(&out), expected);
        assert_eq!(end, 37);
    }
}
