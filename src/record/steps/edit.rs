//! Rewrites text where it stands: in the line, in a field, in all fields. Knows which values hold text, not why it is
//! rewritten. Invariant: a string is rewritten as what it means, never as how it is escaped; JSON stays valid.

use super::{
    super::{
        fields::{Fields, Name, Value},
        json::{self, Kind},
        regex::{GivenUp, Groups, Regex},
        text,
    },
    redact::{Redact, With},
    single_line::SingleLine,
};

/// A step that rewrites text.
#[derive(Clone, Debug)]
pub(in super::super) struct Edit {
    target: Target,
    how: How,
    buffers: Buffers,
}

/// What is rewritten.
#[derive(Clone, Copy, Debug)]
enum Target {
    Line,
    Field(Name),
    /// Every text and number, in nested values too.
    Fields,
}

#[derive(Clone, Debug)]
enum How {
    SingleLine(SingleLine),
    Whole(With),
    Matches { pattern: Regex, groups: Groups, with: With },
}

#[derive(Clone, Debug, Default)]
struct Buffers {
    /// A text as it means.
    found: Vec<u8>,
    /// What becomes of it.
    made: Vec<u8>,
    /// A nested value with what became of its texts.
    nested: Vec<u8>,
}

impl Edit {
    /// A step that works on the line unless something `made_fields` of it.
    pub(in super::super) fn single_line(single_line: SingleLine, made_fields: bool) -> Self {
        Self::new(everywhere(made_fields), How::SingleLine(single_line))
    }

    /// A step that, where it names no field, works on the line unless something `made_fields` of it.
    pub(in super::super) fn redact(redact: Redact, made_fields: bool, fields: &mut Fields) -> Self {
        match redact {
            Redact::Field { field, with } => Self::new(Target::Field(fields.intern(&field)), How::Whole(with)),
            Redact::Matches { field, pattern, with } => {
                let target = field.map_or(everywhere(made_fields), |field| Target::Field(fields.intern(&field)));
                Self::new(target, How::Matches { groups: pattern.groups(), pattern, with })
            }
        }
    }

    fn new(target: Target, how: How) -> Self {
        Self { target, how, buffers: Buffers::default() }
    }

    /// Rewrites what the target says. True: `new_line` holds what is to take the line's place.
    pub(in super::super) fn run(
        &mut self,
        line: &[u8],
        fields: &mut Fields,
        new_line: &mut Vec<u8>,
    ) -> Result<bool, GivenUp> {
        match self.target {
            Target::Line => {
                new_line.clear();
                return self.how.apply(line, new_line);
            }
            Target::Field(name) => {
                if let Some(at) = fields.find(line, name) {
                    self.field(line, fields, at)?;
                }
            }
            Target::Fields => {
                for at in 0..fields.len() {
                    self.field(line, fields, at)?;
                }
            }
        }
        Ok(false)
    }

    fn field(&mut self, line: &[u8], fields: &mut Fields, at: usize) -> Result<(), GivenUp> {
        let Self { how, buffers: Buffers { found, made, nested }, target } = self;
        let value = fields.value(at);
        let json = match value {
            Value::Null => return Ok(()),
            Value::Text(_) => None,
            Value::Json(json) => Some(fields.bytes(line, json)),
        };
        made.clear();
        match json {
            Some(json @ [b'{' | b'[', ..]) if !matches!(how, How::Whole(_)) => {
                nested.clear();
                if nest(how, json, found, made, nested)? {
                    let text = fields.compose(|out| out.extend_from_slice(nested));
                    fields.replace(at, Value::Json(text));
                }
            }
            Some(b"true" | b"false") if matches!(target, Target::Fields) => {}
            _ => {
                let text = fields.text(line, value, found).unwrap_or_default();
                if how.apply(text, made)? {
                    let text = fields.compose(|out| out.extend_from_slice(made));
                    fields.replace(at, Value::Text(text));
                }
            }
        }
        Ok(())
    }
}

fn everywhere(made_fields: bool) -> Target {
    if made_fields { Target::Fields } else { Target::Line }
}

/// Appends `json` to `out` with its strings, names aside, and its numbers rewritten; false, and nothing, if none changes.
fn nest(
    how: &mut How,
    json: &[u8],
    found: &mut Vec<u8>,
    made: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<bool, GivenUp> {
    let (mut copied, mut any) = (0, false);
    let mut tokens = json::tokens(json).peekable();
    while let Some(token) = tokens.next() {
        let is_name = tokens.peek().is_some_and(|next| next.kind == Kind::Colon);
        let text = match (token.kind, &json[token.start..token.end]) {
            (Kind::Text, [b'"', inside @ .., b'"']) if !is_name => {
                found.clear();
                text::push_unescaped(inside, found);
                &found[..]
            }
            (Kind::Plain, number @ [b'-' | b'0'..=b'9', ..]) => number,
            _ => continue,
        };
        made.clear();
        if how.apply(text, made)? {
            out.extend_from_slice(&json[copied..token.start]);
            text::push_json_string(made, out);
            (copied, any) = (token.end, true);
        }
    }
    if any {
        out.extend_from_slice(&json[copied..]);
    }
    Ok(any)
}

impl How {
    /// Appends what becomes of `text`; false, and nothing that counts, if it stays as it is.
    fn apply(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<bool, GivenUp> {
        match self {
            Self::SingleLine(single_line) => Ok(single_line.apply(text, out)),
            Self::Whole(with) => {
                with.push_whole(text, out);
                Ok(true)
            }
            Self::Matches { pattern, groups, with } => with.push_replaced(pattern, groups, text, out),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value as Json;

    use super::*;
    use crate::record::{
        fields::Text,
        steps::{Key, Replacement},
    };

    fn brackets(pattern: &str, field: Option<&str>) -> Redact {
        let pattern = Regex::new(pattern).expect("a pattern");
        let with = With::Text(Replacement::new("<$0>", &pattern).expect("group 0 is there"));
        Redact::Matches { field: field.map(str::to_owned), pattern, with }
    }

    /// Runs a step over one field `f`, with this JSON, and gives what it is then.
    fn edited(json: &str, edit: impl FnOnce(&mut Fields) -> Edit) -> String {
        let mut fields = Fields::default();
        let mut edit = edit(&mut fields);
        let name = fields.intern("f");
        let value = if json == "null" { Value::Null } else { Value::Json(Text::line(0, json.len())) };
        fields.push(name, value);
        assert_eq!(edit.run(json.as_bytes(), &mut fields, &mut Vec::new()), Ok(false));
        let mut out = Vec::new();
        fields.push_json(json.as_bytes(), fields.value(0), &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[track_caller]
    fn check(pattern: &str, json: &str, everywhere: &str, in_the_field: &str) {
        assert_eq!(edited(json, |fields| Edit::redact(brackets(pattern, None), true, fields)), everywhere);
        assert_eq!(edited(json, |fields| Edit::redact(brackets(pattern, Some("f")), true, fields)), in_the_field);
    }

    #[test]
    fn strings_are_rewritten_as_what_they_mean() {
        check("é\n", r#""a\u00e9\n\"""#, r#""a<é\n>\"""#, r#""a<é\n>\"""#);
        check("u00", r#""a\u00e9\/""#, r#""a\u00e9\/""#, r#""a\u00e9\/""#);
    }

    #[test]
    fn numbers_become_text_and_words_are_left_alone_unless_named() {
        check("4{3}", "1444.50", r#""1<444>.50""#, r#""1<444>.50""#);
        check("5", "1444.0", "1444.0", "1444.0");
        check("true", "true", "true", r#""<true>""#);
        check(".*", "null", "null", "null");
    }

    #[test]
    fn nested_values_keep_their_form_and_their_names() {
        let json = r#"{ "x1": [ 1, "1", true, {"\u0031": "a\t1"} ], "": null }"#;
        let expected = r#"{ "x1": [ "<1>", "<1>", true, {"\u0031": "a\t<1>"} ], "": null }"#;
        check("1", json, expected, expected);
        check("7", json, json, json);
    }

    #[test]
    fn a_field_is_replaced_as_a_whole_whatever_it_is() {
        let hide = |fields: &mut Fields| {
            let with = With::Text(Replacement::literal("$0".to_owned()));
            Edit::redact(Redact::Field { field: "f".to_owned(), with }, true, fields)
        };
        for json in [r#""a""#, "1", "false", r#"{"a":[1]}"#, "[]"] {
            assert_eq!(edited(json, hide), r#""$0""#);
        }
        assert_eq!(edited("null", hide), "null");
    }

    #[test]
    fn equal_texts_have_equal_hashes_however_they_are_escaped() {
        let hash = |json| {
            edited(json, |fields| {
                let with = With::Hash(Key::new(b"secret"));
                Edit::redact(Redact::Field { field: "f".to_owned(), with }, true, fields)
            })
        };
        assert_eq!(hash(r#""h\u00e9""#), hash(r#""hé""#));
        assert_ne!(hash(r#""a""#), hash(r#""b""#));
    }

    #[test]
    fn lines_within_texts_are_joined() {
        let join = |_: &mut Fields| Edit::single_line(SingleLine::default(), true);
        assert_eq!(edited(r#""boom\n\tat x""#, join), r#""boom at x""#);
        assert_eq!(edited(r#"{"s":["a\r\n b"," c "]}"#, join), r#"{"s":["a b"," c "]}"#);
    }

    /// What becomes of a value where every `a` is put in brackets.
    fn model(value: &mut Json) {
        match value {
            Json::String(text) => *text = text.replace('a', "<a>"),
            Json::Array(list) => list.iter_mut().for_each(model),
            Json::Object(map) => map.values_mut().for_each(model),
            Json::Null | Json::Bool(_) | Json::Number(_) => {}
        }
    }

    fn texts() -> impl Strategy<Value = String> + Clone {
        prop_oneof![any::<String>(), r#"[ab\\"{},:\[\]\n]{0,6}"#]
    }

    fn values() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(Json::Null),
            any::<bool>().prop_map(Into::into),
            any::<i32>().prop_map(Into::into),
            texts().prop_map(Into::into)
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::btree_map(texts(), inner, 0..4)
                    .prop_map(|map| Json::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn every_string_of_a_value_is_rewritten_and_nothing_else(value in values()) {
            let found = edited(&value.to_string(), |fields| Edit::redact(brackets("a", None), true, fields));
            let mut expected = value;
            model(&mut expected);
            prop_assert_eq!(serde_json::from_str::<Json>(&found).expect("JSON"), expected);
        }
    }
}
