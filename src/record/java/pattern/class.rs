//! Java's character classes: `[a-z&&[^b]]`. Knows no groups and no engines.

use super::{
    Error,
    escape::Escape,
    node::{Set, negated, set, union},
    parse::Parser,
};

impl Parser {
    /// Reads a class from its `[` on, or, inside another one, what stands behind `&&`; `consume`: its `]` too.
    pub(super) fn class(&mut self, consume: bool) -> Result<Set, Error> {
        let negative = self.next() == Some('^') && self.raw(self.at - 1) == Some('[');
        self.at += usize::from(negative);
        let mut all: Option<Set> = None;
        loop {
            let item = match self.peek() {
                None => return self.wrong("a class without its `]`"),
                Some(']') if all.is_some() => break,
                Some('[') => self.deeper(|parser| parser.class(true))?,
                Some('&') if self.followed_by_and() => {
                    let right = self.right_of_and()?;
                    all = Some(match all {
                        None => right,
                        Some(mut all) => {
                            all.intersect(&right);
                            all
                        }
                    });
                    continue;
                }
                Some(_) => self.range()?,
            };
            all = Some(match all {
                None => item,
                Some(all) => union(all, &item),
            });
        }
        if consume {
            self.at += 1;
        }
        let all = all.unwrap_or_else(|| set(&[]));
        Ok(if negative { negated(all) } else { all })
    }

    /// Whether the `&` at hand is the first of two; then it is taken.
    fn followed_by_and(&mut self) -> bool {
        let start = self.at;
        let found = self.next() == Some('&');
        if !found {
            self.at = start;
        }
        found
    }

    /// Reads what stands behind `&&`, whose second `&` is at hand, up to the next `&&` or the end of the class.
    fn right_of_and(&mut self) -> Result<Set, Error> {
        self.at += 1;
        let mut right: Option<Set> = None;
        loop {
            let item = match self.peek() {
                // What Java makes of nothing depends on how it happens to store what stands before it.
                Some(']' | '&') => return right.ok_or(Error::Unsupported("`&&` with nothing behind it".to_owned())),
                Some('[') => self.deeper(|parser| parser.class(true))?,
                _ => {
                    self.at -= 1;
                    self.deeper(|parser| parser.class(false))?
                }
            };
            right = Some(match right {
                None => item,
                Some(right) => union(right, &item),
            });
        }
    }

    /// Reads a character, a range of them or an escape that stands for a set.
    fn range(&mut self) -> Result<Set, Error> {
        let start = match self.peek() {
            Some('\\') => match self.class_escape(false)? {
                Ok(code) => code,
                Err(set) => return Ok(set),
            },
            Some(c) => {
                self.at += 1;
                c.into()
            }
            None => return self.wrong("a class without its `]`"),
        };
        let mut end = start;
        if self.peek() == Some('-') && !matches!(self.raw(self.at + 1), Some('[' | ']')) {
            self.at += 1;
            end = match self.peek() {
                Some('\\') => match self.class_escape(true)? {
                    Ok(code) => code,
                    Err(_) => return self.wrong("a range that ends with a set"),
                },
                Some(c) => {
                    self.at += 1;
                    c.into()
                }
                None => return self.wrong("a class without its `]`"),
            };
        }
        if end < start {
            return self.wrong("a range that ends before it begins");
        }
        Ok(self.folded(scalars(start, end)))
    }

    /// The character or the set that the escape at hand stands for.
    fn class_escape(&mut self, ends_range: bool) -> Result<Result<u32, Set>, Error> {
        // `\v` is a set, except where only a character can stand.
        let vertical_tab = self.raw(self.at + 1) == Some('v') && (ends_range || self.raw(self.at + 2) == Some('-'));
        Ok(match self.escape(true)? {
            Escape::Set(_) if vertical_tab => Ok(0x0b),
            Escape::Char(code) => Ok(code),
            Escape::Set(set) => Err(set),
            Escape::Node(_) => return self.wrong("an escape that a class cannot hold"),
        })
    }
}

/// The characters between two code points, halves of pairs left out: no text holds one.
fn scalars(start: u32, end: u32) -> Set {
    let below = |code: u32| char::from_u32(code).unwrap_or('\u{d7ff}');
    let above = |code: u32| char::from_u32(code).unwrap_or('\u{e000}');
    let (start, end) = (above(start), below(end));
    if start <= end { set(&[(start, end)]) } else { set(&[]) }
}
