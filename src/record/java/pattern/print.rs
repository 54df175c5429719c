//! Nodes to the syntax of our engines: for the linear one where it can say it, else for the one that backtracks.
//! Knows nothing of Java's syntax. Invariant: what is printed leans on no switch of the engine.

use std::fmt::Write as _;

use super::{
    Error,
    node::{Assert, Kind, Node, Set},
};

/// How a pattern is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Use {
    /// It matches the whole text.
    Matches,
    /// It matches at the beginning of the text; where a match ends is not asked.
    LookingAt,
    /// It matches somewhere, and where is asked.
    Find,
}

/// What surrounds a node.
#[derive(Clone, Copy, Debug)]
struct Around {
    /// Nothing is consumed before it.
    first: bool,
    /// Nothing is consumed behind it.
    last: bool,
    /// At least so many characters are matched behind it.
    behind: usize,
}

/// No characters.
const NOTHING: &str = r"[^\x{0}-\x{10FFFF}]";

struct Printer {
    out: String,
    usage: Use,
    groups: u32,
    /// Only what the linear engine knows may be written.
    linear: bool,
}

/// The linear engine cannot say it, or none can.
enum Fault {
    NotLinear,
    Error(Error),
}

type Printed = Result<(), Fault>;

/// Writes a pattern for one of our engines.
pub(super) fn print(node: &Node, groups: u32, usage: Use) -> Result<String, Error> {
    for linear in [true, false] {
        let mut printer = Printer { out: String::new(), usage, groups, linear };
        match printer.whole(node) {
            Ok(()) => return Ok(printer.out),
            Err(Fault::NotLinear) => {}
            Err(Fault::Error(error)) => return Err(error),
        }
    }
    Err(Error::Unsupported("a construct that no engine has".to_owned()))
}

impl Printer {
    fn push(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// Passes on only for the engine that backtracks.
    fn not_linear(&self) -> Printed {
        if self.linear { Err(Fault::NotLinear) } else { Ok(()) }
    }

    fn whole(&mut self, node: &Node) -> Printed {
        let (before, after) = match self.usage {
            Use::Matches => (r"\A(?:", r")\z"),
            Use::LookingAt => (r"\A(?:", ")"),
            Use::Find => ("(?:", ")"),
        };
        self.push(before);
        self.node(node, Around { first: true, last: true, behind: 0 })?;
        self.push(after);
        Ok(())
    }

    fn node(&mut self, node: &Node, around: Around) -> Printed {
        match node {
            Node::Empty => self.push("(?:)"),
            Node::Char(c) => self.char(*c),
            Node::Set(set) => self.set(set),
            Node::Assert(assert) => return self.assert(*assert, around),
            Node::Group(node) => {
                self.push("(");
                self.node(node, around)?;
                self.push(")");
            }
            Node::Concat(nodes) => return self.concat(nodes, around),
            Node::Alternate(nodes) => {
                self.push("(?:");
                for (at, node) in nodes.iter().enumerate() {
                    if at > 0 {
                        self.push("|");
                    }
                    self.node(node, around)?;
                }
                self.push(")");
            }
            Node::Repeat { .. } => return self.repeat(node, around, &[]),
            Node::Look { ahead, negative, node } => {
                self.not_linear()?;
                self.push(match (ahead, negative) {
                    (true, false) => "(?=",
                    (true, true) => "(?!",
                    (false, false) => "(?<=",
                    (false, true) => "(?<!",
                });
                self.node(node, Around { first: false, last: false, behind: 0 })?;
                self.push(")");
            }
            Node::Atomic(node) => {
                self.not_linear()?;
                self.push("(?>");
                self.node(node, Around { last: false, behind: 0, ..around })?;
                self.push(")");
            }
            Node::Reference { group, any_case } => return self.reference(*group, *any_case),
        }
        Ok(())
    }

    fn concat(&mut self, nodes: &[Node], around: Around) -> Printed {
        // Seen from each node: what the nodes behind it match at fewest, and whether they consume anything.
        let mut behind = vec![(around.behind, around.last)];
        for node in nodes.iter().skip(1).rev() {
            let (fewest, last) = behind[behind.len() - 1];
            // Where the end of a line is taken along, nothing may be left to look at it.
            let last = last && self.usage == Use::Matches && node.is_zero_width();
            behind.push((fewest.saturating_add(node.width().0), last));
        }
        let mut first = around.first;
        for (at, node) in nodes.iter().enumerate() {
            let (fewest, last) = behind[nodes.len() - 1 - at];
            let here = Around { first, last, behind: fewest };
            match node {
                Node::Repeat { .. } => self.repeat(node, here, &nodes[at + 1..])?,
                _ => self.node(node, here)?,
            }
            first = first && node.is_zero_width();
        }
        Ok(())
    }

    /// A repetition, which `rest` of the same sequence follows.
    fn repeat(&mut self, repeat: &Node, around: Around, rest: &[Node]) -> Printed {
        let Node::Repeat { node, min, max, kind } = repeat else { return self.node(repeat, around) };
        let inner = if *max == Some(1) { around } else { Around { first: false, last: false, ..around } };
        if *max == Some(0) {
            return self.never(node, inner);
        }
        if node.is_zero_width() {
            // Once says as much as often.
            return match (min, node.captures()) {
                (0, false) => Ok(()),
                (0, true) => self.perhaps(node, around, *kind),
                _ => self.node(node, around),
            };
        }
        let atomic = *kind == Kind::Possessive && !keeps_anyway(node, around.last && self.usage == Use::Matches, rest);
        if atomic {
            self.not_linear()?;
            self.push("(?>");
        }
        match **node {
            Node::Char(_) | Node::Set(_) => self.node(node, inner)?,
            _ => {
                // Java does not look for other matches of what was repeated, either.
                self.push(if atomic { "(?>" } else { "(?:" });
                self.node(node, if atomic { Around { last: false, behind: 0, ..inner } } else { inner })?;
                self.push(")");
            }
        }
        match (min, max) {
            (0, Some(1)) => self.push("?"),
            (0, None) => self.push("*"),
            (1, None) => self.push("+"),
            (min, None) => self.write(format_args!("{{{min},}}")),
            (min, Some(max)) => self.write(format_args!("{{{min},{max}}}")),
        }
        if *kind == Kind::Lazy {
            self.push("?");
        }
        if atomic {
            self.push(")");
        }
        Ok(())
    }

    /// A node that is repeated no time: nothing, but its groups count.
    fn never(&mut self, node: &Node, around: Around) -> Printed {
        if node.captures() {
            self.push("(?:|");
            self.push(NOTHING);
            self.node(node, Around { last: false, ..around })?;
            self.push(")");
        }
        Ok(())
    }

    /// A node or nothing; for what engines do not repeat.
    fn perhaps(&mut self, node: &Node, around: Around, kind: Kind) -> Printed {
        self.push(if kind == Kind::Lazy { "(?:|" } else { "(?:" });
        self.node(node, around)?;
        self.push(if kind == Kind::Lazy { ")" } else { "|)" });
        Ok(())
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.out.write_fmt(text).expect("a String takes every write");
    }

    fn char(&mut self, c: char) {
        if c.is_ascii_alphanumeric() || c == ' ' {
            self.out.push(c);
        } else {
            self.write(format_args!("\\x{{{:X}}}", u32::from(c)));
        }
    }

    fn set(&mut self, set: &Set) {
        if set.ranges().is_empty() {
            return self.push(NOTHING);
        }
        self.push("[");
        for range in set.ranges() {
            self.write(format_args!("\\x{{{:X}}}", u32::from(range.start())));
            if range.start() < range.end() {
                self.write(format_args!("-\\x{{{:X}}}", u32::from(range.end())));
            }
        }
        self.push("]");
    }

    fn reference(&mut self, group: u32, any_case: bool) -> Printed {
        if group > self.groups {
            self.push(NOTHING);
            return Ok(());
        }
        self.not_linear()?;
        self.write(format_args!("(?{}:\\{group})", if any_case { "i" } else { "" }));
        Ok(())
    }

    fn assert(&mut self, assert: Assert, around: Around) -> Printed {
        let text = match assert {
            Assert::End => r"\z",
            Assert::WordBoundary => r"\b",
            Assert::NoWordBoundary => r"\B",
            Assert::LastMatch if self.usage == Use::Find => {
                return Err(Fault::Error(Error::Unsupported("`\\G`".to_owned())));
            }
            Assert::Start | Assert::LastMatch => r"\A",
            Assert::LastEnd { unix } => self.last_end(unix, around)?,
            Assert::LineStart { unix } => self.line_start(unix, around)?,
            Assert::LineEnd { unix } => self.line_end(unix, around)?,
        };
        self.push(text);
        Ok(())
    }

    fn last_end(&self, unix: bool, around: Around) -> Result<&'static str, Fault> {
        match (self.usage, around.last) {
            (Use::Matches, true) => return Ok(r"\z"),
            // Nobody asks where the match ends, so it may take the line end with it.
            (Use::LookingAt, true) if unix => return Ok(r"\n?\z"),
            (Use::LookingAt, true) => {
                return Ok(r"(?:(?mR:$)(?:\r\n|[\n\r])?|[\x{85}\x{2028}\x{2029}])\z");
            }
            _ => self.not_linear()?,
        }
        Ok(if unix { r"(?=\n?\z)" } else { r"(?:\z|(?=\r\n\z|[\r\x{85}\x{2028}\x{2029}]\z)|(?<!\r)(?=\n\z))" })
    }

    fn line_start(&self, unix: bool, around: Around) -> Result<&'static str, Fault> {
        let anchored = self.usage != Use::Find && around.first;
        // Java's does not match at the end of the text: not even where the text is empty.
        match (around.behind > 0, anchored, unix) {
            (true, true, _) => Ok(r"\A"),
            (true, false, true) => Ok("(?m:^)"),
            _ => {
                self.not_linear()?;
                Ok(if unix {
                    r"(?!\z)(?:\A|(?<=\n))"
                } else {
                    r"(?!\z)(?:\A|(?<=[\n\x{85}\x{2028}\x{2029}])|(?<=\r)(?!\n))"
                })
            }
        }
    }

    fn line_end(&self, unix: bool, around: Around) -> Result<&'static str, Fault> {
        match (self.usage, around.last, unix) {
            (Use::Matches, true, _) => Ok(r"\z"),
            (Use::LookingAt, true, false) => Ok(r"(?:(?mR:$)|[\x{85}\x{2028}\x{2029}])"),
            (_, _, true) if self.linear => Ok("(?m:$)"),
            (_, _, true) => Ok(r"(?=\n|\z)"),
            _ => {
                self.not_linear()?;
                Ok(r"(?:(?=[\r\x{85}\x{2028}\x{2029}]|\z)|(?<!\r)(?=\n))")
            }
        }
    }
}

/// Whether a greedy repetition of `node` never gives back what it took, so that it need not be told so.
fn keeps_anyway(node: &Node, ends_text: bool, rest: &[Node]) -> bool {
    let (Node::Char(_) | Node::Set(_)) = node else { return false };
    let Some(mut taken) = node.first() else { return false };
    let next = rest.iter().find(|node| !node.is_zero_width());
    match next.map(Node::first) {
        None => ends_text && rest.is_empty(),
        Some(None) => false,
        Some(Some(next)) => {
            taken.intersect(&next);
            taken.ranges().is_empty()
        }
    }
}
