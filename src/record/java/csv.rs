//! `CSVTOJSON`: the pieces between delimiters become fields, as Java's `String.split` finds them. Knows no quotes.

use memchr::memmem::Finder;

use super::{
    Scratch, Verdict,
    object::{FieldNames, Layout, Object},
    pattern::{self, Pattern},
    text,
};
use crate::record::regex::{GivenUp, Regex};

/// The converter and its settings.
#[derive(Clone, Debug)]
pub struct Csv {
    /// `None`: no object with these names can be written, so each record fails.
    object: Option<Object>,
    delimiter: Delimiter,
}

/// What stands between two pieces: a Java pattern.
#[derive(Clone, Debug)]
pub struct Delimiter(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Literal(Box<Finder<'static>>),
    Pattern(Regex),
    /// No pattern at all: each record fails.
    Invalid,
}

impl Delimiter {
    /// Reads a Java pattern. What Java does not accept makes each record fail, as it does there; `None` is its `null`.
    /// The error is a pattern that means something to Java and cannot be had here.
    pub fn new(pattern: Option<&str>) -> Result<Self, pattern::Error> {
        let Some(pattern) = pattern else { return Ok(Self(Kind::Invalid)) };
        let parsed = match Pattern::parse(pattern, pattern::Flags::default()) {
            Err(pattern::Error::Syntax { .. }) => return Ok(Self(Kind::Invalid)),
            parsed => parsed?,
        };
        Ok(Self(match parsed.literal() {
            Some(literal) => Kind::Literal(Box::new(Finder::new(literal.as_bytes()).into_owned())),
            None => Kind::Pattern(parsed.find()?),
        }))
    }

    /// Whether each record fails because of it.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        matches!(self.0, Kind::Invalid)
    }
}

impl Csv {
    /// Names are given to the pieces in order; `None`, Java's `null`, makes each record fail, as it does there.
    #[must_use]
    pub fn new(names: Option<&FieldNames>, delimiter: Delimiter, layout: Layout) -> Self {
        Self { object: names.and_then(|names| Object::new(names, layout)), delimiter }
    }

    pub(super) fn convert(&self, input: &[u8], out: &mut Vec<u8>, scratch: &mut Scratch) -> Verdict {
        let Some(object) = &self.object else { return Verdict::Failed };
        let text = text::without_newline(text::decode(input, &mut scratch.text));
        let mut pieces = Pieces { list: &mut scratch.pieces, most: object.len(), count: 0, kept: 0 };
        if !self.delimiter.split(text, &mut pieces).unwrap_or(false) {
            return Verdict::Failed;
        }
        let pieces = &scratch.pieces;
        object.write(|at| pieces.get(at).copied().flatten().map(|(start, end)| &text[start..end]), out);
        Verdict::Converted
    }
}

/// What is found of a record: the first pieces, and how many there are up to the last that is not empty.
struct Pieces<'s> {
    list: &'s mut Vec<Option<(usize, usize)>>,
    /// How many are of interest.
    most: usize,
    count: usize,
    kept: usize,
}

impl Pieces<'_> {
    fn push(&mut self, start: usize, end: usize) {
        self.count += 1;
        if start < end {
            self.kept = self.count;
        }
        if self.list.len() < self.most {
            self.list.push(Some((start, end)));
        }
    }
}

impl Delimiter {
    /// Finds the pieces of `text`; empty ones at the end are left out. False: there is no delimiter.
    fn split(&self, text: &str, pieces: &mut Pieces<'_>) -> Result<bool, GivenUp> {
        pieces.list.clear();
        let end = match &self.0 {
            Kind::Invalid => return Ok(false),
            Kind::Literal(finder) => {
                let mut from = 0;
                for at in finder.find_iter(text.as_bytes()) {
                    pieces.push(from, at);
                    from = at + finder.needle().len();
                }
                from
            }
            Kind::Pattern(regex) => split_by(regex, text, pieces)?,
        };
        if end == 0 {
            // Nothing was found: the text itself is the one piece, even an empty one.
            pieces.push(0, text.len());
            return Ok(true);
        }
        pieces.push(end, text.len());
        let kept = pieces.kept;
        pieces.list.truncate(kept);
        Ok(true)
    }
}

#[cfg(test)]
impl Delimiter {
    /// All pieces of a text.
    pub(super) fn pieces<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let mut list = Vec::new();
        let mut pieces = Pieces { list: &mut list, most: usize::MAX, count: 0, kept: 0 };
        assert_eq!(self.split(text, &mut pieces), Ok(true));
        list.iter().flatten().map(|&(start, end)| &text[start..end]).collect()
    }
}

/// Pushes the pieces that a match ends, and returns where the last one begins.
fn split_by(regex: &Regex, text: &str, pieces: &mut Pieces<'_>) -> Result<usize, GivenUp> {
    let (mut from, mut search) = (0, 0);
    while let Some((start, end)) = regex.find_at(text, search)? {
        // An empty match at the very beginning makes no empty piece.
        if (from, start, end) != (0, 0, 0) {
            pieces.push(from, start);
            from = end;
        }
        search = end;
        if start == end {
            let Some(next) = text[end..].chars().next() else { break };
            search += next.len_utf8();
        }
    }
    Ok(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_delimiter_is_searched_as_it_is() {
        for plain in [",", "\t", "\\t", "\\|", "||".replace('|', "\\|").as_str(), "ab", "\\Q.\\E", "é"] {
            let delimiter = Delimiter::new(Some(plain)).expect("supported");
            assert!(matches!(delimiter.0, Kind::Literal(_)), "{plain}");
        }
        for pattern in ["", ".", "|", " +", "\\s*,\\s*", "(,)", "[,;]"] {
            let delimiter = Delimiter::new(Some(pattern)).expect("supported");
            assert!(matches!(delimiter.0, Kind::Pattern(_)), "{pattern}");
        }
        for invalid in ["[", "(", "*", "\\"] {
            assert!(Delimiter::new(Some(invalid)).expect("no error").is_invalid(), "{invalid}");
        }
    }

    #[test]
    fn no_more_pieces_are_kept_than_are_named() {
        let delimiter = Delimiter::new(Some(",")).expect("supported");
        let mut list = Vec::new();
        let mut pieces = Pieces { list: &mut list, most: 2, count: 0, kept: 0 };
        assert_eq!(delimiter.split(",,,x,", &mut pieces), Ok(true));
        assert_eq!((pieces.count, pieces.kept), (5, 4));
        assert_eq!(list, [Some((0, 0)), Some((1, 1))]);
    }
}
