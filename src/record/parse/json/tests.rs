//! What counts as a JSON object, and how it is read.

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
