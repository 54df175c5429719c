//! The Java agent's values: text, numbers, switches and words as it reads them, each mistake with its place. Knows no
//! particular key. Invariant: no message holds a value that may be a secret, for it shows those of numbers and words alone.

use std::{ops::RangeInclusive, sync::Arc};

use super::super::{
    problem::{Location, Problem},
    read::{join, one_line, quoted},
};
use crate::record::java::json::{Member, Node, Value, java_double};

/// Reads one file's values and collects what is wrong with them.
pub(super) struct Reader<'t> {
    pub(super) file: Arc<str>,
    text: &'t str,
    /// Where each line begins.
    lines: Vec<usize>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

/// An object of the file, with the path of keys that leads to it.
#[derive(Clone)]
pub(super) struct Object<'n> {
    pub(super) path: String,
    /// Where it begins.
    pub(super) at: usize,
    members: &'n [Member],
}

impl<'n> Object<'n> {
    /// Appends what it says, without places: equal texts mean the same.
    pub(super) fn write(&self, out: &mut String) {
        write_members(self.members, out);
    }

    /// The object that a value is.
    pub(super) fn of(path: String, node: &'n Node) -> Option<Self> {
        match &node.value {
            Value::Map(members) => Some(Self { path, at: node.at, members }),
            _ => None,
        }
    }

    pub(super) fn members(&self) -> &'n [Member] {
        self.members
    }

    /// The value of a key, if it was written.
    pub(super) fn get(&self, name: &str) -> Option<&'n Node> {
        self.members.iter().find(|member| member.name == name).map(|member| &member.node)
    }

    /// The value of a key, if it was written and is not null.
    fn set(&self, name: &str) -> Option<&'n Node> {
        self.get(name).filter(|node| node.value != Value::Null)
    }

    pub(super) fn key(&self, name: &str) -> String {
        join(&self.path, name)
    }
}

impl<'t> Reader<'t> {
    pub(super) fn new(file: Arc<str>, text: &'t str) -> Self {
        let lines = std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|at| at + 1)).collect();
        Self { file, text, lines, problems: Vec::new(), warnings: Vec::new() }
    }

    /// The place of an offset.
    pub(super) fn place(&self, at: usize) -> Location {
        let at = self.text.floor_char_boundary(at.min(self.text.len()));
        let line = self.lines.partition_point(|start| *start <= at);
        Location { line, column: self.text[self.lines[line - 1]..at].chars().count() + 1 }
    }

    fn note(&self, at: usize, key: &str, text: &str) -> Problem {
        let (key, text) = (one_line(key, 200), one_line(text, usize::MAX));
        Problem { file: Arc::clone(&self.file), at: Some(self.place(at)), key, text }
    }

    /// Reports a mistake.
    pub(super) fn problem(&mut self, at: usize, key: &str, text: impl AsRef<str>) {
        let note = self.note(at, key, text.as_ref());
        self.problems.push(note);
    }

    /// Reports what is allowed and looks wrong, or is done otherwise here.
    pub(super) fn warning(&mut self, at: usize, key: &str, text: impl AsRef<str>) {
        let note = self.note(at, key, text.as_ref());
        self.warnings.push(note);
    }

    /// Reports the mistake that a function found in a value, and hands on what it made of it otherwise.
    pub(super) fn check<T>(&mut self, object: &Object<'_>, name: &str, result: Result<T, String>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(text) => {
                self.problem(object.get(name).map_or(object.at, |node| node.at), &object.key(name), text);
                None
            }
        }
    }

    /// Any single value as text; null is none.
    pub(super) fn text(&mut self, object: &Object<'_>, name: &str) -> Option<String> {
        let node = object.set(name)?;
        let text = scalar(&node.value);
        if text.is_none() {
            self.problem(node.at, &object.key(name), "is a list or an object; write text");
        }
        text
    }

    /// As `text`, read further.
    pub(super) fn parsed<T>(
        &mut self,
        object: &Object<'_>,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(object, name)?;
        let result = read(&text).map_err(|wrong| format!("{} {wrong}", quoted(&text)));
        self.check(object, name, result)
    }

    /// A whole number of 64 bits; null, at which the Java agent stops, is none.
    pub(super) fn long(&mut self, object: &Object<'_>, name: &str) -> Option<i64> {
        self.whole(object, name, i64::MIN..=i64::MAX)
    }

    /// A whole number of 32 bits; null, at which the Java agent stops, is none.
    pub(super) fn int(&mut self, object: &Object<'_>, name: &str) -> Option<i64> {
        self.whole(object, name, i64::from(i32::MIN)..=i64::from(i32::MAX))
    }

    /// A whole number within a range; null is a mistake.
    pub(super) fn ranged(&mut self, object: &Object<'_>, name: &str, range: RangeInclusive<i64>) -> Option<i64> {
        if let Some(Node { at, value: Value::Null }) = object.get(name) {
            self.problem(*at, &object.key(name), "is null; write a number, or remove the key");
            return None;
        }
        self.whole(object, name, range)
    }

    fn whole(&mut self, object: &Object<'_>, name: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let node = object.get(name)?;
        if node.value == Value::Null {
            let text = "is null, at which the Java agent stops; it is taken as not written, so remove the key";
            self.warning(node.at, &object.key(name), text);
            return None;
        }
        let result = match &node.value {
            Value::Integer(text) | Value::Text(text) => decode(text),
            Value::Float(_) => {
                Err("a number with a fraction or an exponent is not whole; write digits alone".to_owned())
            }
            _ => Err("is no number; write digits".to_owned()),
        };
        let result = result.and_then(|number| {
            let (least, most) = (range.start(), range.end());
            let wrong = || match *most {
                i64::MAX => format!("{number} is out of range; it must be at least {least}"),
                most => format!("{number} is out of range; it must be {least} to {most}"),
            };
            range.contains(&number).then_some(number).ok_or_else(wrong)
        });
        self.check(object, name, result)
    }

    /// A switch; null, at which the Java agent stops, is none.
    pub(super) fn switch(&mut self, object: &Object<'_>, name: &str) -> Option<bool> {
        let text = self.text(object, name)?;
        let is = |words: [&str; 5]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
        let result = if is(["true", "t", "yes", "y", "1"]) {
            Ok(true)
        } else if is(["false", "f", "no", "n", "0"]) {
            Ok(false)
        } else {
            Err(format!("{} is neither true nor false; write one of them", quoted(&text)))
        };
        self.check(object, name, result)
    }

    /// One of a few words, letter case included.
    pub(super) fn choice<T: Copy>(&mut self, object: &Object<'_>, name: &str, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(object, name)?;
        let found = words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning);
        let known = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(" or ");
        let result = found.ok_or_else(|| format!("{} is not known; write {}", quoted(&text), known()));
        self.check(object, name, result)
    }
}

fn write_members(members: &[Member], out: &mut String) {
    out.push('{');
    for member in members {
        out.push_str(&member.name);
        out.push('\0');
        write_value(&member.node.value, out);
    }
    out.push('}');
}

fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::Map(members) => write_members(members, out),
        Value::List(items) => {
            out.push('[');
            for item in items {
                write_value(&item.value, out);
            }
            out.push(']');
        }
        single => {
            out.push(match single {
                Value::Text(_) => '"',
                Value::Integer(_) => 'i',
                Value::Float(_) => 'f',
                Value::Bool(_) => 'b',
                _ => '~',
            });
            out.extend(scalar(single));
        }
    }
    out.push('\0');
}

/// Any single value as the Java agent turns it into text.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) | Value::Integer(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Float(number) => Some(java_double(*number)),
        Value::Null | Value::List(_) | Value::Map(_) => None,
    }
}

/// A number as Java's `Long.decode` reads it: a sign, then decimal, `0x`, `#` or, behind a 0, octal digits.
fn decode(text: &str) -> Result<i64, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let hex = ["0x", "0X", "#"].iter().find_map(|prefix| digits.strip_prefix(prefix));
    let (digits, radix) = match (hex, digits.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(octal)) if !octal.is_empty() => (octal, 8),
        _ => (digits, 10),
    };
    let number = if digits.starts_with(['+', '-']) { None } else { i128::from_str_radix(digits, radix).ok() };
    let signed = number.and_then(|n| i64::try_from(if negative { -n } else { n }).ok());
    signed.ok_or_else(|| format!("{} is no whole number of 64 bits; write digits alone", quoted(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decoded_as_in_java() {
        for (text, number) in [
            ("5000", Some(5_000)),
            ("-1", Some(-1)),
            ("+7", Some(7)),
            ("0x10", Some(16)),
            ("-0X1f", Some(-31)),
            ("#10", Some(16)),
            ("010", Some(8)),
            ("0", Some(0)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("08", None),
            ("", None),
            ("-", None),
            ("0x", None),
            ("--1", None),
            ("0x-1", None),
            (" 1", None),
            ("1.5", None),
            ("5s", None),
        ] {
            assert_eq!(decode(text).ok(), number, "{text:?}");
        }
    }

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let reader = Reader::new("x".into(), "a\nbé c\n");
        let place = |at| (reader.place(at).line, reader.place(at).column);
        assert_eq!(
            [place(0), place(1), place(2), place(5), place(6), place(99)],
            [(1, 1), (1, 2), (2, 1), (2, 3), (2, 4), (3, 1)]
        );
    }
}
