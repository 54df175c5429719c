//! Java's escapes: characters, sets, places, references. Knows no groups and no engines.

use super::{
    Error,
    node::{Assert, Node, Set, negated, set},
    parse::Parser,
    property,
};

/// What an escape stands for.
pub(super) enum Escape {
    Char(u32),
    Set(Set),
    Node(Node),
}

impl Parser {
    /// Reads the escape at hand. In a class, what is no character and no set is refused.
    pub(super) fn escape(&mut self, in_class: bool) -> Result<Escape, Error> {
        let Some(c) = self.raw(self.at + 1) else {
            self.at = self.text.len() + 1;
            return self.wrong("a backslash at the end");
        };
        self.at += 2;
        let unix = self.switches.unix_lines;
        let node = match c {
            'p' | 'P' => return Ok(Escape::Set(self.family(c == 'P')?)),
            '0' => return Ok(Escape::Char(self.octal()?)),
            'x' => return Ok(Escape::Char(self.hexadecimal()?)),
            'u' => return Ok(Escape::Char(self.unicode()?)),
            'c' if self.at < self.text.len() => return Ok(Escape::Char(self.read().map_or(0, u32::from) ^ 64)),
            'N' => return Self::unsupported("`\\N{...}`"),
            'a' | 'e' | 'f' | 'n' | 'r' | 't' => return Ok(Escape::Char(control(c))),
            _ if !c.is_ascii_alphanumeric() => return Ok(Escape::Char(c.into())),
            _ => match property::predefined(c, self.switches.unicode_classes) {
                Some(set) => return Ok(Escape::Set(set)),
                None if in_class => return self.wrong("an escape that a class cannot hold"),
                None => match c {
                    'A' => Node::Assert(Assert::Start),
                    'z' => Node::Assert(Assert::End),
                    'Z' => Node::Assert(Assert::LastEnd { unix }),
                    'b' if self.peek() == Some('{') => return Self::unsupported("`\\b{...}`"),
                    'b' => Node::Assert(Assert::WordBoundary),
                    'B' => Node::Assert(Assert::NoWordBoundary),
                    'G' => Node::Assert(Assert::LastMatch),
                    // What repeats it does not look for its other matches.
                    'R' if matches!(self.peek(), Some('?' | '*' | '+' | '{')) => Node::Atomic(Box::new(line_break())),
                    'R' => line_break(),
                    'X' => return Self::unsupported("`\\X`"),
                    'k' => self.named_reference()?,
                    '1'..='9' => self.reference(c),
                    _ => return self.wrong("an unknown escape"),
                },
            },
        };
        Ok(Escape::Node(node))
    }

    fn octal(&mut self) -> Result<u32, Error> {
        let digit = |c: Option<char>| c.and_then(|c| c.to_digit(8));
        let Some(first) = digit(self.read()) else { return self.wrong("a `\\0` without octal digits") };
        let mut code = first;
        for most in [7, 3] {
            match digit(self.peek()) {
                Some(next) if first <= most => {
                    self.at += 1;
                    code = code * 8 + next;
                }
                _ => break,
            }
        }
        Ok(code)
    }

    fn hexadecimal(&mut self) -> Result<u32, Error> {
        let digit = |c: Option<char>| c.and_then(|c| c.to_digit(16));
        let first = self.read();
        if let Some(high) = digit(first) {
            let low = digit(self.read());
            return low.map_or_else(|| self.wrong("a `\\x` without two digits"), |low| Ok(high * 16 + low));
        }
        if first != Some('{') || digit(self.peek()).is_none() {
            return self.wrong("a `\\x` without digits");
        }
        let mut code = 0;
        while let Some(next) = digit(self.peek()) {
            self.at += 1;
            code = code * 16 + next;
            if code > u32::from(char::MAX) {
                return self.wrong("a number that is no character");
            }
        }
        if self.read() == Some('}') { Ok(code) } else { self.wrong("a `\\x{` without its `}`") }
    }

    /// Reads the digits of a `\uXXXX`, and a second one that makes a pair with it.
    fn unicode(&mut self) -> Result<u32, Error> {
        let high = self.unit()?;
        let after = self.at;
        if (0xd800..0xdc00).contains(&high) && self.read() == Some('\\') && self.read() == Some('u') {
            let low = self.unit()?;
            if (0xdc00..0xe000).contains(&low) {
                return Ok(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00));
            }
        }
        self.at = after;
        Ok(high)
    }

    fn unit(&mut self) -> Result<u32, Error> {
        let mut code = 0;
        for _ in 0..4 {
            let Some(digit) = self.read().and_then(|c| c.to_digit(16)) else {
                return self.wrong("a `\\u` without four digits");
            };
            code = code * 16 + digit;
        }
        Ok(code)
    }

    fn named_reference(&mut self) -> Result<Node, Error> {
        if self.read() != Some('<') {
            return self.wrong("a `\\k` without a name");
        }
        let first = self.read();
        let name = self.name(first)?;
        let Some(&group) = self.names.get(&name) else { return self.wrong("a name that no group before it has") };
        Ok(Node::Reference { group, any_case: self.switches.any_case })
    }

    /// As many digits as name a group that has begun; the first in any case.
    fn reference(&mut self, first: char) -> Node {
        let mut group = first.to_digit(10).unwrap_or_default();
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            let longer = group * 10 + digit;
            if longer > self.groups {
                break;
            }
            group = longer;
            self.at += 1;
        }
        Node::Reference { group, any_case: self.switches.any_case }
    }

    /// Reads what `\p` or `\P` is followed by.
    fn family(&mut self, complement: bool) -> Result<Set, Error> {
        let name: String = if self.peek() == Some('{') {
            let start = self.at + 1;
            let Some(len) = self.text[start.min(self.text.len())..].iter().position(|&c| c == '}') else {
                return self.wrong("a `\\p{` without its `}`");
            };
            self.at = start + len + 1;
            self.text[start..start + len].iter().collect()
        } else {
            self.read().into_iter().collect()
        };
        let found = property::family(&name, self.switches)?;
        let Some(set) = found else { return self.wrong("a property that is not known") };
        Ok(if complement { negated(set) } else { set })
    }
}

fn control(c: char) -> u32 {
    match c {
        'a' => 0x07,
        'e' => 0x1b,
        'f' => 0x0c,
        'n' => 0x0a,
        'r' => 0x0d,
        _ => 0x09,
    }
}

/// `\R`.
fn line_break() -> Node {
    let single = set(&[('\n', '\r'), ('\u{85}', '\u{85}'), ('\u{2028}', '\u{2029}')]);
    Node::Alternate(vec![Node::Concat(vec![Node::Char('\r'), Node::Char('\n')]), Node::Set(single)])
}
