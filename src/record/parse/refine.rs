//! What is done with the fields that a parser found: nulls, types, times. Knows no format. Invariant: a text that is not what
//! it is said to be stays text; nothing is lost by it.

use super::{
    super::{
        fields::{Fields, Name, Text, Value},
        pipeline::Context,
    },
    timestamp::{Timestamp, TimestampOptions},
};

/// What a field's text is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    /// A sign, if any, and digits.
    Int,
    /// A decimal number; neither infinite nor "not a number".
    Float,
    /// `true` or `false`, in any case.
    Bool,
}

/// What is done with the fields that a `parse` step found. Default: nothing.
#[derive(Clone, Debug, Default)]
pub struct Refine {
    /// Fields by name.
    pub types: Vec<(String, Type)>,
    pub timestamp: Option<Box<TimestampOptions>>,
    /// Texts that mean null.
    pub null_if: Vec<String>,
}

/// The same, made ready.
#[derive(Clone, Debug)]
pub(super) struct Refiner {
    types: Vec<(Name, Type)>,
    timestamp: Option<Timestamp>,
    null_if: Vec<String>,
    yes: Text,
    no: Text,
}

impl Refiner {
    pub(super) fn new(refine: Refine, fields: &mut Fields) -> Self {
        Self {
            types: refine.types.iter().map(|(name, kind)| (fields.intern(name), *kind)).collect(),
            timestamp: refine.timestamp.map(|options| Timestamp::new(*options, fields)),
            null_if: refine.null_if,
            yes: fields.constant("true"),
            no: fields.constant("false"),
        }
    }

    /// Refines the fields from index `old` on. A name that was found twice is refined twice.
    pub(super) fn apply(&self, context: &Context<'_>, line: &[u8], old: usize, fields: &mut Fields) {
        if !self.null_if.is_empty() {
            self.nulls(line, old, fields);
        }
        for (name, kind) in &self.types {
            for at in old..fields.len() {
                let field = fields.at(at);
                if fields.is_same(line, field.name, *name)
                    && let Some(value) = self.typed(line, field.value, *kind, fields)
                {
                    fields.put_at(at, field.name, value);
                }
            }
        }
        if let Some(timestamp) = &self.timestamp {
            timestamp.apply(context, line, old, fields);
        }
    }

    /// Whether a name may be there twice afterwards, although the parser finds each once.
    pub(super) fn may_repeat(&self) -> bool {
        self.timestamp.as_ref().is_some_and(Timestamp::adds)
    }

    fn nulls(&self, line: &[u8], old: usize, fields: &mut Fields) {
        for at in old..fields.len() {
            let field = fields.at(at);
            let Some(text) = text_of(line, field.value, fields) else { continue };
            let bytes = fields.bytes(line, text);
            if self.null_if.iter().any(|null| null.as_bytes() == bytes) {
                fields.put_at(at, field.name, Value::Null);
            }
        }
    }

    fn typed(&self, line: &[u8], value: Value, kind: Type, fields: &mut Fields) -> Option<Value> {
        let text = text_of(line, value, fields)?;
        let bytes = fields.bytes(line, text);
        let number = match kind {
            Type::Int => int(bytes)?,
            Type::Float => float(bytes)?,
            Type::Bool if bytes.eq_ignore_ascii_case(b"true") => return Some(Value::Json(self.yes)),
            Type::Bool if bytes.eq_ignore_ascii_case(b"false") => return Some(Value::Json(self.no)),
            Type::Bool => return None,
        };
        let digits = text.part(number.from, number.to);
        let plain = number.before.is_empty();
        Some(Value::Json(if plain { digits } else { fields.concat(line, number.before.as_bytes(), digits, b"") }))
    }
}

/// The text of a value that is one; a string of JSON only if nothing in it is escaped.
pub(super) fn text_of(line: &[u8], value: Value, fields: &Fields) -> Option<Text> {
    match value {
        Value::Text(text) => Some(text),
        Value::Json(json) => match fields.bytes(line, json) {
            [b'"', inside @ .., b'"'] if !inside.contains(&b'\\') => Some(json.part(1, 1 + inside.len())),
            _ => None,
        },
        Value::Null => None,
    }
}

/// A number as JSON writes it: `before`, and then what stands at `[from, to)` of the text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Number {
    before: &'static str,
    from: usize,
    to: usize,
}

fn digits(text: &[u8], from: usize) -> usize {
    text[from..].iter().position(|byte| !byte.is_ascii_digit()).map_or(text.len(), |len| from + len)
}

/// `12`, `+12`, `-012`: without the plus and the zeros that JSON does not allow.
fn int(text: &[u8]) -> Option<Number> {
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    if text.len() == sign || digits(text, sign) < text.len() {
        return None;
    }
    let zeros = text[sign..text.len() - 1].iter().take_while(|byte| **byte == b'0').count();
    let from = sign + zeros;
    let negative = text[0] == b'-' && text[from..] != *b"0";
    Some(match (negative, zeros) {
        (true, 0) => Number { before: "", from: 0, to: text.len() },
        (true, _) => Number { before: "-", from, to: text.len() },
        (false, _) => Number { before: "", from, to: text.len() },
    })
}

/// What JSON allows, and besides a plus, zeros before, and no digit before or after the point.
fn float(text: &[u8]) -> Option<Number> {
    let sign = usize::from(matches!(text.first(), Some(b'-' | b'+')));
    let whole = digits(text, sign);
    let zeros = text[sign..whole].iter().take_while(|byte| **byte == b'0').count();
    let zeros = if zeros == whole - sign { zeros.saturating_sub(1) } else { zeros };
    let (mut at, mut to) = (whole, text.len());
    if text.get(at) == Some(&b'.') {
        let end = digits(text, at + 1);
        match (end - at - 1, end == text.len()) {
            (0, true) => to = at,
            (0, false) => return None,
            _ => {}
        }
        at = end;
    }
    if to == sign {
        return None;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let exponent = at + 1 + usize::from(matches!(text.get(at + 1), Some(b'-' | b'+')));
        at = digits(text, exponent);
        if at == exponent {
            return None;
        }
        // An exponent alone is no number.
        if whole == sign && text[sign] != b'.' {
            return None;
        }
    }
    if at < text.len() {
        return None;
    }
    let negative = text[0] == b'-';
    Some(match (negative, whole == sign, zeros) {
        (true, false, 0) => Number { before: "", from: 0, to },
        (false, false, _) => Number { before: "", from: sign + zeros, to },
        (true, false, _) => Number { before: "-", from: sign + zeros, to },
        (true, true, _) => Number { before: "-0", from: sign, to },
        (false, true, _) => Number { before: "0", from: sign, to },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{
        super::{
            Format,
            testing::{parsed, parsed_with},
        },
        *,
    };

    fn shown(number: Option<Number>, text: &str) -> Option<String> {
        number.map(|number| format!("{}{}", number.before, &text[number.from..number.to]))
    }

    #[test]
    fn whole_numbers_lose_what_json_forbids() {
        for (text, expected) in [
            ("0", "0"),
            ("7", "7"),
            ("007", "7"),
            ("+7", "7"),
            ("-7", "-7"),
            ("-007", "-7"),
            ("-0", "0"),
            ("-00", "0"),
            ("000", "0"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
        ] {
            assert_eq!(shown(int(text.as_bytes()), text).as_deref(), Some(expected), "{text}");
        }
        for text in ["", "-", "+", "1.0", "1e3", " 1", "1 ", "0x1", "--1", "١"] {
            assert_eq!(int(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn decimal_numbers_are_made_valid() {
        for (text, expected) in [
            ("1.10", "1.10"),
            ("-1.5e-3", "-1.5e-3"),
            (".5", "0.5"),
            ("-.5", "-0.5"),
            ("+.5e2", "0.5e2"),
            ("5.", "5"),
            ("007.5", "7.5"),
            ("-007.5", "-7.5"),
            ("00", "0"),
            ("-0.0", "-0.0"),
            ("0", "0"),
            ("+1E+9", "1E+9"),
            ("12", "12"),
        ] {
            assert_eq!(shown(float(text.as_bytes()), text).as_deref(), Some(expected), "{text}");
        }
        for text in
            ["", ".", "-", "-.", "e5", "1e", "1e+", "1.e5", "inf", "nan", "NaN", "1,5", "1.5.2", "0x1p3", "-e1", ".e1"]
        {
            assert_eq!(float(text.as_bytes()), None, "{text}");
        }
    }

    fn refine(types: &[(&str, Type)], null_if: &[&str]) -> Refine {
        let types = types.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
        Refine { types, timestamp: None, null_if: null_if.iter().map(|&text| text.to_owned()).collect() }
    }

    #[test]
    fn fields_become_what_they_are_said_to_be_or_stay_text() {
        let types = [("a", Type::Int), ("b", Type::Float), ("c", Type::Bool), ("d", Type::Int)];
        let line = b"a=-007 b=.5 c=TRUE d=x e=- f=\"\" c=no";
        assert_eq!(
            parsed_with(Format::Logfmt, refine(&types, &["-", ""]), line),
            "a=`-7`|b=`0.5`|c=no|d=x|e=null|f=null"
        );
        assert_eq!(parsed(Format::Logfmt, line), "a=-007|b=.5|c=no|d=x|e=-|f=");
    }

    #[test]
    fn strings_of_json_are_texts_and_its_other_values_are_not() {
        let types = [("a", Type::Int), ("b", Type::Int), ("c", Type::Int), ("d", Type::Bool)];
        assert_eq!(
            parsed_with(
                Format::Json,
                refine(&types, &["-"]),
                br#"{"a":"+5","b":1.5,"c":"\u0031","d":"False","e":"-"}"#
            ),
            r#"a=`5`|b=`1.5`|c=`"\u0031"`|d=`false`|e=null"#
        );
    }

    proptest! {
        #[test]
        fn numbers_are_json_and_keep_their_value(text in "[+-]?[0-9]{0,4}(\\.[0-9]{0,4})?([eE][+-]?[0-9]{0,2})?|[-+.e0-9]{0,8}") {
            let model: Option<f64> = text.parse().ok();
            for number in [shown(int(text.as_bytes()), &text), shown(float(text.as_bytes()), &text)].into_iter().flatten() {
                prop_assert!(serde_json::from_str::<serde_json::Number>(&number).is_ok() || number.contains(['e', 'E']), "{}", number);
                prop_assert_eq!(number.parse().ok(), model, "{} of {}", number, text);
            }
            let lenient = text.ends_with('.') || !text.contains(".e") && !text.contains(".E");
            prop_assert_eq!(float(text.as_bytes()).is_some(), model.is_some() && lenient, "{}", text);
        }
    }
}
