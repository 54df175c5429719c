//! `csv`: cells between delimiters, quoted as RFC 4180 says. Knows where the names of the cells come from, not what they mean.
//! Invariant: a header line is never a record, and no other line is used up.

use memchr::{memchr, memchr2};

use super::{
    super::{
        fields::{Fields, Lent, MAX_FIELDS, Name, Names, Text, Value},
        pipeline::Context,
    },
    Found, Mismatch,
    cursor::Cursor,
    headers::{Header, Headers},
};
use crate::model::{Generation, Span};

/// How lines of cells are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub columns: Columns,
    /// One byte, neither the quote nor a line end. Default `,`.
    pub delimiter: u8,
    /// One byte. Default `"`.
    pub quote: u8,
    /// Whether blanks around cells are left out. Default: no.
    pub trim: bool,
}

/// Where the names of the cells come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Columns {
    /// At least one, each once.
    Named(Vec<String>),
    /// The first line of each file.
    Header,
}

#[derive(Clone, Debug)]
pub(in super::super) struct Csv {
    columns: Source,
    dialect: Dialect,
}

#[derive(Clone, Debug)]
enum Source {
    Named(Vec<Name>),
    Header(Headers),
}

#[derive(Clone, Copy, Debug)]
struct Dialect {
    delimiter: u8,
    quote: u8,
    trim: bool,
}

/// The names of one line's cells.
enum Columned<'a> {
    Named(&'a [Name]),
    Header(Lent<'a>),
}

impl Columned<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Named(names) => names.len(),
            Self::Header(names) => names.len(),
        }
    }

    fn get(&self, at: usize) -> Name {
        match self {
            Self::Named(names) => names[at],
            Self::Header(names) => names.get(at),
        }
    }
}

impl Csv {
    pub(super) fn new(options: Options, fields: &mut Fields) -> Self {
        let Options { columns, delimiter, quote, trim } = options;
        let columns = match columns {
            Columns::Named(names) => Source::Named(names.iter().map(|name| fields.intern(name)).collect()),
            Columns::Header => Source::Header(Headers::default()),
        };
        Self { columns, dialect: Dialect { delimiter, quote, trim } }
    }

    /// Whether a line may have a name twice: names that were given are unique.
    pub(super) fn may_repeat(&self) -> bool {
        matches!(self.columns, Source::Header(_))
    }

    /// Whether the header of this file is needed and not known.
    pub(super) fn lacks_header(&self, generation: Generation) -> bool {
        matches!(&self.columns, Source::Header(headers) if !headers.knows(generation))
    }

    /// Remembers the header of a file. What cannot be one is not remembered.
    pub(super) fn learn_header(&mut self, generation: Generation, span: Span, line: &[u8]) {
        let Source::Header(headers) = &mut self.columns else { return };
        if let Ok(names) = names_of(self.dialect, line) {
            headers.learn(Header { generation, span, names });
        }
    }

    /// Adds one field for each column.
    pub(super) fn parse(&mut self, context: &Context<'_>, line: &[u8], fields: &mut Fields) -> Result<Found, Mismatch> {
        let names = match &mut self.columns {
            Source::Named(names) => Columned::Named(names),
            Source::Header(headers) => {
                let Some(header) = headers.find(context.generation) else { return Err(Mismatch::NoHeader) };
                if context.span == header.span {
                    return Ok(Found::Header);
                }
                if context.span.start == header.span.start {
                    return Err(Mismatch::Expected { what: "a header line alone", at: 0 });
                }
                Columned::Header(fields.lend(&header.names))
            }
        };
        let mut cells = Cells { cursor: Cursor::new(line, fields), dialect: self.dialect, more: true };
        let mut found = 0;
        while let Some(cell) = cells.next()? {
            if found == names.len() {
                return cells.cursor.fail_at("no more cells than fields", cell.start);
            }
            let value = cells.value(&cell);
            cells.cursor.fields.push(names.get(found), value);
            found += 1;
        }
        for missing in found..names.len() {
            fields.push(names.get(missing), Value::Null);
        }
        Ok(Found::Fields)
    }
}

fn names_of(dialect: Dialect, line: &[u8]) -> Result<Names, Mismatch> {
    let mut scratch = Fields::default();
    let mut names = Names::default();
    let mut cells = Cells { cursor: Cursor::new(line, &mut scratch), dialect, more: true };
    while let Some(cell) = cells.next()? {
        if names.len() == MAX_FIELDS {
            return Err(Mismatch::Fields { at: cell.start });
        }
        match cells.value(&cell) {
            Value::Text(text) => names.push(cells.cursor.fields.bytes(line, text)),
            _ => unreachable!("a cell is text"),
        }
    }
    Ok(names)
}

/// One cell, without its quotes.
struct Cell {
    start: usize,
    end: usize,
    /// Quotes in it are doubled.
    doubled: bool,
}

struct Cells<'a> {
    cursor: Cursor<'a>,
    dialect: Dialect,
    /// Another cell follows, be it empty.
    more: bool,
}

impl Cells<'_> {
    fn next(&mut self) -> Result<Option<Cell>, Mismatch> {
        if !self.more {
            return Ok(None);
        }
        if self.dialect.trim {
            self.blanks();
        }
        let cell = if self.cursor.peek() == Some(self.dialect.quote) { self.quoted()? } else { self.plain()? };
        self.more = self.cursor.at < self.cursor.line.len();
        // The delimiter.
        self.cursor.at += usize::from(self.more);
        Ok(Some(cell))
    }

    fn blanks(&mut self) {
        let Dialect { delimiter, .. } = self.dialect;
        while self.cursor.peek().is_some_and(|byte| matches!(byte, b' ' | b'\t') && byte != delimiter) {
            self.cursor.at += 1;
        }
    }

    /// A cell without quotes, up to the delimiter or the end.
    fn plain(&mut self) -> Result<Cell, Mismatch> {
        let (start, rest) = (self.cursor.at, self.cursor.rest());
        let len = memchr2(self.dialect.delimiter, b'\n', rest).unwrap_or(rest.len());
        self.cursor.at += len;
        if len < rest.len() && rest[len] == b'\n' {
            return self.cursor.fail("no line end outside quotes");
        }
        let mut end = self.cursor.at;
        if self.dialect.trim {
            let blanks = rest[..len].iter().rev().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
            end -= blanks;
        }
        Ok(Cell { start, end, doubled: false })
    }

    /// A cell in quotes, and what may stand before the delimiter or the end.
    fn quoted(&mut self) -> Result<Cell, Mismatch> {
        let quote = self.dialect.quote;
        self.cursor.at += 1;
        let start = self.cursor.at;
        let mut doubled = false;
        loop {
            self.cursor.until(quote, "the quote that ends the cell")?;
            if self.cursor.peek() != Some(quote) {
                break;
            }
            doubled = true;
            self.cursor.at += 1;
        }
        let end = self.cursor.at - 1;
        if self.dialect.trim {
            self.blanks();
        }
        match self.cursor.peek() {
            Some(byte) if byte != self.dialect.delimiter => self.cursor.fail("a delimiter or the end after the quote"),
            _ => Ok(Cell { start, end, doubled }),
        }
    }

    fn value(&mut self, cell: &Cell) -> Value {
        if !cell.doubled {
            return Value::Text(Text::line(cell.start, cell.end));
        }
        let mut rest = &self.cursor.line[cell.start..cell.end];
        let quote = self.dialect.quote;
        Value::Text(self.cursor.fields.compose(|out| {
            while let Some(at) = memchr(quote, rest) {
                out.extend_from_slice(&rest[..=at]);
                // The second of the two.
                rest = &rest[at + 2..];
            }
            out.extend_from_slice(rest);
        }))
    }
}
