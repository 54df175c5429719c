//! Java's syntax to nodes: sequences, groups, quantifiers. Knows nothing of our engines.
//! Invariant: it refuses what Java 17 refuses, and ends on every input.

use std::collections::HashMap;

use super::{
    Error, Flags,
    escape::Escape,
    node::{Assert, Kind, Node, Set, negated, set},
    property,
};

/// Deepest nesting of groups and classes.
const DEEPEST: usize = 60;

/// What `(?i)` and its like switch on and off.
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, in Java too")]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Switches {
    pub(super) any_case: bool,
    pub(super) unicode_case: bool,
    pub(super) unicode_classes: bool,
    multi_line: bool,
    dot_all: bool,
    pub(super) unix_lines: bool,
    comments: bool,
}

/// A pattern and how far it is read.
pub(super) struct Parser {
    pub(super) text: Vec<char>,
    pub(super) at: usize,
    pub(super) switches: Switches,
    pub(super) groups: u32,
    pub(super) names: HashMap<String, u32>,
    depth: usize,
}

/// Reads a pattern; says also how many groups capture.
pub(super) fn parse(pattern: &str, flags: Flags) -> Result<(Node, u32), Error> {
    let switches = Switches { multi_line: flags.multi_line, ..Switches::default() };
    let text = without_quotes(pattern);
    let mut parser = Parser { text, at: 0, switches, groups: 0, names: HashMap::new(), depth: 0 };
    let node = parser.alternatives()?;
    match parser.peek() {
        None if parser.at == parser.text.len() => Ok((node, parser.groups)),
        None => parser.wrong("a backslash at the end"),
        Some(_) => parser.wrong("an unmatched `)`"),
    }
}

/// The pattern with what stands between `\Q` and `\E` escaped.
fn without_quotes(pattern: &str) -> Vec<char> {
    let mut out = Vec::with_capacity(pattern.len());
    let mut rest = pattern.chars().peekable();
    let (mut quoted, mut first) = (false, false);
    while let Some(c) = rest.next() {
        match c {
            '\\' if quoted && rest.next_if_eq(&'E').is_some() => quoted = false,
            '\\' if !quoted && rest.next_if_eq(&'Q').is_some() => {
                (quoted, first) = (true, true);
                continue;
            }
            '\\' if !quoted => {
                out.push(c);
                out.extend(rest.next());
            }
            // No part of an escape that stands before the quotes.
            '0'..='9' if quoted && first => out.extend(['\\', 'x', '3', c]),
            _ if quoted && c.is_ascii() && !c.is_ascii_alphanumeric() => out.extend(['\\', c]),
            _ => out.push(c),
        }
        first = false;
    }
    out
}

impl Parser {
    pub(super) fn wrong<T>(&self, what: &'static str) -> Result<T, Error> {
        Err(Error::Syntax { what, near: self.at.min(self.text.len()) + 1 })
    }

    pub(super) fn unsupported<T>(what: &str) -> Result<T, Error> {
        Err(Error::Unsupported(what.to_owned()))
    }

    /// The character at `at`, comments not skipped.
    pub(super) fn raw(&self, at: usize) -> Option<char> {
        self.text.get(at).copied()
    }

    /// The character at hand; moves over blanks and comments where they mean nothing.
    pub(super) fn peek(&mut self) -> Option<char> {
        while self.switches.comments {
            match self.raw(self.at) {
                Some(' ' | '\t'..='\r') => self.at += 1,
                Some('#') => {
                    let unix = self.switches.unix_lines;
                    let ends = |c: &char| if unix { *c == '\n' } else { LINE_ENDS.contains(c) };
                    self.at += self.text[self.at..].iter().position(ends).unwrap_or(self.text.len() - self.at);
                }
                _ => break,
            }
        }
        self.raw(self.at)
    }

    /// Takes the character at hand.
    pub(super) fn read(&mut self) -> Option<char> {
        let c = self.peek();
        self.at += 1;
        c
    }

    /// Moves on, and looks at the next character.
    pub(super) fn next(&mut self) -> Option<char> {
        self.at += 1;
        self.peek()
    }

    /// Runs `inner` one level deeper.
    pub(super) fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth == DEEPEST {
            return Self::unsupported("groups nested too deeply");
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn alternatives(&mut self) -> Result<Node, Error> {
        let mut list = vec![self.sequence()?];
        while self.peek() == Some('|') {
            self.at += 1;
            list.push(self.sequence()?);
        }
        let only = if list.len() == 1 { list.pop() } else { None };
        Ok(only.unwrap_or(Node::Alternate(list)))
    }

    fn sequence(&mut self) -> Result<Node, Error> {
        let mut list = Vec::new();
        while let Some(c) = self.peek() {
            let node = match c {
                '|' | ')' => break,
                '?' | '*' | '+' => return self.wrong("a quantifier with nothing before it"),
                '(' => match self.deeper(Self::group)? {
                    Some(node) => node,
                    None => continue,
                },
                '[' => Node::Set(self.deeper(|parser| parser.class(true))?),
                '^' if self.switches.multi_line => self.assert(Assert::LineStart { unix: self.switches.unix_lines }),
                '^' => self.assert(Assert::Start),
                '$' if self.switches.multi_line => self.assert(Assert::LineEnd { unix: self.switches.unix_lines }),
                '$' => self.assert(Assert::LastEnd { unix: self.switches.unix_lines }),
                '.' => {
                    self.at += 1;
                    Node::Set(self.dot())
                }
                '\\' => match self.escape(false)? {
                    Escape::Char(code) => self.literal(code),
                    Escape::Set(set) => Node::Set(set),
                    Escape::Node(node) => node,
                },
                // Java repeats the nothing that stands between two quantifiers.
                '{' => Node::Empty,
                _ => {
                    self.at += 1;
                    self.literal(c.into())
                }
            };
            list.push(self.quantified(node)?);
        }
        let only = if list.len() == 1 { list.pop() } else { None };
        Ok(only.unwrap_or(if list.is_empty() { Node::Empty } else { Node::Concat(list) }))
    }

    fn assert(&mut self, assert: Assert) -> Node {
        self.at += 1;
        Node::Assert(assert)
    }

    fn dot(&self) -> Set {
        let ends: &[char] = match (self.switches.dot_all, self.switches.unix_lines) {
            (true, _) => &[],
            (false, true) => &['\n'],
            (false, false) => &LINE_ENDS,
        };
        negated(set(&ends.iter().map(|&c| (c, c)).collect::<Vec<_>>()))
    }

    /// One character, or what it matches in any case.
    fn literal(&self, code: u32) -> Node {
        let Some(c) = char::from_u32(code) else { return Node::Set(set(&[])) };
        if self.switches.any_case { Node::Set(self.folded(set(&[(c, c)]))) } else { Node::Char(c) }
    }

    /// A set and, where cases do not count, the same characters in other cases.
    pub(super) fn folded(&self, set: Set) -> Set {
        match (self.switches.any_case, self.switches.unicode_case) {
            (false, _) => set,
            (true, false) => property::fold_ascii(set),
            (true, true) => property::fold(set),
        }
    }

    fn quantified(&mut self, node: Node) -> Result<Node, Error> {
        let (min, max) = match self.peek() {
            Some('?') => (0, Some(1)),
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('{') => self.counts()?,
            _ => return Ok(node),
        };
        let kind = match self.next() {
            Some('?') => Kind::Lazy,
            Some('+') => Kind::Possessive,
            _ => Kind::Greedy,
        };
        if kind != Kind::Greedy {
            self.at += 1;
        }
        Ok(match node {
            Node::Empty => Node::Empty,
            node => Node::Repeat { node: Box::new(node), min, max, kind },
        })
    }

    /// Reads `{2}`, `{2,}` or `{2,3}` up to its last brace.
    fn counts(&mut self) -> Result<(u32, Option<u32>), Error> {
        self.at += 1;
        if !self.raw(self.at).is_some_and(|c| c.is_ascii_digit()) {
            return self.wrong("a `{` that begins no repetition");
        }
        let min = self.count()?;
        let mut max = Some(min);
        if self.peek() == Some(',') {
            self.at += 1;
            max = if self.peek() == Some('}') { None } else { Some(self.count()?) };
        }
        if self.peek() != Some('}') {
            return self.wrong("a repetition without its `}`");
        }
        if max.is_some_and(|max| max < min) {
            return self.wrong("a repetition whose most is below its least");
        }
        Ok((min, max))
    }

    fn count(&mut self) -> Result<u32, Error> {
        let mut count = 0u32;
        while let Some(digit) = self.peek().filter(char::is_ascii_digit).and_then(|c| c.to_digit(10)) {
            self.at += 1;
            match count.checked_mul(10).and_then(|n| n.checked_add(digit)).filter(|&n| n <= i32::MAX.unsigned_abs()) {
                Some(next) => count = next,
                None => return self.wrong("a repetition too large"),
            }
        }
        Ok(count)
    }

    /// Reads a group and what repeats it. `None`: it only sets switches.
    fn group(&mut self) -> Result<Option<Node>, Error> {
        let before = self.switches;
        let node = if self.next() == Some('?') {
            let kind = self.raw(self.at + 1);
            self.at += 2;
            match kind {
                Some(':') => self.alternatives()?,
                Some('=') => Node::Look { ahead: true, negative: false, node: Box::new(self.alternatives()?) },
                Some('!') => Node::Look { ahead: true, negative: true, node: Box::new(self.alternatives()?) },
                Some('>') => Node::Atomic(Box::new(self.alternatives()?)),
                Some('<') => self.behind_or_named()?,
                _ => {
                    self.at -= 1;
                    self.switch()?;
                    match self.read() {
                        Some(')') => return Ok(None),
                        Some(':') => self.alternatives()?,
                        _ => return self.wrong("an unknown kind of group"),
                    }
                }
            }
        } else {
            self.captured()?
        };
        if self.read() != Some(')') {
            return self.wrong("a group without its `)`");
        }
        self.switches = before;
        Ok(Some(node))
    }

    fn captured(&mut self) -> Result<Node, Error> {
        self.groups += 1;
        Ok(Node::Group(Box::new(self.alternatives()?)))
    }

    fn behind_or_named(&mut self) -> Result<Node, Error> {
        let c = self.read();
        if matches!(c, Some('=' | '!')) {
            let node = self.alternatives()?;
            if node.width().1.is_none() {
                // Java accepts some of them by mistake, and then they match what nobody can foresee.
                return Self::unsupported("a look-behind without a longest match");
            }
            return Ok(Node::Look { ahead: false, negative: c == Some('!'), node: Box::new(node) });
        }
        let name = self.name(c)?;
        if self.names.insert(name, self.groups + 1).is_some() {
            return self.wrong("two groups of one name");
        }
        self.captured()
    }

    /// The name of a group that begins with `first`, up to its `>`.
    pub(super) fn name(&mut self, first: Option<char>) -> Result<String, Error> {
        let mut name = String::new();
        let mut c = first;
        if !c.is_some_and(|c| c.is_ascii_alphabetic()) {
            return self.wrong("a group's name that begins with no letter");
        }
        while let Some(letter) = c.filter(char::is_ascii_alphanumeric) {
            name.push(letter);
            c = self.read();
        }
        if c == Some('>') { Ok(name) } else { self.wrong("a group's name without its `>`") }
    }

    /// Reads letters that switch, those behind `-` off.
    fn switch(&mut self) -> Result<(), Error> {
        let mut on = true;
        loop {
            let c = self.peek();
            let switches = &mut self.switches;
            match c {
                Some('i') => switches.any_case = on,
                Some('m') => switches.multi_line = on,
                Some('s') => switches.dot_all = on,
                Some('d') => switches.unix_lines = on,
                Some('u') => switches.unicode_case = on,
                Some('x') => switches.comments = on,
                Some('U') => (switches.unicode_classes, switches.unicode_case) = (on, on),
                Some('c') if on => return Self::unsupported("`(?c)`, canonical equivalence"),
                Some('c') => {}
                Some('-') if on => on = false,
                _ => return Ok(()),
            }
            self.at += 1;
        }
    }
}

/// What ends a line.
const LINE_ENDS: [char; 5] = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
