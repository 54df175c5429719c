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
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `serde_json` accepts, be the depth what it may.
    fn is_object(line: &[u8]) -> bool {
        std::str::from_utf8(line).is_ok()
            && line.trim_ascii_start().starts_with(b"{")
            && serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok()
    }

    fn accepts(line: &[u8]) -> bool {
        parse(line, &mut Fields::default()).is_ok()
    }

    /// Parses `line` and compares its members, as `name=value` joined by spaces, or why it is none, with `expected`.
    #[track_caller]
    fn check(line: &str, expected: &str) {
        let mut fields = Fields::default();
        let result = parse(line.as_bytes(), &mut fields);
        let text = |text| std::str::from_utf8(fields.bytes(line.as_bytes(), text)).expect("UTF-8").to_owned();
        let value = |value| match value {
            Value::Null => "NULL".to_owned(),
            Value::Json(json) => text(json),
            Value::Text(_) => panic!("no plain text in JSON"),
        };
        let found = match result {
            Ok(()) => {
                let members = fields.iter().map(|field| format!("{}={}", text(field.name.text), value(field.value)));
                members.collect::<Vec<_>>().join(" ")
            }
            Err(mismatch) => mismatch.to_string(),
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn values_keep_their_text() {
        check("{}", "");
        check(" { \"a\" : 1.10 ,\"b\":-0e+9\t} ", r#""a"=1.10 "b"=-0e+9"#);
        check(
            r#"{"n":12345678901234567890123,"t":true,"f":false,"z":null}"#,
            r#""n"=12345678901234567890123 "t"=true "f"=false "z"=NULL"#,
        );
        check(
            r#"{"s":"\u00e9\/\ud800","o":{ "x" : [1, {}] },"e":[ ]}"#,
            r#""s"="\u00e9\/\ud800" "o"={ "x" : [1, {}] } "e"=[ ]"#,
        );
    }

    #[test]
    fn names_are_canonical() {
        check(r#"{"\u0061\/":1,"\"":2}"#, r#""a/"=1 "\""=2"#);
    }

    #[test]
    fn a_nested_value_of_several_lines_is_written_on_one() {
        check("{\n  \"a\": {\n    \"b c\": [1,\r\n 2, \"x \\\" y\"]\n  }\n}", r#""a"={"b c":[1,2,"x \" y"]}"#);
    }

    #[test]
    fn what_is_not_an_object_says_where() {
        check("", "expected `{` of an object at byte 0");
        check("[1]", "expected `{` of an object at byte 0");
        check("plain text", "expected `{` of an object at byte 0");
        check("{", "expected a name in quotes at byte 1");
        check("{,", "expected a name in quotes at byte 1");
        check(r#"{"a"}"#, "expected `:` after the name at byte 4");
        check(r#"{"a":}"#, "expected a value at byte 5");
        check(r#"{"a":1,}"#, "expected a name in quotes at byte 7");
        check(r#"{"a":1"#, "expected `,` or `}` at byte 6");
        check(r#"{"a":[1}"#, "expected `,` or `]` at byte 7");
        check(r#"{"a":01}"#, "expected `,` or `}` at byte 6");
        check(r#"{"a":1.}"#, "expected a digit at byte 7");
        check(r#"{"a":nul}"#, "expected null at byte 5");
        check(r#"{"a":"b"#, "expected `\"` that ends the string at byte 7");
        check("{\"a\":\"\t\"}", "expected no control character in a string at byte 6");
        check(r#"{"a":"\x"}"#, "expected an escape at byte 7");
        check(r#"{"a":"\u12g4"}"#, "expected `u` and four hexadecimal digits at byte 7");
        check(r#"{"a":1} x"#, "expected the end at byte 8");
    }

    #[test]
    fn invalid_utf8_is_no_json() {
        assert_eq!(parse(b"{\"a\":\"\xff\"}", &mut Fields::default()), Err(Mismatch::Utf8 { at: 6 }));
    }

    #[test]
    fn objects_nest_to_the_bound_and_no_deeper() {
        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(accepts(nested(127).as_bytes()));
        check(&nested(128), "nested deeper than 128 levels at byte 132");
    }

    #[test]
    fn an_object_has_fields_to_the_bound_and_no_more() {
        let wide = |members: usize| format!("{{{}\"last\":0}}", "\"a\":1,".repeat(members - 1));
        assert!(accepts(wide(MAX_FIELDS).as_bytes()));
        check(&wide(MAX_FIELDS + 1), "more than 10000 fields at byte 60001");
    }

    /// Text made of pieces of JSON, so that it is often nearly right.
    fn nearly_json() -> impl Strategy<Value = Vec<u8>> {
        const PIECES: [&str; 34] = [
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\"",
            "\\",
            "\"a\"",
            "\"b\":",
            "{\"a\":",
            "\"\\u00e9\"",
            "\"\\ud800\"",
            "\"\\u00",
            "1",
            "0",
            "-",
            "-1.5",
            ".5",
            "e",
            "E+3",
            "1e",
            "true",
            "false",
            "null",
            "nul",
            " ",
            "\t",
            "\n",
            "\r",
            "\u{1}",
            "é",
            "[]",
            "{}",
        ];
        let piece = prop_oneof![
            20 => (0..PIECES.len()).prop_map(|at| PIECES[at].as_bytes().to_vec()),
            1 => any::<u8>().prop_map(|byte| vec![byte]),
        ];
        proptest::collection::vec(piece, 0..12)
            .prop_map(|pieces| [b"{\"k\":".to_vec(), pieces.concat(), b"}".to_vec()].concat())
    }

    /// A valid document with a byte put, changed or taken away.
    fn damaged_json() -> impl Strategy<Value = Vec<u8>> {
        (document(), any::<u8>(), any::<prop::sample::Index>(), 0..3u8).prop_map(|(mut text, byte, at, how)| {
            let at = at.index(text.len());
            match how {
                0 => text[at] = byte,
                1 => text.insert(at, byte),
                _ => drop(text.remove(at)),
            }
            text
        })
    }

    fn document() -> impl Strategy<Value = Vec<u8>> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        let value = leaf.prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                proptest::collection::hash_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        });
        let object = proptest::collection::hash_map(any::<String>(), value, 0..5)
            .prop_map(|map| serde_json::Value::Object(map.into_iter().collect()));
        (object, any::<bool>()).prop_map(|(object, pretty)| {
            if pretty { serde_json::to_vec_pretty(&object) } else { serde_json::to_vec(&object) }.expect("JSON")
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn the_same_documents_are_accepted_as_by_serde_json(
            line in prop_oneof![nearly_json(), damaged_json(), proptest::collection::vec(any::<u8>(), 0..40)],
        ) {
            prop_assert_eq!(accepts(&line), is_object(&line), "{}", String::from_utf8_lossy(&line));
        }

        #[test]
        fn members_mean_what_serde_json_says(line in document()) {
            let expected: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&line).expect("JSON");
            let mut fields = Fields::default();
            parse(&line, &mut fields).expect("an object");
            let json = |text| std::str::from_utf8(fields.bytes(&line, text)).expect("UTF-8");
            let mut found = serde_json::Map::new();
            for field in fields.iter() {
                let value = match field.value {
                    Value::Json(text) => serde_json::from_str(json(text)).expect("JSON"),
                    _ => serde_json::Value::Null,
                };
                found.insert(serde_json::from_str(json(field.name.text)).expect("a string"), value);
            }
            prop_assert_eq!(found, expected);
        }
    }
}
