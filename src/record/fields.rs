//! The fields of the record at hand: an ordered list of names and values. Knows no format, neither read nor written.
//! Invariant: a field is ranges into the line, the scratch or the interned names, so that a line costs no allocation once
//! the buffers have grown.

use super::text;

/// Fields that one parse step may find in a record.
pub(super) const MAX_FIELDS: usize = 10_000;

/// Up to how many fields equal names are found by comparing all pairs; beyond, by sorting.
const FEW: usize = 64;

#[derive(Clone, Copy, Debug)]
enum Home {
    Names,
    Line,
    Scratch,
}

/// A range of bytes, and the buffer it is a range of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    home: Home,
    start: usize,
    end: usize,
}

impl Text {
    /// The bytes `[start, end)` of the line that is being processed.
    pub(super) fn line(start: usize, end: usize) -> Self {
        Self { home: Home::Line, start, end }
    }

    /// The bytes `[from, to)` of this text.
    pub(super) fn part(self, from: usize, to: usize) -> Self {
        Self { start: self.start + from, end: self.start + to, ..self }
    }
}

/// A field's name as a JSON string, quotes included, in canonical form: equal bytes mean equal names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    pub(super) text: Text,
    /// Differs only between names that differ.
    tag: u32,
}

/// Names that outlive a record and yet come and go: those of a file. Lent to the fields of a record with [`Fields::lend`].
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    bytes: Vec<u8>,
    list: Vec<Name>,
}

impl Names {
    pub(super) fn push(&mut self, name: &[u8]) {
        let start = self.bytes.len();
        text::push_json_string(name, &mut self.bytes);
        let text = Text { home: Home::Scratch, start, end: self.bytes.len() };
        self.list.push(Name { tag: tag(&self.bytes[start..]), text });
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }
}

/// Names at the disposal of one record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lent<'a> {
    list: &'a [Name],
    /// Where in the scratch their bytes begin.
    from: usize,
}

impl Lent<'_> {
    pub(super) fn len(self) -> usize {
        self.list.len()
    }

    pub(super) fn get(self, at: usize) -> Name {
        let Name { text, tag } = self.list[at];
        Name { text: Text { start: text.start + self.from, end: text.end + self.from, ..text }, tag }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Value {
    Null,
    /// Text as it was found; need not be UTF-8.
    Text(Text),
    /// A valid JSON value on one line, as it was written: a string has its quotes.
    Json(Text),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Field {
    pub(super) name: Name,
    pub(super) value: Value,
    /// An equal name came before it, and has its value now.
    merged: bool,
}

/// The fields, and the buffers that some of them point into.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    list: Vec<Field>,
    /// Names known before any record; never shrinks.
    names: Vec<u8>,
    /// Text that does not stand in the line as it is needed.
    scratch: Vec<u8>,
    /// Indices into `list` in the order of names, while names are merged.
    order: Vec<usize>,
}

impl Fields {
    /// Registers a name that later records use, for as long as `self` lives.
    pub(super) fn intern(&mut self, name: &str) -> Name {
        let start = self.names.len();
        text::push_json_string(name.as_bytes(), &mut self.names);
        Name { tag: tag(&self.names[start..]), text: Text { home: Home::Names, start, end: self.names.len() } }
    }

    /// The name that the JSON string `line[start..end]`, quotes included, stands for.
    pub(super) fn json_name(&mut self, line: &[u8], start: usize, end: usize, has_escapes: bool) -> Name {
        if !has_escapes {
            return Name { text: Text::line(start, end), tag: tag(&line[start..end]) };
        }
        let text = self.compose(|out| {
            out.push(b'"');
            text::push_canonical(&line[start + 1..end - 1], out);
            out.push(b'"');
        });
        Name { text, tag: tag(self.bytes(line, text)) }
    }

    /// The name that these bytes are.
    pub(super) fn plain_name(&mut self, name: &[u8]) -> Name {
        let text = self.compose(|out| text::push_json_string(name, out));
        Name { text, tag: tag(&self.scratch[text.start..]) }
    }

    /// Makes names usable as names of this record's fields.
    pub(super) fn lend<'a>(&mut self, names: &'a Names) -> Lent<'a> {
        let from = self.scratch.len();
        self.scratch.extend_from_slice(&names.bytes);
        Lent { list: &names.list, from }
    }

    /// Text that later records use as a value, for as long as `self` lives.
    pub(super) fn constant(&mut self, text: &str) -> Text {
        let start = self.names.len();
        self.names.extend_from_slice(text.as_bytes());
        Text { home: Home::Names, start, end: self.names.len() }
    }

    /// Text that `fill` writes.
    pub(super) fn compose(&mut self, fill: impl FnOnce(&mut Vec<u8>)) -> Text {
        let start = self.scratch.len();
        fill(&mut self.scratch);
        Text { home: Home::Scratch, start, end: self.scratch.len() }
    }

    /// A text between others, in one.
    pub(super) fn concat(&mut self, line: &[u8], before: &[u8], text: Text, after: &[u8]) -> Text {
        let Self { names, scratch, .. } = self;
        let start = scratch.len();
        scratch.extend_from_slice(before);
        match text.home {
            Home::Names => scratch.extend_from_slice(&names[text.start..text.end]),
            Home::Line => scratch.extend_from_slice(&line[text.start..text.end]),
            Home::Scratch => scratch.extend_from_within(text.start..text.end),
        }
        scratch.extend_from_slice(after);
        Text { home: Home::Scratch, start, end: scratch.len() }
    }

    /// Forgets the record; interned names stay.
    pub(super) fn clear(&mut self) {
        self.list.clear();
        self.scratch.clear();
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// Appends a field. The caller merges if a field of this name may be there.
    pub(super) fn push(&mut self, name: Name, value: Value) {
        self.list.push(Field { name, value, merged: false });
    }

    /// The field at an index.
    pub(super) fn at(&self, index: usize) -> Field {
        self.list[index]
    }

    /// Replaces the name and the value of the field at an index.
    pub(super) fn put_at(&mut self, index: usize, name: Name, value: Value) {
        self.list[index] = Field { name, value, merged: false };
    }

    /// Whether two names are equal.
    pub(super) fn is_same(&self, line: &[u8], a: Name, b: Name) -> bool {
        a.tag == b.tag && self.bytes(line, a.text) == self.bytes(line, b.text)
    }

    /// Makes names unique, where the fields from index `from` on are new: the last value of a name stands in its first place.
    pub(super) fn merge(&mut self, line: &[u8], from: usize) {
        if self.list.len() <= FEW {
            self.merge_few(line, from);
        } else {
            self.merge_many(line);
        }
    }

    fn merge_few(&mut self, line: &[u8], from: usize) {
        let mut kept = from;
        for at in from..self.list.len() {
            let field = self.list[at];
            if let Some(first) = self.position(line, field.name, kept) {
                self.list[first].value = field.value;
            } else {
                self.list[kept] = field;
                kept += 1;
            }
        }
        self.list.truncate(kept);
    }

    fn merge_many(&mut self, line: &[u8]) {
        let Self { list, names, scratch, order } = self;
        let key = |name: Name| (name.tag, resolve(names, line, scratch, name.text));
        order.clear();
        order.extend(0..list.len());
        order.sort_unstable_by(|&a, &b| key(list[a].name).cmp(&key(list[b].name)).then(a.cmp(&b)));
        let mut first = order[0];
        for &at in &order[1..] {
            if key(list[at].name) == key(list[first].name) {
                list[first].value = list[at].value;
                list[at].merged = true;
            } else {
                first = at;
            }
        }
        list.retain(|field| !field.merged);
    }

    /// The value of a field.
    pub(super) fn get(&self, line: &[u8], name: Name) -> Option<Value> {
        self.find(line, name).map(|at| self.list[at].value)
    }

    /// Replaces the value of a field in its place, or appends the field.
    pub(super) fn put(&mut self, line: &[u8], name: Name, value: Value) {
        match self.position(line, name, self.list.len()) {
            Some(at) => self.list[at].value = value,
            None => self.push(name, value),
        }
    }

    /// Where the field of this name stands in the list.
    pub(super) fn find(&self, line: &[u8], name: Name) -> Option<usize> {
        self.position(line, name, self.list.len())
    }

    /// The value at a place of the list.
    pub(super) fn value(&self, at: usize) -> Value {
        self.list[at].value
    }

    /// Replaces the value at a place of the list.
    pub(super) fn replace(&mut self, at: usize, value: Value) {
        self.list[at].value = value;
    }

    /// Leaves only the fields that have one of these names, or, unless `having`, only those that have none of them.
    pub(super) fn retain(&mut self, line: &[u8], names: &[Name], having: bool) {
        let Self { list, names: interned, scratch, .. } = self;
        list.retain(|field| {
            let text = |name: Name| resolve(interned, line, scratch, name.text);
            let listed = names.iter().any(|&name| name.tag == field.name.tag && text(name) == text(field.name));
            listed == having
        });
    }

    /// Gives a field another name in its place; another field that has that name goes.
    pub(super) fn rename(&mut self, line: &[u8], from: Name, to: Name) {
        let Some(at) = self.find(line, from) else { return };
        if let Some(other) = self.find(line, to)
            && other != at
        {
            self.list.remove(other);
            self.list[if other < at { at - 1 } else { at }].name = to;
        } else {
            self.list[at].name = to;
        }
    }

    /// The text of a value: of a string what it means, of other JSON as it is written; none of null. `room` is for what
    /// does not stand anywhere as it is needed.
    pub(super) fn text<'a>(&'a self, line: &'a [u8], value: Value, room: &'a mut Vec<u8>) -> Option<&'a [u8]> {
        match value {
            Value::Null => None,
            Value::Text(plain) => Some(self.bytes(line, plain)),
            Value::Json(json) => Some(match self.bytes(line, json) {
                [b'"', inside @ .., b'"'] if !inside.contains(&b'\\') => inside,
                [b'"', inside @ .., b'"'] => {
                    room.clear();
                    text::push_unescaped(inside, room);
                    room
                }
                other => other,
            }),
        }
    }

    /// Appends the text of a value, each invalid sequence replaced with U+FFFD; nothing for null.
    pub(super) fn push_text(&self, line: &[u8], value: Value, out: &mut Vec<u8>) {
        match value {
            Value::Null => {}
            Value::Text(plain) => text::push_lossy(self.bytes(line, plain), out),
            Value::Json(json) => match self.bytes(line, json) {
                [b'"', inside @ .., b'"'] => text::push_unescaped(inside, out),
                other => out.extend_from_slice(other),
            },
        }
    }

    /// Appends a value as JSON on one line.
    pub(super) fn push_json(&self, line: &[u8], value: Value, out: &mut Vec<u8>) {
        match value {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Text(plain) => text::push_json_string(self.bytes(line, plain), out),
            Value::Json(json) => out.extend_from_slice(self.bytes(line, json)),
        }
    }

    fn position(&self, line: &[u8], name: Name, within: usize) -> Option<usize> {
        self.list[..within].iter().position(|field| self.is_same(line, field.name, name))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Field> {
        self.list.iter()
    }

    /// The bytes that `text` stands for.
    pub(super) fn bytes<'a>(&'a self, line: &'a [u8], text: Text) -> &'a [u8] {
        resolve(&self.names, line, &self.scratch, text)
    }

    /// Capacities of the buffers that a record may grow.
    #[cfg(test)]
    pub(super) fn capacities(&self) -> [usize; 3] {
        [self.list.capacity(), self.scratch.capacity(), self.order.capacity()]
    }
}

fn resolve<'a>(names: &'a [u8], line: &'a [u8], scratch: &'a [u8], text: Text) -> &'a [u8] {
    let home = match text.home {
        Home::Names => names,
        Home::Line => line,
        Home::Scratch => scratch,
    };
    &home[text.start..text.end]
}

/// A digest of a canonical name, quotes included: a few of its bytes, so that most names are told apart by one comparison.
fn tag(quoted: &[u8]) -> u32 {
    let len = quoted.len();
    u32::from_le_bytes([len.to_le_bytes()[0], quoted[1], quoted[len / 2], quoted[len - 2]])
}

#[cfg(test)]
mod tests {
    use proptest::strategy::Strategy as _;

    use super::*;

    /// Pushes `names` with their indices as values, and lists what stands after merging.
    fn merged(names: &[String]) -> Vec<(String, usize)> {
        let mut fields = Fields::default();
        for (at, name) in names.iter().enumerate() {
            let name = fields.intern(name);
            let value = fields.compose(|out| out.extend_from_slice(at.to_string().as_bytes()));
            fields.push(name, Value::Text(value));
        }
        fields.merge(b"", 0);
        let text = |text| String::from_utf8(fields.bytes(b"", text).to_vec()).expect("UTF-8");
        let value = |value| match value {
            Value::Text(v) => text(v).parse().expect("a number"),
            other => panic!("{other:?}"),
        };
        fields.iter().map(|field| (text(field.name.text).trim_matches('"').to_owned(), value(field.value))).collect()
    }

    fn model(names: &[String]) -> Vec<(String, usize)> {
        let mut list: Vec<(String, usize)> = Vec::new();
        for (at, name) in names.iter().enumerate() {
            match list.iter_mut().find(|(known, _)| known == name) {
                Some(known) => known.1 = at,
                None => list.push((name.clone(), at)),
            }
        }
        list
    }

    proptest::proptest! {
        #[test]
        fn the_last_value_of_a_name_stands_in_its_first_place(
            names in proptest::collection::vec((0..90u32).prop_map(|n| format!("field{n}x")), 0..200),
        ) {
            proptest::prop_assert_eq!(merged(&names), model(&names));
        }
    }

    #[test]
    fn a_few_names_are_merged_like_many() {
        let names: Vec<String> = ["a", "b", "a", "", "b", "", "a"].map(String::from).to_vec();
        assert_eq!(merged(&names), model(&names));
    }
}
