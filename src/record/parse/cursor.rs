//! A place in a line, moved forward by what is found there. Knows no format. Invariant: it never goes back, so that a parser
//! made of its steps is linear.

use memchr::memchr;

use super::{
    super::fields::{Fields, Name, Text, Value},
    Mismatch,
};

/// Reads a line from its beginning to its end.
pub(super) struct Cursor<'a> {
    pub(super) line: &'a [u8],
    /// The next byte to read.
    pub(super) at: usize,
    pub(super) fields: &'a mut Fields,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(line: &'a [u8], fields: &'a mut Fields) -> Self {
        Self { line, at: 0, fields }
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        &self.line[self.at..]
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.line.get(self.at).copied()
    }

    /// What was expected here is not here.
    pub(super) fn fail<T>(&self, what: &'static str) -> Result<T, Mismatch> {
        self.fail_at(what, self.at)
    }

    pub(super) fn fail_at<T>(&self, what: &'static str, at: usize) -> Result<T, Mismatch> {
        Err(Mismatch::Expected { what, at: at.min(self.line.len()) })
    }

    /// Adds a field; null if there is no text.
    pub(super) fn push(&mut self, name: Name, text: impl Into<Option<Text>>) {
        self.fields.push(name, text.into().map_or(Value::Null, Value::Text));
    }

    /// Passes `literal` if it stands here.
    pub(super) fn pass(&mut self, literal: &[u8]) -> bool {
        let found = self.rest().starts_with(literal);
        if found {
            self.at += literal.len();
        }
        found
    }

    pub(super) fn literal(&mut self, literal: &[u8], what: &'static str) -> Result<(), Mismatch> {
        if self.pass(literal) { Ok(()) } else { self.fail(what) }
    }

    /// The next `len` bytes.
    pub(super) fn take(&mut self, len: usize) -> Text {
        self.at += len;
        Text::line(self.at - len, self.at)
    }

    /// All that is left.
    pub(super) fn take_rest(&mut self) -> Text {
        self.take(self.rest().len())
    }

    /// What stands before the next space or the end; not empty.
    pub(super) fn word(&mut self, what: &'static str) -> Result<Text, Mismatch> {
        match memchr(b' ', self.rest()).unwrap_or(self.rest().len()) {
            0 => self.fail(what),
            len => Ok(self.take(len)),
        }
    }

    /// The digits that stand here; not empty.
    pub(super) fn digits(&mut self, what: &'static str) -> Result<Text, Mismatch> {
        let rest = self.rest();
        match rest.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(rest.len()) {
            0 => self.fail(what),
            len => Ok(self.take(len)),
        }
    }

    /// What stands before the next `byte`, which is passed too.
    pub(super) fn until(&mut self, byte: u8, what: &'static str) -> Result<Text, Mismatch> {
        let Some(len) = memchr(byte, self.rest()) else { return self.fail_at(what, self.line.len()) };
        let text = self.take(len);
        self.at += 1;
        Ok(text)
    }

    /// Passes what has the shape of `shape`: `0` stands for a digit, any other byte for itself.
    pub(super) fn shape(&mut self, shape: &[u8]) -> bool {
        let is_like = |(byte, like): (&u8, &u8)| if *like == b'0' { byte.is_ascii_digit() } else { byte == like };
        let found = self.rest().len() >= shape.len() && self.rest().iter().zip(shape).all(is_like);
        if found {
            self.at += shape.len();
        }
        found
    }
}
