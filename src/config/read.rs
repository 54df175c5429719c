//! The reader: walks the tree, collects every mistake with its place and key. Knows no particular setting.
//! Invariant: what it cannot read it reports, and goes on; no message holds a value that came from the environment.

use std::{collections::HashMap, rc::Rc, sync::Arc};

use super::{
    env::{self, Env, Expanded},
    keys::{self, Section},
    problem::{Location, Problem},
    tree::{Key, Kind, Node},
};
use crate::record::template::Template;

/// Reads one file's tree.
pub(super) struct Reader<'e> {
    pub(super) file: Arc<str>,
    pub(super) env: Env<'e>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<Problem>,
}

/// A value and the path of keys that leads to it.
#[derive(Clone)]
pub(super) struct Value<'n> {
    pub(super) key: String,
    pub(super) node: &'n Node,
}

/// A mapping whose keys were checked; the first of two equal keys counts.
pub(super) struct Map<'n> {
    pub(super) key: String,
    pub(super) at: Location,
    entries: &'n [(Key, Node)],
}

impl Value<'_> {
    /// Whether it is a single value, neither list nor mapping nor nothing.
    pub(super) fn is_scalar(&self) -> bool {
        matches!(self.node.kind, Kind::Scalar(_))
    }

    /// Whether it is nothing, or a list without items.
    pub(super) fn is_empty(&self) -> bool {
        self.is_empty_list() || matches!(self.node.kind, Kind::Null)
    }

    /// Whether it is a list.
    pub(super) fn is_list(&self) -> bool {
        matches!(self.node.kind, Kind::Seq(_))
    }

    /// Whether it is a list without items.
    pub(super) fn is_empty_list(&self) -> bool {
        matches!(&self.node.kind, Kind::Seq(items) if items.is_empty())
    }
}

impl<'n> Map<'n> {
    /// The value of a key, if it was written.
    pub(super) fn get(&self, name: &str) -> Option<Value<'n>> {
        let (_, node) = self.entries.iter().find(|(key, _)| &*key.name == name)?;
        Some(Value { key: join(&self.key, name), node })
    }

    /// All keys in the order written, a repeated one once.
    pub(super) fn each(&self) -> impl Iterator<Item = (&'n Key, Value<'n>)> {
        let mut seen = std::collections::HashSet::new();
        self.entries
            .iter()
            .filter(move |(key, _)| seen.insert(Rc::clone(&key.name)))
            .map(|(key, node)| (key, Value { key: join(&self.key, &shown(&key.name)), node }))
    }

    /// Whether a key was written that the section does not have; it was reported already.
    pub(super) fn has_unknown(&self, section: &Section) -> bool {
        self.entries.iter().any(|(key, _)| !section.keys.contains(&&*key.name))
    }

    /// Whether nothing was written at all.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The keys that were written, out of these.
    pub(super) fn present(&self, names: &[&'static str]) -> Vec<&'static str> {
        let written = |name: &str| self.entries.iter().any(|(key, _)| &*key.name == name);
        names.iter().copied().filter(|name| written(name)).collect()
    }
}

impl<'e> Reader<'e> {
    pub(super) fn new(file: Arc<str>, env: Env<'e>) -> Self {
        Self { file, env, problems: Vec::new(), warnings: Vec::new() }
    }

    /// Reports a mistake at a place.
    pub(super) fn problem_at(&mut self, at: Location, key: &str, text: impl Into<String>) {
        let (file, key) = (Arc::clone(&self.file), key.to_owned());
        self.problems.push(Problem { file, at: Some(at), key, text: one_line(&text.into(), usize::MAX) });
    }

    /// Reports a mistake in a value.
    pub(super) fn problem(&mut self, value: &Value<'_>, text: impl Into<String>) {
        self.problem_at(value.node.at, &value.key, text);
    }

    /// Reports something allowed that looks wrong.
    pub(super) fn warning(&mut self, value: &Value<'_>, text: impl Into<String>) {
        let (file, key) = (Arc::clone(&self.file), value.key.clone());
        self.warnings.push(Problem { file, at: Some(value.node.at), key, text: one_line(&text.into(), usize::MAX) });
    }

    /// Opens a mapping with a fixed set of keys; nothing at all counts as an empty one.
    pub(super) fn map<'n>(&mut self, value: &Value<'n>, section: &Section) -> Option<Map<'n>> {
        let map = self.open_map(value)?;
        for (key, entry) in map.each() {
            if !section.keys.contains(&&*key.name) {
                self.problem_at(key.at, &entry.key, keys::advice(section, &key.name));
            }
        }
        Some(map)
    }

    /// Opens a mapping whose keys are free.
    pub(super) fn open_map<'n>(&mut self, value: &Value<'n>) -> Option<Map<'n>> {
        let entries: &[(Key, Node)] = match &value.node.kind {
            Kind::Map(entries) => entries,
            Kind::Null => &[],
            other => {
                self.problem(value, format!("must be a mapping (`key: value` lines), not {}", kind(other)));
                return None;
            }
        };
        let mut seen: HashMap<&str, Location> = HashMap::new();
        for (key, _) in entries {
            match seen.get(&*key.name) {
                None => {
                    seen.insert(&key.name, key.at);
                }
                Some(first) => {
                    let text = format!("this key was already written on line {}; keep one of the two", first.line);
                    self.problem_at(key.at, &join(&value.key, &shown(&key.name)), text);
                }
            }
        }
        Some(Map { key: value.key.clone(), at: value.node.at, entries })
    }

    /// Opens a list; nothing at all counts as an empty one.
    pub(super) fn list<'n>(&mut self, value: &Value<'n>) -> Option<Vec<Value<'n>>> {
        match &value.node.kind {
            Kind::Seq(items) => Some(items_of(value, items)),
            Kind::Null => Some(Vec::new()),
            other => {
                self.problem(value, format!("must be a list (`- item` lines), not {}", kind(other)));
                None
            }
        }
    }

    /// One value, or a list of them.
    pub(super) fn one_or_list<'n>(&mut self, value: &Value<'n>) -> Option<Vec<Value<'n>>> {
        match &value.node.kind {
            Kind::Seq(items) => Some(items_of(value, items)),
            Kind::Scalar(_) => Some(vec![value.clone()]),
            other => {
                self.problem(value, format!("must be text or a list of texts, not {}", kind(other)));
                None
            }
        }
    }

    /// The text of a value as it was written.
    pub(super) fn written<'n>(&mut self, value: &Value<'n>) -> Option<&'n str> {
        match &value.node.kind {
            Kind::Scalar(text) => Some(text),
            Kind::Null => {
                self.problem(value, "has no value; write one, or remove the key");
                None
            }
            other => {
                self.problem(value, format!("must be a single value, not {}", kind(other)));
                None
            }
        }
    }

    /// The text of a value with the environment's variables filled in.
    pub(super) fn expanded(&mut self, value: &Value<'_>) -> Option<Expanded> {
        let written = self.written(value)?;
        match env::expand(written, self.env) {
            Ok(expanded) => Some(expanded),
            Err(wrong) => {
                for text in wrong {
                    self.problem(value, text);
                }
                None
            }
        }
    }

    /// Reads a value; `read` says what is wrong without naming it, as in "is not a size; ...".
    pub(super) fn value<T>(&mut self, value: &Value<'_>, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let expanded = self.expanded(value)?;
        match read(&expanded.text) {
            Ok(result) => Some(result),
            Err(wrong) => {
                let filled = if expanded.any_env { " (with its variables filled in)" } else { "" };
                let written = self.written(value).unwrap_or_default();
                self.problem(value, format!("{}{filled} {wrong}", quoted(written)));
                None
            }
        }
    }

    /// Reads a text with variables of a record, in the flow of this name.
    pub(super) fn template(&mut self, value: &Value<'_>, flow: &str) -> Option<Template> {
        let written = self.written(value)?;
        let wrong = match env::template(written, self.env, flow) {
            Ok(template) => return Some(template),
            Err(wrong) => wrong,
        };
        for text in wrong {
            self.problem(value, text);
        }
        None
    }

    /// Reads a secret: no message shows it. `remedy` is what to do instead of writing it into the file.
    pub(super) fn secret(&mut self, value: &Value<'_>, remedy: &str) -> Option<String> {
        let expanded = self.expanded(value)?;
        if expanded.text.is_empty() {
            self.problem(value, "is empty; write a value, or remove the key");
            return None;
        }
        if !expanded.all_env {
            let text = "is written in the file, where whoever reads the file reads it";
            self.warning(value, format!("{text}; {remedy}"));
        }
        Some(expanded.text)
    }

    /// The value of a key that must be written.
    pub(super) fn required<'n>(&mut self, map: &Map<'n>, name: &str, remedy: &str) -> Option<Value<'n>> {
        let value = map.get(name);
        if value.is_none() {
            self.problem_at(map.at, &join(&map.key, name), format!("is missing; {remedy}"));
        }
        value
    }

    /// Reads a key's value if the key was written.
    pub(super) fn key<T>(
        &mut self,
        map: &Map<'_>,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.value(&map.get(name)?, read)
    }

    /// Reads one of a few words.
    pub(super) fn choice<T: Copy>(&mut self, map: &Map<'_>, name: &str, words: &[(&str, T)]) -> Option<T> {
        self.key(map, name, |text| choose(text, words))
    }
}

/// One of a few words, or what they are.
pub(super) fn choose<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    words.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning).ok_or_else(|| {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("is not known; write {}", known.join(" or "))
    })
}

fn items_of<'n>(list: &Value<'n>, items: &'n [Node]) -> Vec<Value<'n>> {
    let item = |(index, node)| Value { key: format!("{}[{index}]", list.key), node };
    items.iter().enumerate().map(item).collect()
}

/// Appends a key to a path of keys.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// What a value is, for people.
fn kind(kind: &Kind) -> &'static str {
    match kind {
        Kind::Map(_) => "a mapping",
        Kind::Seq(_) => "a list",
        Kind::Scalar(_) => "a single value",
        Kind::Null => "nothing",
    }
}

/// The text in quotes, on one line, not longer than a line; the user part of a URL may hold a password and is left out.
pub(super) fn quoted(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("\"{}://...@{}\"", shown(scheme), shown(host)),
        _ => format!("\"{}\"", shown(text)),
    }
}

/// The text on one line, not longer than a line.
fn shown(text: &str) -> String {
    one_line(text, 60)
}

/// The text without control characters, cut off after `most` characters.
pub(super) fn one_line(text: &str, most: usize) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == most {
            out.push_str("...");
            break;
        }
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}
