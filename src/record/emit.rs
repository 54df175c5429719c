//! Fields to what is sent: JSON or CSV. Knows no format that is read. Invariant: what is appended is valid UTF-8 and ends with
//! exactly one newline, JSON on a single line.

use memchr::memchr3;

use super::{
    fields::{Fields, Name, Value},
    pipeline::Emit,
    text,
};

/// How fields are written, made ready to write.
#[derive(Clone, Debug, Default)]
pub(super) enum Emitter {
    #[default]
    Json,
    Csv(Csv),
}

impl Emitter {
    pub(super) fn new(emit: Emit, fields: &mut Fields) -> Self {
        match emit {
            Emit::Json => Self::Json,
            Emit::Csv { fields: columns, delimiter } => Self::Csv(Csv {
                columns: columns.iter().map(|name| fields.intern(name)).collect(),
                delimiter,
                cell: Vec::new(),
            }),
        }
    }

    /// Appends the record to `out`.
    pub(super) fn write(&mut self, line: &[u8], fields: &Fields, out: &mut Vec<u8>) {
        match self {
            Self::Json => write_json(line, fields, out),
            Self::Csv(csv) => csv.write(line, fields, out),
        }
    }

    /// Capacity of the buffer that a record may grow.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        match self {
            Self::Json => 0,
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
        match field.value {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Text(plain) => text::push_json_string(fields.bytes(line, plain), out),
            Value::Json(json) => out.extend_from_slice(fields.bytes(line, json)),
        }
    }
    out.extend_from_slice(b"}\n");
}

#[derive(Clone, Debug)]
pub(super) struct Csv {
    columns: Vec<Name>,
    delimiter: u8,
    /// The text of the cell at hand.
    cell: Vec<u8>,
}

impl Csv {
    fn write(&mut self, line: &[u8], fields: &Fields, out: &mut Vec<u8>) {
        for at in 0..self.columns.len() {
            if at > 0 {
                out.push(self.delimiter);
            }
            self.cell.clear();
            match fields.get(line, self.columns[at]) {
                None | Some(Value::Null) => {}
                Some(Value::Text(plain)) => text::push_lossy(fields.bytes(line, plain), &mut self.cell),
                Some(Value::Json(json)) => match fields.bytes(line, json) {
                    [b'"', inside @ .., b'"'] => text::push_unescaped(inside, &mut self.cell),
                    other => self.cell.extend_from_slice(other),
                },
            }
            self.push_cell(out);
        }
        out.push(b'\n');
    }

    fn push_cell(&self, out: &mut Vec<u8>) {
        let cell = &self.cell[..];
        // A lone empty cell would be an empty line, which readers skip.
        let lone_empty = cell.is_empty() && self.columns.len() == 1;
        if !lone_empty && memchr3(b'"', b'\n', b'\r', cell).is_none() && !cell.contains(&self.delimiter) {
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
        emitter.write(b"", &fields, &mut out);
        out
    }

    fn csv(columns: usize, delimiter: u8) -> Emit {
        Emit::Csv { fields: (0..columns).map(|at| format!("f{at}")).collect(), delimiter }
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
