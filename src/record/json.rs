//! Valid JSON, token by token. Knows no grammar: what it is given was found valid before. Invariant: the tokens do not overlap,
//! and only space stands between them.

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// `{` or `[`.
    Open,
    /// `}` or `]`.
    Close,
    Comma,
    Colon,
    /// A string, its quotes included.
    Text,
    /// A number, `true`, `false` or `null`.
    Plain,
}

/// The bytes `[start, end)` of the JSON.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// The tokens of valid JSON, in order.
pub(super) fn tokens(json: &[u8]) -> impl Iterator<Item = Token> {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += json[at..].iter().position(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r'))?;
        let start = at;
        let (kind, len) = match json[start] {
            b'{' | b'[' => (Kind::Open, 1),
            b'}' | b']' => (Kind::Close, 1),
            b',' => (Kind::Comma, 1),
            b':' => (Kind::Colon, 1),
            b'"' => (Kind::Text, string(&json[start..])),
            _ => (Kind::Plain, plain(&json[start..])),
        };
        at += len;
        Some(Token { kind, start, end: at })
    })
}

/// Length of the string that `json` begins with.
fn string(json: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', &json[at.min(json.len())..]) {
        at += found + 1;
        if json[at - 1] == b'"' {
            return at;
        }
        at += 1;
    }
    json.len()
}

fn plain(json: &[u8]) -> usize {
    json.iter().position(|byte| b" \t\n\r,:[]{}\"".contains(byte)).unwrap_or(json.len()).max(1)
}

/// Appends valid JSON as people like to read it: each member and element on a line of its own, indented by two spaces a
/// level, beginning at `level`. The text of its values stays.
pub(super) fn push_pretty(json: &[u8], mut level: usize, out: &mut Vec<u8>) {
    let mut opened = false;
    for token in tokens(json) {
        match token.kind {
            Kind::Close => {
                level -= 1;
                if !opened {
                    push_line(level, out);
                }
            }
            _ if opened => push_line(level, out),
            _ => {}
        }
        opened = token.kind == Kind::Open;
        out.extend_from_slice(&json[token.start..token.end]);
        match token.kind {
            Kind::Open => level += 1,
            Kind::Comma => push_line(level, out),
            Kind::Colon => out.push(b' '),
            Kind::Close | Kind::Text | Kind::Plain => {}
        }
    }
}

/// A line end, and the indentation of the next line.
pub(super) fn push_line(level: usize, out: &mut Vec<u8>) {
    out.push(b'\n');
    for _ in 0..level {
        out.extend_from_slice(b"  ");
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(json: &str) -> Vec<&str> {
        tokens(json.as_bytes()).map(|token| &json[token.start..token.end]).collect()
    }

    #[test]
    fn tokens_are_what_stands_between_space() {
        let json = r#" { "a\\" : [ 1.10, true ,"x\"]" ] , "b":{} } "#;
        let expected =
            ["{", r#""a\\""#, ":", "[", "1.10", ",", "true", ",", r#""x\"]""#, "]", ",", r#""b""#, ":", "{", "}", "}"];
        assert_eq!(split(json), expected);
        assert_eq!(split("-0e+9"), ["-0e+9"]);
        assert_eq!(split(" "), [""; 0]);
    }

    fn values() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
            r#"[\\"{},:\[\] a]{0,6}"#.prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn pretty_is_what_serde_json_calls_pretty(value in values()) {
            let mut out = Vec::new();
            push_pretty(value.to_string().as_bytes(), 0, &mut out);
            prop_assert_eq!(String::from_utf8(out).expect("UTF-8"), serde_json::to_string_pretty(&value).expect("JSON"));
        }

        #[test]
        fn no_bytes_make_the_tokens_panic(json in prop::collection::vec(prop_oneof![Just(b'"'), Just(b'\\'), Just(b'{'), any::<u8>()], 0..40)) {
            let mut end = 0;
            for token in tokens(&json) {
                prop_assert!(token.start >= end && token.end > token.start && token.end <= json.len());
                end = token.end;
            }
        }
    }
}
