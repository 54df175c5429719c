//! YAML text to a small tree in which every key and value knows its place. Knows nothing of what keys mean.
//! Invariant: the tree is bounded in depth and size, whatever the text says, aliases included.

use std::{collections::HashMap, collections::HashSet, iter::Peekable, rc::Rc};

use serde_yaml::granit_parser::{self as yaml, Event, Parser, ScalarStyle, StrInput};

use super::{problem::Location, yaml_error};

/// Deepest nesting; our own settings need eight.
pub(super) const MAX_DEPTH: usize = 32;
/// Most values and characters after aliases are filled in: four times what a file of the largest size can hold itself.
const MAX_WEIGHT: usize = 4 << 20;

/// A value with its place.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) at: Location,
    /// A single value without quotes, whose text therefore says what type it is.
    pub(super) plain: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    /// In the order written; may hold a key twice.
    Map(Rc<[(Key, Node)]>),
    Seq(Rc<[Node]>),
    Scalar(Rc<str>),
    Null,
}

impl Node {
    /// Appends what is written, without places, comments and styles: equal texts mean the same, but for what only quotes
    /// tell apart.
    pub(super) fn write(&self, out: &mut String) {
        self.write_with(out, false);
    }

    /// The same, and which values stand in quotes: equal texts mean the same.
    pub(super) fn write_exactly(&self, out: &mut String) {
        self.write_with(out, true);
    }

    fn write_with(&self, out: &mut String, quotes: bool) {
        match &self.kind {
            Kind::Map(entries) => {
                out.push('{');
                for (key, value) in entries.iter() {
                    out.push_str(&key.name);
                    out.push('\0');
                    value.write_with(out, quotes);
                }
                out.push('}');
            }
            Kind::Seq(items) => {
                out.push('[');
                for item in items.iter() {
                    item.write_with(out, quotes);
                }
                out.push(']');
            }
            Kind::Scalar(text) => {
                if quotes && !self.plain {
                    out.push('"');
                }
                out.push_str(text);
            }
            Kind::Null => out.extend(quotes.then_some('~')),
        }
        out.push('\0');
    }
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: Rc<str>,
    pub(super) at: Location,
}

/// Why the text is no tree. There is only ever one: nothing after it can be trusted.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) at: Location,
    pub(super) text: String,
}

/// Reads one YAML document. An empty text is `Null`.
pub(super) fn parse(text: &str) -> Result<Node, Fault> {
    let options = yaml::options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut builder = Builder {
        text,
        events: Parser::new_from_str_with_options(text, options).peekable(),
        anchors: HashMap::new(),
        weight: 0,
    };
    builder.document()
}

/// A finished node that an alias may name, with what filling it in costs.
struct Anchored {
    node: Node,
    size: Size,
}

#[derive(Clone, Copy, Default)]
struct Size {
    weight: usize,
    height: usize,
}

struct Builder<'t> {
    text: &'t str,
    events: Peekable<Parser<'t, StrInput<'t>>>,
    anchors: HashMap<usize, Anchored>,
    weight: usize,
}

impl<'t> Builder<'t> {
    fn document(&mut self) -> Result<Node, Fault> {
        let mut root = None;
        loop {
            let (event, at) = self.next()?;
            match event {
                Event::StreamEnd => break,
                Event::DocumentStart(..) if root.is_some() => {
                    let text = "a second YAML document begins here; a file holds one, so remove the `---`";
                    return Err(Fault { at, text: text.to_owned() });
                }
                Event::DocumentStart(..) => {
                    let (event, at) = self.next()?;
                    root = Some(self.node(event, at, 0)?.0);
                }
                _ => {}
            }
        }
        Ok(root.unwrap_or(Node { kind: Kind::Null, at: Location { line: 1, column: 1 }, plain: false }))
    }

    fn next(&mut self) -> Result<(Event<'t>, Location), Fault> {
        match self.events.next() {
            Some(Ok((event, span))) => Ok((event, location(&span.start))),
            Some(Err(error)) => Err(yaml_error::explain(&error, self.text)),
            None => Ok((Event::StreamEnd, Location { line: 1, column: 1 })),
        }
    }

    /// Builds the node that begins with `event`, and says how large and deep it is.
    fn node(&mut self, event: Event<'t>, at: Location, depth: usize) -> Result<(Node, Size), Fault> {
        let fault = |text: &str| Err(Fault { at, text: text.to_owned() });
        if depth > MAX_DEPTH {
            return fault(yaml_error::TOO_DEEP);
        }
        let mut plain = false;
        let (kind, anchor, mut size) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let tag = Tag::read(tag.as_deref(), at)?;
                plain = style == ScalarStyle::Plain && tag != Tag::Str;
                let null = tag == Tag::Null || plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL");
                let size = Size { weight: text.len(), height: 0 };
                (if null { Kind::Null } else { Kind::Scalar(Rc::from(&*text)) }, anchor, size)
            }
            Event::SequenceStart(_, anchor, tag) => {
                Tag::read(tag.as_deref(), at)?;
                let (items, size) = self.items(depth)?;
                (Kind::Seq(items.into()), anchor, size)
            }
            Event::MappingStart(_, anchor, tag) => {
                Tag::read(tag.as_deref(), at)?;
                let (entries, size) = self.entries(depth)?;
                (Kind::Map(entries.into()), anchor, size)
            }
            Event::Alias(id) => return self.alias(id, at, depth),
            _ => return fault("not valid YAML: a value was expected here"),
        };
        size.weight += 16;
        self.spend(16, at)?;
        if let Kind::Scalar(text) = &kind {
            self.spend(text.len(), at)?;
        }
        let node = Node { kind, at, plain };
        if anchor != 0 {
            self.anchors.insert(anchor, Anchored { node: node.clone(), size });
        }
        Ok((node, size))
    }

    /// Counts what is added to the tree; an alias costs as much as what it stands for.
    fn spend(&mut self, weight: usize, at: Location) -> Result<(), Fault> {
        self.weight = self.weight.saturating_add(weight);
        if self.weight <= MAX_WEIGHT {
            return Ok(());
        }
        let text = if self.anchors.is_empty() {
            "too many values for a configuration"
        } else {
            "too many values once aliases are filled in; write them out, or use fewer"
        };
        Err(Fault { at, text: text.to_owned() })
    }

    fn alias(&mut self, id: usize, at: Location, depth: usize) -> Result<(Node, Size), Fault> {
        let Some(Anchored { node, size }) = self.anchors.get(&id) else {
            return Err(Fault {
                at,
                text: "an alias may not stand inside the value it names, nor name a key".to_owned(),
            });
        };
        let (node, size) = (node.clone(), *size);
        if depth + size.height > MAX_DEPTH {
            return Err(Fault { at, text: yaml_error::TOO_DEEP.to_owned() });
        }
        self.spend(size.weight, at)?;
        // A single value is reported where it is used; what is inside a collection, where it is written.
        let node = if matches!(node.kind, Kind::Scalar(_) | Kind::Null) { Node { at, ..node } } else { node };
        Ok((node, size))
    }

    fn items(&mut self, depth: usize) -> Result<(Vec<Node>, Size), Fault> {
        let (mut items, mut total) = (Vec::new(), Size::default());
        loop {
            let (event, at) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok((items, total));
            }
            let (node, size) = self.node(event, at, depth + 1)?;
            total.add_child(size);
            items.push(node);
        }
    }

    fn entries(&mut self, depth: usize) -> Result<(Vec<(Key, Node)>, Size), Fault> {
        let (mut entries, mut merges, mut total) = (Vec::new(), Vec::new(), Size::default());
        loop {
            let (event, at) = self.next()?;
            let (name, plain) = match event {
                Event::MappingEnd => break,
                Event::Scalar(name, style, ..) => (name, style == ScalarStyle::Plain),
                _ => {
                    let text = "a key must be plain text; a value that begins with `{`, `[` or `*` needs quotes";
                    return Err(Fault { at, text: text.to_owned() });
                }
            };
            self.spend(16 + name.len(), at)?;
            let (event, value_at) = self.next()?;
            let (node, size) = self.node(event, value_at, depth + 1)?;
            total.add_child(Size { weight: size.weight + 16 + name.len(), ..size });
            if plain && name == "<<" {
                merges.push((node, at));
            } else {
                entries.push((Key { name: Rc::from(&*name), at }, node));
            }
        }
        merge(&mut entries, &merges)?;
        Ok((entries, total))
    }
}

impl Size {
    fn add_child(&mut self, child: Self) {
        self.weight += child.weight;
        self.height = self.height.max(child.height + 1);
    }
}

/// Fills in `<<: *name`: keys that are written out win, then the first merge that has them.
fn merge(entries: &mut Vec<(Key, Node)>, merges: &[(Node, Location)]) -> Result<(), Fault> {
    if merges.is_empty() {
        return Ok(());
    }
    let mut seen: HashSet<Rc<str>> = entries.iter().map(|(key, _)| Rc::clone(&key.name)).collect();
    for (node, at) in merges {
        let sources = match &node.kind {
            Kind::Seq(items) => &items[..],
            _ => std::slice::from_ref(node),
        };
        for source in sources {
            let Kind::Map(map) = &source.kind else {
                let text = "`<<` takes an alias of a mapping, like `<<: *defaults`";
                return Err(Fault { at: *at, text: text.to_owned() });
            };
            entries.extend(map.iter().filter(|(key, _)| seen.insert(Rc::clone(&key.name))).cloned());
        }
    }
    Ok(())
}

/// The tags that say something about a value here; those of collections and numbers change nothing.
#[derive(PartialEq, Eq)]
enum Tag {
    Str,
    Null,
    Other,
}

impl Tag {
    fn read(tag: Option<&yaml::Tag>, at: Location) -> Result<Self, Fault> {
        let Some(tag) = tag else { return Ok(Self::Other) };
        match tag.core_suffix() {
            Some("str") => Ok(Self::Str),
            Some("null") => Ok(Self::Null),
            Some(_) => Ok(Self::Other),
            None => {
                let text = "YAML tags such as `!name` mean nothing here; remove it, or put the value in quotes";
                Err(Fault { at, text: text.to_owned() })
            }
        }
    }
}

pub(super) fn location(mark: &yaml::Marker) -> Location {
    Location { line: mark.line().max(1), column: mark.col() + 1 }
}
