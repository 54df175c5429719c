//! One entry of `dataProcessingOptions` to a converter, with the Java agent's coercions. Knows no flow and no file.
//! Invariant: what stops the Java agent is a problem; what makes it send or skip every record is a warning that says so.

use std::time::Duration;

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
                let max_age = self.metadata_ttl();
                Converter::AddEc2Metadata(InstanceMetadata::new(self.layout(), max_age))
            }
            Kind::AddBrackets => Converter::AddBrackets,
        })
    }

    /// Seconds. What is none counts as not written, as there.
    fn metadata_ttl(&mut self) -> Option<Duration> {
        let ttl = self.get("metadataTTL")?;
        let seconds = match &ttl.value {
            Value::Integer(text) | Value::Text(text) => text.parse().ok().filter(|seconds| *seconds > 0),
            _ => None,
        };
        if seconds.is_none() {
            self.findings
                .warning(ttl.at, "`metadataTTL` is no number of seconds; an hour is used, as in the Java agent");
        }
        seconds.map(Duration::from_secs)
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
        let names: Vec<&str> = KINDS.iter().map(|&(_, name, _, _)| name).chain([PLUGIN]).collect();
        let name = self.word("optionName", &names)?;
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
    fn word<'w>(&mut self, key: &str, words: &[&'w str]) -> Option<&'w str> {
        let all = words.join(", ");
        let Some(text) = self.text(key).found() else {
            return self.problem(key, format!("`{key}` is missing; write one of {all}"));
        };
        if let Some(word) = words.iter().find(|word| **word == text) {
            return Some(word);
        }
        let near = words.iter().find(|word| word.eq_ignore_ascii_case(&text));
        let hint = near.map(|word| format!("; did you mean {word}?")).unwrap_or_default();
        self.problem(key, format!("`{key}` is {text:?}, which is none of {all}{hint}"))
    }

    fn layout(&mut self) -> Layout {
        if self.text("jsonFormat").found().is_none() {
            return Layout::Compact;
        }
        match self.word("jsonFormat", &["COMPACT", "PRETTYPRINT"]) {
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
        let format = self.word("logFormat", &FORMATS.map(|(name, _)| name));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is said of an entry: problems, then warnings behind a `?`, each with its offset.
    fn said(entry: &str) -> String {
        let (node, _) = json::parse(entry, json::Extras { comments_and_infinity: true }).expect("JSON");
        let mut findings = Findings::default();
        let converter = converter(&node, &mut findings);
        assert_eq!(converter.is_some(), findings.problems.is_empty() && node.value != Value::Null);
        let line = |sign: &str, (at, text): &(usize, String)| format!("{sign}{at}: {text}\n");
        let problems = findings.problems.iter().map(|found| line("", found));
        problems.chain(findings.warnings.iter().map(|found| line("?", found))).collect()
    }

    #[test]
    fn what_the_java_agent_takes_as_it_is_meant_needs_no_words() {
        for entry in [
            r#"{"optionName": "SINGLELINE", "parseOptions": ["NO_TRIM", "ESCAPE_NEW_LINE"]}"#,
            r#"{"optionName": "CSVTOJSON", "customFieldNames": ["a", 1], "delimiter": "\\t", "jsonFormat": null}"#,
            r#"{"optionName": "LOGTOJSON", "logFormat": "SYSLOG", "matchPattern": "(a)", "customFieldNames": ["a"]}"#,
            r#"{"optionName": "ADDMETADATA", "metadata": {"a": 1}, "timestamp": "TRUE"}"#,
            r#"{"optionName": "ADDMETADATA", "timestamp": true}"#,
            r#"{"optionName": "ADDEC2METADATA", "logFormat": "RFC3339SYSLOG"}"#,
        ] {
            assert_eq!(said(entry), "", "{entry}");
        }
    }

    #[test]
    fn what_stops_the_java_agent_is_a_problem() {
        insta::assert_snapshot!(said("3"), @r#"0: the entry is no object; write one, like {"optionName": "SINGLELINE"}"#);
        insta::assert_snapshot!(said("{}"), @r#"0: `optionName` is missing; write one of SINGLELINE, CSVTOJSON, LOGTOJSON, ADDMETADATA, ADDEC2METADATA, ADDBRACKETS, USINGPLUGGIN"#);
        insta::assert_snapshot!(said(r#"{"optionName": "singleline"}"#), @r#"15: `optionName` is "singleline", which is none of SINGLELINE, CSVTOJSON, LOGTOJSON, ADDMETADATA, ADDEC2METADATA, ADDBRACKETS, USINGPLUGGIN; did you mean SINGLELINE?"#);
        insta::assert_snapshot!(said(r#"{"optionName": "CSVTOJSON", "jsonFormat": "pretty"}"#), @r#"
        0: `customFieldNames` is missing; CSVTOJSON needs it
        42: `jsonFormat` is "pretty", which is none of COMPACT, PRETTYPRINT
        "#);
        insta::assert_snapshot!(said(r#"{"optionName": "CSVTOJSON", "customFieldNames": "a", "delimiter": "\\X"}"#), @r#"
        48: `customFieldNames` is no list; write one, like ["a", "b"]
        66: `delimiter` uses `\X`, which is not supported here; write the pattern without it
        "#);
        insta::assert_snapshot!(said(r#"{"optionName": "LOGTOJSON", "matchPattern": "("}"#), @r#"
        0: `logFormat` is missing; write one of COMMONAPACHELOG, COMBINEDAPACHELOG, APACHEERRORLOG, SYSLOG, RFC3339SYSLOG
        44: `matchPattern` is no valid Java pattern: a group without its `)` near character 2
        0: `customFieldNames` is missing; with `matchPattern` there must be one for each group
        "#);
        insta::assert_snapshot!(said(r#"{"optionName": "LOGTOJSON", "logFormat": "SYSLOG", "customFieldNames": ["a"]}"#), @r#"71: `customFieldNames` has 1 names, and the format has 5 fields"#);
        insta::assert_snapshot!(said(r#"{"optionName": "ADDMETADATA", "timestamp": 1}"#), @r#"43: `timestamp` is no text; write "true" or "false""#);
        insta::assert_snapshot!(said(r#"{"optionName": "USINGPLUGGIN"}"#), @r#"0: `className` is missing, and USINGPLUGGIN needs it"#);
        insta::assert_snapshot!(said(r#"{"optionName": "USINGPLUGGIN", "className": "com.example.Own"}"#), @r#"44: `className` "com.example.Own": Java classes cannot be loaded here; use one of the other options, or a `process` chain in YAML, in its place"#);
    }

    #[test]
    fn what_it_takes_for_something_else_is_a_warning() {
        insta::assert_snapshot!(said("null"), @r#"?0: the entry is null and does nothing; remove it"#);
        insta::assert_snapshot!(said(r#"{"optionName": "SINGLELINE", "parseOptions": "NO_TRIM", "parseoptions": 1, "metadata": 1}"#), @r#"
        ?56: `parseoptions` is no key of SINGLELINE and is ignored; did you mean `parseOptions`?
        ?75: `metadata` has no effect with SINGLELINE
        ?45: `parseOptions` is no list and is ignored; write ["NO_TRIM"]
        "#);
        insta::assert_snapshot!(said(r#"{"optionName": "SINGLELINE", "parseOptions": ["no_trim"], "optionName": "SINGLELINE"}"#), @r#"
        ?1: `optionName` is written twice; the last one counts
        ?45: `parseOptions` holds "no_trim", which is ignored; known are NO_TRIM, ESCAPE_NEW_LINE
        "#);
        insta::assert_snapshot!(said(r#"{"optionName": "CSVTOJSON", "customFieldNames": null, "delimiter": "["}"#), @r#"
        ?48: `customFieldNames` is or holds null: as with the Java agent, every record is sent as it is
        ?67: `delimiter` is no Java pattern: as with the Java agent, every record is sent as it is
        "#);
        insta::assert_snapshot!(said(r#"{"optionName": "LOGTOJSON", "logFormat": "SYSLOG", "matchPattern": "(a)", "customFieldNames": ["a", "b"]}"#), @r#"?94: `matchPattern` has 1 groups and `customFieldNames` 2 names: as with the Java agent, every record is skipped"#);
        insta::assert_snapshot!(said(r#"{"optionName": "LOGTOJSON", "logFormat": "SYSLOG", "matchPattern": "(a)", "customFieldNames": [null]}"#), @r#"?94: `customFieldNames` holds null: as with the Java agent, every record is sent as it is"#);
        insta::assert_snapshot!(said(r#"{"optionName": "ADDMETADATA", "timestamp": "yes"}"#), @r#"?43: `timestamp` is neither "true" nor "false" and counts as "false""#);
        insta::assert_snapshot!(said(r#"{"optionName": "ADDEC2METADATA", "logFormat": "SYSLOG", "metadataTTL": "soon"}"#), @r#"?71: `metadataTTL` is no number of seconds; an hour is used, as in the Java agent"#);
    }

    #[test]
    fn values_become_texts_as_java_writes_them() {
        let text = |json: &str| java_text(&json::parse(json, json::Extras::default()).expect("JSON").0.value);
        assert_eq!(text(r#"[1, 1.10, true, null, {"a": [1e9], "b": "x"}]"#), "[1, 1.1, true, null, {a=[1.0E9], b=x}]");
    }
}
