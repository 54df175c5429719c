//! One entry of `dataProcessingOptions` to a converter, with the Java agent's coercions. Knows no flow and no file.
//! Invariant: what stops the Java agent is a problem; what makes it send or skip every record is a warning that says so.

use crate::{
    config::keys::nearest,
    record::java::{
        Converter, Csv, Delimiter, FieldNames, Format, InstanceMetadata, Layout, Log, Metadata,
        json::{self, Node, Value},
        pattern::{Flags, Pattern},
    },
};

/// What is to be said of a piece of configuration: byte offset in its text, and words that name the key.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// The Java agent would not start with it, or it cannot be honoured.
    pub(super) problems: Vec<(usize, String)>,
    /// It means something else than one may think, or nothing.
    pub(super) warnings: Vec<(usize, String)>,
}

impl Findings {
    fn problem(&mut self, at: usize, text: impl Into<String>) {
        self.problems.push((at, text.into()));
    }

    fn warning(&mut self, at: usize, text: impl Into<String>) {
        self.warnings.push((at, text.into()));
    }
}

/// Reads one entry. `None`: it is `null`, which the Java agent passes over, or a problem was found.
pub(super) fn converter(option: &Node, findings: &mut Findings) -> Option<Converter> {
    match option.value {
        Value::Map(_) => {}
        Value::Null => {
            findings.warning(option.at, "the entry is null and does nothing; remove it");
            return None;
        }
        _ => {
            findings.problem(option.at, "the entry is no object; write one, like {\"optionName\": \"SINGLELINE\"}");
            return None;
        }
    }
    let before = findings.problems.len();
    let mut entry = Entry { option, findings };
    let converter = entry.converter();
    converter.filter(|_| findings.problems.len() == before)
}

/// `optionName`, apart from `USINGPLUGGIN`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    SingleLine,
    CsvToJson,
    LogToJson,
    AddMetadata,
    AddEc2Metadata,
    AddBrackets,
}

const PLUGIN: &str = "USINGPLUGGIN";
const PACKAGE: &str = "com.amazon.kinesis.streaming.agent.processing.processors.";

/// Each converter: its name, its class, the keys it reads beside `optionName`.
const KINDS: [(Kind, &str, &str, &[&str]); 6] = [
    (Kind::SingleLine, "SINGLELINE", "SingleLineDataConverter", &["parseOptions"]),
    (Kind::CsvToJson, "CSVTOJSON", "CSVToJSONDataConverter", &["customFieldNames", "delimiter", "jsonFormat"]),
    (
        Kind::LogToJson,
        "LOGTOJSON",
        "LogToJSONDataConverter",
        &["logFormat", "matchPattern", "customFieldNames", "jsonFormat"],
    ),
    (Kind::AddMetadata, "ADDMETADATA", "AddMetadataConverter", &["metadata", "timestamp", "jsonFormat"]),
    (
        Kind::AddEc2Metadata,
        "ADDEC2METADATA",
        "AddEC2MetadataConverter",
        &["logFormat", "matchPattern", "customFieldNames", "jsonFormat", "metadataTTL"],
    ),
    (Kind::AddBrackets, "ADDBRACKETS", "BracketsDataConverter", &[]),
];

const FORMATS: [(&str, Format); 5] = [
    ("COMMONAPACHELOG", Format::CommonApache),
    ("COMBINEDAPACHELOG", Format::CombinedApache),
    ("APACHEERRORLOG", Format::ApacheError),
    ("SYSLOG", Format::Syslog),
    ("RFC3339SYSLOG", Format::Rfc3339Syslog),
];

/// What stands at a key, as the Java agent reads it.
enum Read<T> {
    Missing,
    /// JSON's `null`.
    Null,
    Found(T),
}

impl<T> Read<T> {
    fn found(self) -> Option<T> {
        if let Self::Found(value) = self { Some(value) } else { None }
    }
}

struct Entry<'e> {
    option: &'e Node,
    findings: &'e mut Findings,
}

impl Entry<'_> {
    fn converter(&mut self) -> Option<Converter> {
        let (kind, plugin) = self.kind()?;
        self.unused_keys(kind, plugin);
        Some(match kind {
            Kind::SingleLine => self.single_line(),
            Kind::CsvToJson => self.csv()?,
            Kind::LogToJson => Converter::LogToJson(self.log()?),
            Kind::AddMetadata => self.metadata(),
            Kind::AddEc2Metadata => {
                // The Java agent wants a format here too, and does nothing with it.
                self.log()?;
                if let Some(ttl) = self.get("metadataTTL") {
                    self.findings
                        .warning(ttl.at, "`metadataTTL` has no effect: the metadata is renewed in its own time");
                }
                Converter::AddEc2Metadata(InstanceMetadata::new(self.layout()))
            }
            Kind::AddBrackets => Converter::AddBrackets,
        })
    }

    fn get(&self, key: &str) -> Option<&Node> {
        self.option.value.get(key)
    }

    /// Offset of a key's value, or of the entry.
    fn place(&self, key: &str) -> usize {
        self.get(key).map_or(self.option.at, |node| node.at)
    }

    fn problem<T>(&mut self, key: &str, text: impl Into<String>) -> Option<T> {
        let at = self.place(key);
        self.findings.problem(at, text);
        None
    }

    fn warning(&mut self, key: &str, text: impl Into<String>) {
        let at = self.place(key);
        self.findings.warning(at, text);
    }

    /// Which converter is meant, and whether it is named as a plug-in.
    fn kind(&mut self) -> Option<(Kind, bool)> {
        let names = || KINDS.iter().map(|&(_, name, _, _)| name).chain([PLUGIN]);
        let name = self.word("optionName", names())?;
        if name != PLUGIN {
            let found = KINDS.iter().find(|(_, known, _, _)| *known == name);
            return found.map(|&(kind, ..)| (kind, false));
        }
        let Some(class) = self.text("className").found() else {
            return self.problem("className", format!("`className` is missing, and {PLUGIN} needs it"));
        };
        let known = class.strip_prefix(PACKAGE).and_then(|own| KINDS.iter().find(|(_, _, class, _)| *class == own));
        match known {
            Some(&(kind, ..)) => Some((kind, true)),
            None => self.problem(
                "className",
                format!(
                    "`className` {class:?}: Java classes cannot be loaded here; use one of the other options, or a \
                     `process` chain in YAML, in its place"
                ),
            ),
        }
    }

    fn unused_keys(&mut self, kind: Kind, plugin: bool) {
        let Value::Map(members) = &self.option.value else { return };
        let Some((_, option, _, keys)) = KINDS.iter().find(|(known, ..)| *known == kind) else { return };
        let known = || KINDS.iter().flat_map(|(_, _, _, keys)| keys.iter().copied()).chain(["optionName", "className"]);
        for member in members {
            let key = member.name.as_str();
            if member.repeated {
                self.findings.warning(member.at, format!("`{key}` is written twice; the last one counts"));
            }
            if key == "optionName" || (key == "className" && plugin) || keys.contains(&key) {
                continue;
            }
            let text = if known().any(|known| known == key) {
                format!("`{key}` has no effect with {option}")
            } else {
                let near = nearest(key, known()).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                format!("`{key}` is no key of {option} and is ignored{near}")
            };
            self.findings.warning(member.at, text);
        }
    }

    /// A text, or what the Java agent makes one of.
    fn text(&self, key: &str) -> Read<String> {
        match self.get(key).map(|node| &node.value) {
            None => Read::Missing,
            Some(Value::Null) => Read::Null,
            Some(value) => Read::Found(java_text(value)),
        }
    }

    /// A list of texts, some of which may be `null`. `None`: it is something else, which is a problem.
    fn texts(&mut self, key: &str) -> Option<Read<FieldNames>> {
        Some(match self.get(key).map(|node| &node.value) {
            None => Read::Missing,
            Some(Value::Null) => Read::Null,
            Some(Value::List(items)) => {
                let name = |item: &Node| if item.value == Value::Null { None } else { Some(java_text(&item.value)) };
                Read::Found(items.iter().map(name).collect())
            }
            Some(_) => return self.problem(key, format!("`{key}` is no list; write one, like [\"a\", \"b\"]")),
        })
    }

    /// One of these words, exactly; `None` was reported.
    fn word<'w>(&mut self, key: &str, words: impl Iterator<Item = &'w str> + Clone) -> Option<&'w str> {
        let all = words.clone().collect::<Vec<_>>().join(", ");
        let Some(text) = self.text(key).found() else {
            return self.problem(key, format!("`{key}` is missing; write one of {all}"));
        };
        if let Some(word) = words.clone().find(|word| *word == text) {
            return Some(word);
        }
        let near = words.clone().find(|word| word.eq_ignore_ascii_case(&text));
        let hint = near.map(|word| format!("; did you mean {word}?")).unwrap_or_default();
        self.problem(key, format!("`{key}` is {text:?}, which is none of {all}{hint}"))
    }

    fn layout(&mut self) -> Layout {
        if self.text("jsonFormat").found().is_none() {
            return Layout::Compact;
        }
        match self.word("jsonFormat", ["COMPACT", "PRETTYPRINT"].into_iter()) {
            Some("PRETTYPRINT") => Layout::Pretty,
            _ => Layout::Compact,
        }
    }

    fn single_line(&mut self) -> Converter {
        let options: Vec<String> = match self.get("parseOptions").map(|node| &node.value) {
            Some(Value::List(items)) => items.iter().map(|item| java_text(&item.value)).collect(),
            None | Some(Value::Null) => Vec::new(),
            Some(_) => {
                self.warning("parseOptions", "`parseOptions` is no list and is ignored; write [\"NO_TRIM\"]");
                Vec::new()
            }
        };
        for option in &options {
            if option != "NO_TRIM" && option != "ESCAPE_NEW_LINE" {
                let text =
                    format!("`parseOptions` holds {option:?}, which is ignored; known are NO_TRIM, ESCAPE_NEW_LINE");
                self.warning("parseOptions", text);
            }
        }
        let has = |name: &str| options.iter().any(|option| option == name);
        Converter::SingleLine { trim: !has("NO_TRIM"), escape_new_line: has("ESCAPE_NEW_LINE") }
    }

    fn csv(&mut self) -> Option<Converter> {
        let names = match self.texts("customFieldNames") {
            None => None,
            Some(Read::Missing) => {
                self.problem("customFieldNames", "`customFieldNames` is missing; CSVTOJSON needs it")
            }
            Some(names) => {
                let names = names.found();
                if names.as_ref().is_none_or(|names| names.contains(&None)) {
                    self.all_raw("customFieldNames", "is or holds null");
                }
                Some(names)
            }
        };
        let written = match self.text("delimiter") {
            Read::Missing => Some(",".to_owned()),
            Read::Null => None,
            Read::Found(text) => Some(text),
        };
        let delimiter = match Delimiter::new(written.as_deref()) {
            Ok(delimiter) => Some(delimiter),
            Err(error) => self.problem("delimiter", format!("`delimiter` {error}")),
        };
        if delimiter.as_ref().is_some_and(Delimiter::is_invalid) {
            self.all_raw("delimiter", "is no Java pattern");
        }
        let layout = self.layout();
        Some(Converter::CsvToJson(Csv::new(names?.as_ref(), delimiter?, layout)))
    }

    fn all_raw(&mut self, key: &str, why: &str) {
        self.warning(key, format!("`{key}` {why}: as with the Java agent, every record is sent as it is"));
    }

    fn log(&mut self) -> Option<Log> {
        let layout = self.layout();
        let format = self.word("logFormat", FORMATS.iter().map(|&(name, _)| name));
        let format =
            format.and_then(|name| FORMATS.iter().find(|(known, _)| *known == name)).map(|&(_, format)| format);
        let names = self.texts("customFieldNames").map(Read::found);
        let Some(pattern) = self.text("matchPattern").found() else {
            return match Log::builtin(format?, names?.as_ref(), layout) {
                Ok(log) => Some(self.checked(log)),
                Err(counts) => self.problem(
                    "customFieldNames",
                    format!(
                        "`customFieldNames` has {} names, and the format has {} fields",
                        counts.names, counts.fields
                    ),
                ),
            };
        };
        let regex = match Pattern::parse(&pattern, Flags::default()).and_then(|pattern| pattern.matches()) {
            Ok(regex) => Some(regex),
            Err(error) => self.problem("matchPattern", format!("`matchPattern` {error}")),
        };
        let Some(names) = names? else {
            return self.problem(
                "customFieldNames",
                "`customFieldNames` is missing; with `matchPattern` there must be one for each group",
            );
        };
        let log = Log::pattern(format?, regex?, &names, layout);
        Some(self.checked(log))
    }

    /// Warns of what makes every record fail or be skipped.
    fn checked(&mut self, log: Log) -> Log {
        let counts = log.counts();
        if counts.fields != counts.names {
            let text = format!(
                "`matchPattern` has {} groups and `customFieldNames` {} names: as with the Java agent, every record is skipped",
                counts.fields, counts.names
            );
            self.warning("customFieldNames", text);
        } else if !log.can_write() {
            self.all_raw("customFieldNames", "holds null");
        }
        log
    }

    fn metadata(&mut self) -> Converter {
        let metadata = self.get("metadata").map_or(Value::Null, |node| node.value.clone());
        let timestamp = match self.get("timestamp").map(|node| &node.value) {
            Some(Value::Text(text)) => {
                let on = text.eq_ignore_ascii_case("true");
                if !on && !text.eq_ignore_ascii_case("false") {
                    self.warning("timestamp", "`timestamp` is neither \"true\" nor \"false\" and counts as \"false\"");
                }
                on
            }
            Some(Value::Bool(on)) => *on,
            None | Some(Value::Null) => false,
            Some(_) => {
                self.problem("timestamp", "`timestamp` is no text; write \"true\" or \"false\"").unwrap_or(false)
            }
        };
        let layout = self.layout();
        Converter::AddMetadata(Metadata::new(metadata, timestamp, layout))
    }
}

/// A value as Java's `toString` writes it.
fn java_text(value: &Value) -> String {
    let join = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Integer(digits) => digits.clone(),
        Value::Float(number) => json::java_double(*number),
        Value::Text(text) => text.clone(),
        Value::List(items) => format!("[{}]", join(items.iter().map(|item| java_text(&item.value)).collect())),
        Value::Map(members) => {
            let member = |member: &json::Member| format!("{}={}", member.name, java_text(&member.node.value));
            format!("{{{}}}", join(members.iter().map(member).collect()))
        }
    }
}
