//! JSON objects of fixed names, written as the Java agent does. Knows no converter.
//! Invariant: a name stands once, in its first place, with its last value, as in the map that the Java agent fills.

use super::json;

/// How JSON is written: `jsonFormat`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Layout {
    /// Without blanks.
    #[default]
    Compact,
    /// A member a line, indented by two blanks a level.
    Pretty,
}

/// `customFieldNames`. The Java agent accepts a `null` among them, and then cannot write the object.
pub type FieldNames = Vec<Option<String>>;

/// An object whose names are known.
#[derive(Clone, Debug)]
pub(super) struct Object {
    members: Vec<Member>,
    close: &'static [u8],
    /// How many names there were, repeated ones counted.
    len: usize,
}

#[derive(Clone, Debug)]
struct Member {
    /// What stands before the value.
    before: Vec<u8>,
    /// Index of the value.
    value: usize,
}

impl Object {
    /// `None`: a name is `null`, and no such object can be written.
    pub(super) fn new(names: &[Option<String>], layout: Layout) -> Option<Self> {
        let mut unique: Vec<(&str, usize)> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for (value, name) in names.iter().enumerate() {
            let name = name.as_deref()?;
            let place = *places.entry(name).or_insert(unique.len());
            match unique.get_mut(place) {
                Some(member) => member.1 = value,
                None => unique.push((name, value)),
            }
        }
        let (indent, colon, close): (&[u8], &[u8], &[u8]) = match layout {
            Layout::Compact => (b"", b":", b"}\n"),
            Layout::Pretty if unique.is_empty() => (b"", b"", b" }\n"),
            Layout::Pretty => (b"\n  ", b" : ", b"\n}\n"),
        };
        let members = unique.iter().enumerate().map(|(at, &(name, value))| {
            let mut before = if at == 0 { Vec::new() } else { b",".to_vec() };
            before.extend_from_slice(indent);
            json::push_string(name.as_bytes(), &mut before);
            before.extend_from_slice(colon);
            Member { before, value }
        });
        Some(Self { members: members.collect(), close, len: names.len() })
    }

    /// How many values it takes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Appends the object and a newline; `value` finds a value by its index, none of which is `null`.
    pub(super) fn write<'t>(&self, value: impl Fn(usize) -> Option<&'t str>, out: &mut Vec<u8>) {
        out.push(b'{');
        for member in &self.members {
            out.extend_from_slice(&member.before);
            match value(member.value) {
                Some(text) => json::push_string(text.as_bytes(), out),
                None => out.extend_from_slice(b"null"),
            }
        }
        out.extend_from_slice(self.close);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(names: &[&str], layout: Layout, expected: &str) {
        let names: FieldNames = names.iter().map(|&name| Some(name.to_owned())).collect();
        let object = Object::new(&names, layout).expect("no name is null");
        let mut out = Vec::new();
        object.write(|at| ["x", "y\u{1f}", "z"].get(at).copied(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }

    #[test]
    fn a_name_stands_once_with_its_last_value() {
        check(&["a", "b\n", "a", "c"], Layout::Compact, "{\"a\":\"z\",\"b\\n\":\"y\\u001F\",\"c\":null}\n");
        check(&["a", "b"], Layout::Pretty, "{\n  \"a\" : \"x\",\n  \"b\" : \"y\\u001F\"\n}\n");
        check(&[], Layout::Compact, "{}\n");
        check(&[], Layout::Pretty, "{ }\n");
    }

    #[test]
    fn an_object_with_a_null_name_cannot_be_written() {
        assert!(Object::new(&[Some("a".to_owned()), None], Layout::Compact).is_none());
    }
}
