//! `drop_if` and `keep_if`: what holds of a record. Knows fields and the line, not what becomes of the record.
//! Invariant: a field that is missing or null satisfies no test but `Exists(false)`.

use std::cmp::Ordering;

use super::super::{
    fields::{Fields, Name},
    regex::{GivenUp, Regex},
};

/// What may hold of a record.
#[derive(Clone, Debug)]
pub enum Condition {
    /// All of them hold; so it does of none.
    All(Vec<Condition>),
    /// At least one of them holds.
    Any(Vec<Condition>),
    Not(Box<Condition>),
    /// The pattern matches somewhere in the line, its line end aside.
    Line(Regex),
    Field {
        name: String,
        test: Test,
    },
}

/// What may hold of a field.
#[derive(Clone, Debug)]
pub enum Test {
    /// Its text is one of these: of a JSON string what it means, of other JSON as it is written.
    In(Vec<String>),
    /// The pattern matches somewhere in its text.
    Matches(Regex),
    /// Its text is a number that stands so to this one.
    Compare(Order, Number),
    /// It is there and not null, or, if false, it is not.
    Exists(bool),
}

/// How one number stands to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Less,
    AtMost,
    AtLeast,
    More,
}

impl Order {
    fn holds(self, ordering: Ordering) -> bool {
        match self {
            Self::Less => ordering.is_lt(),
            Self::AtMost => ordering.is_le(),
            Self::AtLeast => ordering.is_ge(),
            Self::More => ordering.is_gt(),
        }
    }
}

/// A decimal number. Whole ones of up to 38 digits compare exactly, others as 64-bit floating point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number {
    whole: Option<i128>,
    float: f64,
}

impl Number {
    /// Reads digits, with a sign, a point and an exponent where there are any; nothing else is a number.
    #[must_use]
    pub fn read(text: &[u8]) -> Option<Self> {
        if !text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E')) {
            return None;
        }
        let text = str::from_utf8(text).ok()?;
        Some(Self { whole: text.parse().ok(), float: text.parse().ok()? })
    }

    fn compare(self, other: Self) -> Ordering {
        match (self.whole, other.whole) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => self.float.partial_cmp(&other.float).expect("digits give no NaN"),
        }
    }
}

/// A condition, made ready to be looked at.
#[derive(Clone, Debug)]
pub(in super::super) struct Filter {
    condition: Ready,
    /// A text as it means.
    text: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Ready {
    All(Vec<Ready>),
    Any(Vec<Ready>),
    Not(Box<Ready>),
    Line(Regex),
    Field(Name, Test),
}

impl Filter {
    pub(in super::super) fn new(condition: Condition, fields: &mut Fields) -> Self {
        Self { condition: ready(condition, fields), text: Vec::new() }
    }

    /// Whether the condition holds.
    pub(in super::super) fn holds(&mut self, line: &[u8], fields: &Fields) -> Result<bool, GivenUp> {
        self.condition.holds(line, fields, &mut self.text)
    }
}

fn ready(condition: Condition, fields: &mut Fields) -> Ready {
    match condition {
        Condition::All(list) => Ready::All(list.into_iter().map(|item| ready(item, fields)).collect()),
        Condition::Any(list) => Ready::Any(list.into_iter().map(|item| ready(item, fields)).collect()),
        Condition::Not(inner) => Ready::Not(Box::new(ready(*inner, fields))),
        Condition::Line(regex) => Ready::Line(regex),
        Condition::Field { name, test } => {
            let test = match test {
                Test::In(mut list) => {
                    list.sort_unstable();
                    Test::In(list)
                }
                other => other,
            };
            Ready::Field(fields.intern(&name), test)
        }
    }
}

impl Ready {
    fn holds(&self, line: &[u8], fields: &Fields, room: &mut Vec<u8>) -> Result<bool, GivenUp> {
        match self {
            Self::All(list) => each_until(list, false, |item| item.holds(line, fields, room)),
            Self::Any(list) => each_until(list, true, |item| item.holds(line, fields, room)),
            Self::Not(inner) => Ok(!inner.holds(line, fields, room)?),
            Self::Line(regex) => regex.is_match(line),
            Self::Field(name, test) => {
                test.holds(fields.get(line, *name).and_then(|value| fields.text(line, value, room)))
            }
        }
    }
}

/// `wanted` if any of the conditions gives it; those after it are not looked at.
fn each_until(
    list: &[Ready],
    wanted: bool,
    mut holds: impl FnMut(&Ready) -> Result<bool, GivenUp>,
) -> Result<bool, GivenUp> {
    for item in list {
        if holds(item)? == wanted {
            return Ok(wanted);
        }
    }
    Ok(!wanted)
}

impl Test {
    fn holds(&self, text: Option<&[u8]>) -> Result<bool, GivenUp> {
        let Some(text) = text else { return Ok(matches!(self, Self::Exists(false))) };
        match self {
            Self::In(sorted) => Ok(sorted.binary_search_by(|known| known.as_bytes().cmp(text)).is_ok()),
            Self::Matches(regex) => regex.is_match(text),
            Self::Compare(order, limit) => {
                Ok(Number::read(text).is_some_and(|number| order.holds(number.compare(*limit))))
            }
            Self::Exists(wanted) => Ok(*wanted),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::record::fields::Value;

    /// Fields with these JSON values.
    fn fields(list: &[(&str, &str)]) -> Fields {
        let mut fields = Fields::default();
        for (name, json) in list {
            let name = fields.intern(name);
            let value = match *json {
                "null" => Value::Null,
                json => Value::Json(fields.compose(|out| out.extend_from_slice(json.as_bytes()))),
            };
            fields.push(name, value);
        }
        fields
    }

    fn field(name: &str, test: Test) -> Condition {
        Condition::Field { name: name.to_owned(), test }
    }

    fn holds(condition: Condition, line: &str, list: &[(&str, &str)]) -> bool {
        let mut fields = fields(list);
        Filter::new(condition, &mut fields).holds(line.as_bytes(), &fields).expect("a pattern that ends")
    }

    fn is(text: &str) -> Test {
        Test::In(vec![text.to_owned()])
    }

    fn compare(order: Order, number: &str) -> Test {
        Test::Compare(order, Number::read(number.as_bytes()).expect("a number"))
    }

    #[test]
    fn a_text_is_compared_as_what_it_means() {
        let list = [("s", r#""200""#), ("n", "200"), ("e", r#""\u00e9\n""#), ("z", "null"), ("b", "true"), ("o", "{}")];
        for (name, text) in [("s", "200"), ("n", "200"), ("e", "é\n"), ("b", "true"), ("o", "{}")] {
            assert!(holds(field(name, is(text)), "", &list), "{name}");
            assert!(!holds(field(name, is("20")), "", &list), "{name}");
        }
        assert!(!holds(field("z", is("null")), "", &list));
        assert!(!holds(field("z", is("")), "", &list));
        let several = Test::In(["b", "200", "a"].map(str::to_owned).to_vec());
        assert!(holds(field("s", several), "", &list));
    }

    #[test]
    fn numbers_are_compared_by_value_and_what_is_none_never_is() {
        let check = |json: &str, order, number, expected| {
            let found = holds(field("f", compare(order, number)), "", &[("f", json)]);
            assert_eq!(found, expected, "{json} {order:?} {number}");
        };
        check("200", Order::AtLeast, "200.0", true);
        check("\"-1\"", Order::Less, "0", true);
        check("1e3", Order::More, "999", true);
        check("12345678901234567891", Order::More, "12345678901234567890", true);
        check("12345678901234567890", Order::AtMost, "12345678901234567890", true);
        check("0.5", Order::AtMost, "0.25", false);
        for json in [r#""""#, r#""x""#, r#"" 1""#, "true", "null", r#""inf""#, r#""NaN""#, r#"".""#, "[1]"] {
            check(json, Order::AtLeast, "-1e9", false);
            check(json, Order::Less, "1e9", false);
        }
    }

    #[test]
    fn null_is_as_good_as_missing() {
        let list = [("z", "null"), ("e", "\"\"")];
        for (name, there) in [("z", false), ("e", true), ("missing", false)] {
            assert_eq!(holds(field(name, Test::Exists(true)), "", &list), there, "{name}");
            assert_eq!(holds(field(name, Test::Exists(false)), "", &list), !there, "{name}");
        }
    }

    #[test]
    fn without_a_field_a_pattern_is_searched_in_the_line() {
        let line = |pattern| holds(Condition::Line(Regex::new(pattern).expect("a pattern")), "GET /health", &[]);
        assert!(line("health$"));
        assert!(line("(?<=GET )/"));
        assert!(!line("^health"));
    }

    #[test]
    fn a_search_that_takes_too_long_is_given_up() {
        let regex = Regex::new(r"^(a|b|ab)*\1c$").expect("a pattern");
        let mut fields = Fields::default();
        let line = "ab".repeat(40);
        assert_eq!(Filter::new(Condition::Line(regex), &mut fields).holds(line.as_bytes(), &fields), Err(GivenUp));
    }

    fn conditions() -> impl Strategy<Value = Condition> {
        let name = prop::sample::select(vec!["a", "b", "c"]);
        let pattern = prop::sample::select(vec!["^1", "[24]", "."]);
        let order = prop::sample::select(vec![Order::Less, Order::AtMost, Order::AtLeast, Order::More]);
        let test = prop_oneof![
            prop::collection::vec(0..5i64, 1..3)
                .prop_map(|list| Test::In(list.iter().map(ToString::to_string).collect())),
            pattern.prop_map(|pattern| Test::Matches(Regex::new(pattern).expect("a pattern"))),
            (order, 0..5i64).prop_map(|(order, number)| compare(order, &number.to_string())),
            any::<bool>().prop_map(Test::Exists),
        ];
        let leaf = (name, test).prop_map(|(name, test)| field(name, test));
        leaf.prop_recursive(4, 24, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Condition::All),
                prop::collection::vec(inner.clone(), 0..3).prop_map(Condition::Any),
                inner.prop_map(|inner| Condition::Not(Box::new(inner))),
            ]
        })
    }

    fn model(condition: &Condition, fields: &BTreeMap<&str, Option<i64>>) -> bool {
        let (name, test) = match condition {
            Condition::All(list) => return list.iter().all(|item| model(item, fields)),
            Condition::Any(list) => return list.iter().any(|item| model(item, fields)),
            Condition::Not(inner) => return !model(inner, fields),
            Condition::Line(_) => unreachable!("only fields here"),
            Condition::Field { name, test } => (&**name, test),
        };
        let value = fields.get(name).copied().flatten();
        match (test, value) {
            (Test::Exists(wanted), value) => *wanted == value.is_some(),
            (_, None) => false,
            (Test::In(list), Some(value)) => list.contains(&value.to_string()),
            (Test::Matches(Regex::Linear(regex)), Some(value)) => regex.is_match(value.to_string().as_bytes()),
            (Test::Matches(Regex::Backtracking(_)), _) => unreachable!("plain patterns here"),
            (Test::Compare(order, number), Some(value)) => {
                let (value, limit) = (i128::from(value), number.whole.expect("a whole number"));
                match order {
                    Order::Less => value < limit,
                    Order::AtMost => value <= limit,
                    Order::AtLeast => value >= limit,
                    Order::More => value > limit,
                }
            }
        }
    }

    proptest! {
        #[test]
        fn a_condition_holds_where_its_model_does(
            condition in conditions(),
            values in prop::collection::btree_map(
                prop::sample::select(vec!["a", "b", "c"]), prop::option::of(-1..60i64), 0..4
            ),
        ) {
            let json = |value: &Option<i64>| value.map_or("null".to_owned(), |value| value.to_string());
            let texts: Vec<(&str, String)> = values.iter().map(|(name, value)| (*name, json(value))).collect();
            let list: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
            prop_assert_eq!(holds(condition.clone(), "", &list), model(&condition, &values));
        }
    }
}
