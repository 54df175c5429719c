//! What is sent: fields as JSON or CSV, or the record's bytes. Knows no format that is read. Invariant: what is written of fields
//! is valid UTF-8 and ends with exactly one newline; but for pretty JSON and quoted cells it is a single line.

use memchr::memchr3;

use super::{
    fields::{Fields, Name, Value},
    json,
    pipeline::{Emit, Quote},
};

/// How a record is written, made ready to write.
#[derive(Clone, Debug, Default)]
pub(super) enum Emitter {
    /// The record's bytes, its line end included.
    #[default]
    Raw,
    Json,
    PrettyJson,
    Csv(Csv),
}

impl Emitter {
    /// Whether it writes the record's bytes.
    pub(super) fn is_raw(&self) -> bool {
        matches!(self, Self::Raw)
    }

    pub(super) fn new(emit: Emit, fields: &mut Fields) -> Self {
        match emit {
            Emit::Raw => Self::Raw,
            Emit::Json => Self::Json,
            Emit::PrettyJson => Self::PrettyJson,
            Emit::Csv { fields: columns, delimiter, quote, null } => Self::Csv(Csv {
                columns: columns.iter().map(|name| fields.intern(name)).collect(),
                delimiter,
                quote,
                null,
                cell: Vec::new(),
            }),
        }
    }

    /// Appends the record to `out`: its line, whose end is `line_end`, or its fields.
    pub(super) fn write(&mut self, line: &[u8], line_end: &[u8], fields: &Fields, out: &mut Vec<u8>) {
        match self {
            Self::Raw => {
                out.extend_from_slice(line);
                out.extend_from_slice(line_end);
            }
            Self::Json => write_json(line, fields, out),
            Self::PrettyJson => write_pretty(line, fields, out),
            Self::Csv(csv) => csv.write(line, fields, out),
        }
    }

    /// Capacity of the buffer that a record may grow.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        match self {
            Self::Raw | Self::Json | Self::PrettyJson => 0,
            Self::Csv(csv) => csv.cell.capacity(),
        }
    }
}

fn write_json(line: &[u8], fields: &Fields, out: &mut Vec<u8>) {
    out.push(b'{');
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(fields.bytes(line, field.name.text));
        out.push(b':');
        fields.push_json(line, field.value, out);
    }
    out.extend_from_slice(b"}\n");
}

fn write_pretty(line: &[u8], fields: &Fields, out: &mut Vec<u8>) {
    out.push(b'{');
    for (at, field) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        json::push_line(1, out);
        out.extend_from_slice(fields.bytes(line, field.name.text));
        out.extend_from_slice(b": ");
        match field.value {
            Value::Json(text) => json::push_pretty(fields.bytes(line, text), 1, out),
            value => fields.push_json(line, value, out),
        }
    }
    if fields.len() > 0 {
        json::push_line(0, out);
    }
    out.extend_from_slice(b"}\n");
}

#[derive(Clone, Debug)]
pub(super) struct Csv {
    columns: Vec<Name>,
    delimiter: u8,
    quote: Quote,
    null: String,
    /// The text of the cell at hand.
    cell: Vec<u8>,
}

impl Csv {
    fn write(&mut self, line: &[u8], fields: &Fields, out: &mut Vec<u8>) {
        for at in 0..self.columns.len() {
            if at > 0 {
                out.push(self.delimiter);
            }
            match fields.get(line, self.columns[at]) {
                None | Some(Value::Null) => self.push_null(out),
                Some(value) => {
                    self.cell.clear();
                    fields.push_text(line, value, &mut self.cell);
                    self.push_cell(out);
                }
            }
        }
        out.push(b'\n');
    }

    fn push_null(&self, out: &mut Vec<u8>) {
        if self.is_lone_empty(self.null.as_bytes()) {
            out.extend_from_slice(b"\"\"");
        } else {
            out.extend_from_slice(self.null.as_bytes());
        }
    }

    /// A lone empty cell would be an empty line, which readers skip.
    fn is_lone_empty(&self, cell: &[u8]) -> bool {
        cell.is_empty() && self.columns.len() == 1 && self.quote != Quote::Never
    }

    fn push_cell(&self, out: &mut Vec<u8>) {
        let cell = &self.cell[..];
        let is_special = |byte: u8| byte == self.delimiter || matches!(byte, b'\n' | b'\r');
        let quoted = match self.quote {
            Quote::Always => true,
            Quote::Never => {
                out.extend(cell.iter().map(|&byte| if is_special(byte) { b' ' } else { byte }));
                return;
            }
            // What would be taken for null is told apart by its quotes.
            Quote::Minimal if !self.null.is_empty() && cell == self.null.as_bytes() => true,
            Quote::Minimal => {
                let special = memchr3(b'"', b'\n', b'\r', cell).is_some() || cell.contains(&self.delimiter);
                special || self.is_lone_empty(cell)
            }
        };
        if !quoted {
            out.extend_from_slice(cell);
            return;
        }
        out.push(b'"');
        for (at, part) in cell.split(|&byte| byte == b'"').enumerate() {
            if at > 0 {
                out.extend_from_slice(b"\"\"");
            }
            out.extend_from_slice(part);
        }
        out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(emit: Emit, list: &[(String, Option<Vec<u8>>)]) -> Vec<u8> {
        let mut fields = Fields::default();
        let mut emitter = Emitter::new(emit, &mut fields);
        for (name, value) in list {
            let name = fields.intern(name);
            let value = match value {
                Some(text) => Value::Text(fields.compose(|out| out.extend_from_slice(text))),
                None => Value::Null,
            };
            fields.push(name, value);
        }
        let mut out = Vec::new();
        emitter.write(b"", b"", &fields, &mut out);
        out
    }

    fn csv(columns: usize, delimiter: u8) -> Emit {
        csv_with(columns, delimiter, Quote::Minimal, "")
    }

    fn csv_with(columns: usize, delimiter: u8, quote: Quote, null: &str) -> Emit {
        let fields = (0..columns).map(|at| format!("f{at}")).collect();
        Emit::Csv { fields, delimiter, quote, null: null.to_owned() }
    }

    fn numbered(cells: &[Vec<u8>]) -> Vec<(String, Option<Vec<u8>>)> {
        cells.iter().enumerate().map(|(at, cell)| (format!("f{at}"), Some(cell.clone()))).collect()
    }

    #[track_caller]
    fn check(cells: &[&str], expected: &str) {
        let cells: Vec<Vec<u8>> = cells.iter().map(|cell| cell.as_bytes().to_vec()).collect();
        let out = written(csv(cells.len(), b','), &numbered(&cells));
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
    }

    #[test]
    fn only_cells_that_need_it_are_quoted() {
        check(
            &["a", " b ", "c;d", "e,f", "g\"h", "\"", "i\nj", "k\r"],
            "a, b ,c;d,\"e,f\",\"g\"\"h\",\"\"\"\",\"i\nj\",\"k\r\"\n",
        );
        check(&["", ""], ",\n");
    }

    #[test]
    fn a_lone_empty_cell_is_quoted_for_readers_skip_empty_lines() {
        check(&[""], "\"\"\n");
    }

    #[track_caller]
    fn check_csv(quote: Quote, null: &str, cells: &[Option<&str>], expected: &str) {
        let cells = cells.iter().enumerate();
        let list: Vec<_> =
            cells.map(|(at, cell)| (format!("f{at}"), cell.map(|cell| cell.as_bytes().to_vec()))).collect();
        let out = written(csv_with(list.len(), b',', quote, null), &list);
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
    }

    #[test]
    fn all_cells_are_quoted_but_null_or_none_is() {
        let cells = [Some("a"), Some(""), None, Some("b,c\r\n\"d\"")];
        check_csv(Quote::Always, "", &cells, "\"a\",\"\",,\"b,c\r\n\"\"d\"\"\"\n");
        check_csv(Quote::Never, "", &cells, "a,,,b c  \"d\"\n");
        check_csv(Quote::Never, "", &[None], "\n");
        check_csv(Quote::Always, "", &[None], "\"\"\n");
    }

    #[test]
    fn null_is_told_apart_from_a_text_that_looks_like_it() {
        for quote in [Quote::Minimal, Quote::Always] {
            check_csv(quote, "\\N", &[None, Some("\\N")], "\\N,\"\\N\"\n");
        }
        check_csv(Quote::Minimal, "NULL", &[None], "NULL\n");
    }

    /// Reads one record as RFC 4180 says.
    fn read_csv(record: &str, delimiter: char) -> Vec<String> {
        let mut cells = vec![String::new()];
        let mut chars = record.strip_suffix('\n').expect("a newline at the end").chars().peekable();
        let mut quoted = false;
        while let Some(c) = chars.next() {
            let cell = cells.last_mut().expect("never empty");
            match c {
                '"' if quoted && chars.peek() == Some(&'"') => cell.extend(chars.next()),
                '"' => quoted = !quoted,
                c if c == delimiter && !quoted => cells.push(String::new()),
                c => cell.push(c),
            }
        }
        cells
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), Just(b'\r'), Just(b';'), Just(b'\\'), any::<u8>()];
        prop_oneof![proptest::collection::vec(byte, 0..12), any::<String>().prop_map(String::into_bytes)]
    }

    proptest! {
        #[test]
        fn csv_reads_back(cells in proptest::collection::vec(bytes(), 1..6), delimiter in prop_oneof![Just(b','), Just(b';'), Just(b'\t')]) {
            let out = written(csv(cells.len(), delimiter), &numbered(&cells));
            let lossy: Vec<_> = cells.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect();
            prop_assert_eq!(read_csv(std::str::from_utf8(&out).expect("UTF-8"), char::from(delimiter)), lossy);
        }

        #[test]
        fn pretty_json_is_the_same_json(list in proptest::collection::vec((any::<String>(), proptest::option::of(bytes())), 0..6)) {
            let (pretty, compact) = (written(Emit::PrettyJson, &list), written(Emit::Json, &list));
            let value: serde_json::Value = serde_json::from_slice(&pretty).expect("JSON");
            prop_assert_eq!(&value, &serde_json::from_slice::<serde_json::Value>(&compact).expect("JSON"));
            prop_assert_eq!(&pretty[pretty.len() - 2..], b"}\n");
        }

        #[test]
        fn json_reads_back(list in proptest::collection::vec((any::<String>(), proptest::option::of(bytes())), 0..6)) {
            let out = written(Emit::Json, &list);
            prop_assert_eq!(memchr::memchr_iter(b'\n', &out).collect::<Vec<_>>(), vec![out.len() - 1]);
            let found: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&out).expect("JSON");
            let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
            let expected: serde_json::Map<_, _> = list.into_iter().map(|(name, value)| (name, value.map(text).into())).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
