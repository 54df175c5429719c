//! What a pattern is made of, after reading. Knows no syntax, neither Java's nor that of our engines.

use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

/// Characters, of which one is matched. Folding of cases is done already.
pub(super) type Set = ClassUnicode;

/// A pattern or a part of one.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Empty,
    Char(char),
    Set(Set),
    Assert(Assert),
    /// A group that captures. They are numbered in the order in which they begin.
    Group(Box<Node>),
    Concat(Vec<Node>),
    Alternate(Vec<Node>),
    Repeat {
        node: Box<Node>,
        min: u32,
        max: Option<u32>,
        kind: Kind,
    },
    Look {
        ahead: bool,
        negative: bool,
        node: Box<Node>,
    },
    /// What it matched first, it keeps.
    Atomic(Box<Node>),
    /// What a group captured.
    Reference {
        group: u32,
        any_case: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Greedy,
    Lazy,
    Possessive,
}

/// A condition that consumes nothing. `unix`: only a newline ends a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Assert {
    Start,
    End,
    /// The end, or before a line end that is the last.
    LastEnd {
        unix: bool,
    },
    LineStart {
        unix: bool,
    },
    LineEnd {
        unix: bool,
    },
    WordBoundary,
    NoWordBoundary,
    /// Where the last match ended.
    LastMatch,
}

/// A set of these characters, given as ranges, ends included.
pub(super) fn set(ranges: &[(char, char)]) -> Set {
    Set::new(ranges.iter().map(|&(start, end)| ClassUnicodeRange::new(start, end)))
}

/// All characters but those of `set`.
pub(super) fn negated(mut set: Set) -> Set {
    set.negate();
    set
}

pub(super) fn union(mut set: Set, other: &Set) -> Set {
    set.union(other);
    set
}

impl Node {
    /// The fewest and the most characters it matches; `None`: there is no most.
    pub(super) fn width(&self) -> (usize, Option<usize>) {
        match self {
            Self::Empty | Self::Assert(_) | Self::Look { .. } => (0, Some(0)),
            Self::Char(_) | Self::Set(_) => (1, Some(1)),
            Self::Group(node) | Self::Atomic(node) => node.width(),
            Self::Concat(nodes) => widths(nodes),
            Self::Alternate(nodes) => {
                let of = nodes.iter().map(Self::width);
                let join = |a: (usize, Option<usize>), b: (usize, Option<usize>)| {
                    (a.0.min(b.0), a.1.zip(b.1).map(|(a, b)| a.max(b)))
                };
                of.reduce(join).unwrap_or((0, Some(0)))
            }
            Self::Repeat { node, min, max, .. } => {
                let (least, most) = node.width();
                let times = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
                let most = match (most, max) {
                    (Some(0), _) => Some(0),
                    (Some(most), Some(max)) => Some(most.saturating_mul(times(*max))),
                    _ => None,
                };
                (least.saturating_mul(times(*min)), most)
            }
            Self::Reference { .. } => (0, None),
        }
    }

    /// Whether it matches nothing but the place where it stands.
    pub(super) fn is_zero_width(&self) -> bool {
        self.width().1 == Some(0)
    }

    pub(super) fn captures(&self) -> bool {
        match self {
            Self::Group(_) => true,
            Self::Concat(nodes) | Self::Alternate(nodes) => nodes.iter().any(Self::captures),
            Self::Repeat { node, .. } | Self::Look { node, .. } | Self::Atomic(node) => node.captures(),
            Self::Empty | Self::Char(_) | Self::Set(_) | Self::Assert(_) | Self::Reference { .. } => false,
        }
    }

    /// The characters that a match, if it is not empty, may begin with. `None`: it may be empty, or nobody knows.
    pub(super) fn first(&self) -> Option<Set> {
        match self {
            Self::Char(c) => Some(set(&[(*c, *c)])),
            Self::Set(set) => Some(set.clone()),
            Self::Group(node) | Self::Atomic(node) | Self::Repeat { node, min: 1.., .. } => node.first(),
            Self::Concat(nodes) => nodes.iter().find(|node| !node.is_zero_width())?.first(),
            Self::Alternate(nodes) => {
                let mut all = set(&[]);
                for node in nodes {
                    all.union(&node.first()?);
                }
                Some(all)
            }
            _ => None,
        }
    }
}

/// The width of nodes one after the other.
pub(super) fn widths(nodes: &[Node]) -> (usize, Option<usize>) {
    nodes.iter().map(Node::width).fold((0, Some(0)), |sum, width| {
        (sum.0.saturating_add(width.0), sum.1.zip(width.1).map(|(a, b)| a.saturating_add(b)))
    })
}
