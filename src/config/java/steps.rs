//! `dataProcessingOptions` as steps of our `process`, for people to go on with. Knows the names of our keys, not their
//! readers. Invariant: where a step is not the same as its converter, a comment says in what.

use super::{
    agent::Flow,
    groups::{group_name, named_groups, split_pattern},
    yaml::{Text, quoted},
};
use crate::record::java::json::{Node, Value};

/// A built-in `logFormat`: its name, ours, and our fields with the names that it gives them.
struct Log {
    java: &'static str,
    ours: &'static str,
    fields: &'static [(&'static str, &'static str)],
    /// Whether `-` means null.
    apache: bool,
    differs: &'static str,
}

/// Fields that have the same name in both.
macro_rules! same {
    ($($name:literal),* $(; $ours:literal => $java:literal)?) => { &[$(($name, $name),)* $(($ours, $java), ("agent", "agent"))?] };
}

const LOGS: [Log; 5] = [
    Log {
        java: "COMMONAPACHELOG",
        ours: "common",
        fields: same!["host", "ident", "authuser", "datetime", "request", "response", "bytes"],
        apache: true,
        differs: "also reads lines that it skipped: IPv6 hosts, users with `@`, empty requests, lines that end with CR.",
    },
    Log {
        java: "COMBINEDAPACHELOG",
        ours: "combined",
        fields: same!["host", "ident", "authuser", "datetime", "request", "response", "bytes"; "referrer" => "referer"],
        apache: true,
        differs: "also reads lines that it skipped, and `\\\"` in a quoted field is a quote.",
    },
    Log {
        java: "APACHEERRORLOG",
        ours: "apache_error",
        fields: same!["timestamp", "module", "severity", "processid", "threadid", "client", "message"],
        apache: true,
        differs: "the client's port is a field of its own, `port`, and a line without a client is read, too.",
    },
    Log {
        java: "SYSLOG",
        ours: "syslog_rfc3164",
        fields: same!["timestamp", "hostname", "program", "processid", "message"],
        apache: false,
        differs: "a priority like `<134>` becomes fields, and a line without a program is read, too.",
    },
    Log {
        java: "RFC3339SYSLOG",
        ours: "syslog_rfc3164",
        fields: same!["timestamp", "hostname", "program", "processid", "message"],
        apache: false,
        differs: "a priority like `<134>` becomes fields, and a line without a program is read, too.",
    },
];

/// What the steps so far make of a record.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Made {
    /// Nothing was done yet.
    Bytes,
    /// Its text was changed.
    Text,
    Fields,
}

struct Steps<'t> {
    out: &'t mut Text,
    made: Made,
    pretty: bool,
    begun: bool,
}

/// Writes `process:`, if the flow has converters.
pub(super) fn process(out: &mut Text, flow: &Flow) {
    let mut steps = Steps { out, made: Made::Bytes, pretty: false, begun: false };
    for option in &flow.processing {
        steps.option(&option.value);
    }
    match steps.made {
        Made::Bytes => {}
        Made::Text => steps.step("emit: raw"),
        Made::Fields if steps.pretty => steps.step("emit: { json: { pretty: true } }"),
        Made::Fields => steps.step("emit: json"),
    }
}

impl Steps<'_> {
    fn begin(&mut self) {
        if !std::mem::replace(&mut self.begun, true) {
            self.out.line(4, "process:");
        }
    }

    fn step(&mut self, text: &str) {
        self.begin();
        self.out.line(6, &format!("- {text}"));
    }

    /// A comment before a step.
    fn note(&mut self, text: &str) {
        self.begin();
        self.out.comment(6, text);
    }

    /// A comment that stands for a step.
    fn missing(&mut self, text: &str) {
        self.out.comment(4, text);
    }

    fn option(&mut self, option: &Value) {
        self.pretty |= text(option, "jsonFormat").as_deref() == Some("PRETTYPRINT");
        if self.made == Made::Fields {
            self.note("What follows read the JSON text that was made so far; here it adds to the fields.");
        }
        match text(option, "optionName").as_deref() {
            Some("SINGLELINE") => self.single_line(option),
            Some("CSVTOJSON") => self.csv(option),
            Some("LOGTOJSON") => self.log(option),
            Some("ADDMETADATA") => self.metadata(option),
            Some("ADDEC2METADATA") => self.ec2(),
            name => {
                let name = name.unwrap_or_default();
                self.missing(&format!(
                    "{name} has no equivalent: what is sent is whole JSON already. Run agent.json itself if you need it."
                ));
            }
        }
    }

    fn single_line(&mut self, option: &Value) {
        let has = |name: &str| list(option, "parseOptions").iter().any(|item| item == name);
        let join = if has("ESCAPE_NEW_LINE") { "'\\\\n'" } else { "''" };
        if self.made == Made::Bytes {
            self.made = Made::Text;
        }
        self.step(&format!("single_line: {{ join: {join}, trim: {} }}", !has("NO_TRIM")));
    }

    fn csv(&mut self, option: &Value) {
        let names = unique(&list(option, "customFieldNames"));
        let delimiter = text(option, "delimiter").unwrap_or_else(|| ",".to_owned());
        if let Some(delimiter) = literal(&delimiter) {
            self.note(
                "Unlike CSVTOJSON: a cell in quotes may hold the delimiter, and the quotes are taken off (RFC 4180).",
            );
            let fields = names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
            let delimiter = if delimiter == '\t' { "\"\\t\"".to_owned() } else { quoted_always(delimiter) };
            self.step(&format!("parse: {{ csv: {{ fields: [{fields}], delimiter: {delimiter} }} }}"));
            self.made = Made::Fields;
            return;
        }
        let groups: Vec<String> = (0..names.len()).map(|at| group_name(&names, at)).collect();
        match split_pattern(&delimiter, &groups) {
            Some(pattern) => {
                self.note("The delimiter is a pattern, so the whole line is one.");
                self.step(&format!("parse: {{ regex: {}, on_mismatch: keep_raw }}", quoted(&pattern)));
                self.rename(groups.iter().zip(&names));
                self.made = Made::Fields;
            }
            None => {
                self.missing(&format!("CSVTOJSON with the delimiter {} cannot be written here.", quoted(&delimiter)));
            }
        }
    }

    fn log(&mut self, option: &Value) {
        let names = list(option, "customFieldNames");
        let format = text(option, "logFormat").unwrap_or_default();
        let log = LOGS.iter().find(|log| log.java == format);
        let null_if = if log.is_some_and(|log| log.apache) { ", null_if: '-'" } else { "" };
        if let Some(pattern) = text(option, "matchPattern") {
            let names = unique(&names);
            let groups: Vec<String> = (0..names.len()).map(|at| group_name(&names, at)).collect();
            match named_groups(&pattern, &groups) {
                Some(pattern) => {
                    self.note("on_mismatch: drop, as there; `keep_raw` and `dead_letter` lose nothing.");
                    self.step(&format!("parse: {{ regex: {}, on_mismatch: drop{null_if} }}", quoted(&pattern)));
                    self.rename(groups.iter().zip(&names));
                    self.made = Made::Fields;
                }
                None => self.missing(&format!("matchPattern {} cannot be written here.", quoted(&pattern))),
            }
            return;
        }
        let Some(log) = log else { return };
        self.note(&format!("Unlike {format}: {}", log.differs));
        self.note("on_mismatch: drop, as there; `keep_raw` and `dead_letter` lose nothing.");
        self.step(&format!("parse: {{ {}: {{}}, on_mismatch: drop{null_if} }}", log.ours));
        let java = log.fields.iter().map(|(_, java)| (*java).to_owned());
        let wanted = if names.len() == log.fields.len() { unique(&names) } else { java.collect() };
        let ours: Vec<String> = log.fields.iter().map(|(ours, _)| (*ours).to_owned()).collect();
        self.rename(ours.iter().zip(&wanted));
        self.made = Made::Fields;
    }

    fn metadata(&mut self, option: &Value) {
        self.note(
            "Unlike ADDMETADATA, `data` comes first, and fields of a record that was parsed are not put into it.",
        );
        if self.made != Made::Fields {
            self.step("rename: { message: data }");
        }
        let mut added = Vec::new();
        let on = match option.get("timestamp").map(|node| &node.value) {
            Some(Value::Bool(on)) => *on,
            Some(Value::Text(text)) => text.eq_ignore_ascii_case("true"),
            _ => false,
        };
        if on {
            added.push("ts: \"${now}\"".to_owned());
        }
        let metadata = option.get("metadata").map_or(Value::Null, |node| node.value.clone());
        // JSON is YAML, apart from what we read out of a text.
        added.push(format!("metadata: {}", metadata.to_string().replace("${", "$${")));
        self.step(&format!("add: {{ {} }}", added.join(", ")));
        self.made = Made::Fields;
    }

    fn ec2(&mut self) {
        self.note("Unlike ADDEC2METADATA, numbers keep their text, and tags are named one by one: `${ec2.tag.NAME}`.");
        if self.made == Made::Bytes {
            self.step("parse: { json: {}, on_mismatch: keep_raw }");
        }
        self.step(
            "add: { privateIp: \"${ec2.private_ip}\", availabilityZone: \"${ec2.availability_zone}\", \
             instanceId: \"${ec2.instance_id}\", instanceType: \"${ec2.instance_type}\", \
             accountId: \"${ec2.account_id}\", amiId: \"${ec2.image_id}\", region: \"${ec2.region}\", \
             metadataTimestamp: \"${now}\" }",
        );
        self.made = Made::Fields;
    }

    fn rename<'n>(&mut self, names: impl Iterator<Item = (&'n String, &'n String)>) {
        let changed: Vec<String> = names
            .filter(|(from, to)| from != to && !to.is_empty())
            .map(|(from, to)| format!("{}: {}", quoted(from), quoted(to)))
            .collect();
        if !changed.is_empty() {
            self.step(&format!("rename: {{ {} }}", changed.join(", ")));
        }
    }
}

/// A value as text, if it is written as one.
fn text(option: &Value, key: &str) -> Option<String> {
    match &option.get(key)?.value {
        Value::Text(text) | Value::Integer(text) => Some(text.clone()),
        _ => None,
    }
}

/// The texts of a list.
fn list(option: &Value, key: &str) -> Vec<String> {
    let Some(Node { value: Value::List(items), .. }) = option.get(key) else { return Vec::new() };
    let text = |item: &Node| match &item.value {
        Value::Text(text) => text.clone(),
        other => other.to_string(),
    };
    items.iter().map(text).collect()
}

/// The names, each once: an earlier one of the same name was overwritten there, and gets another one here.
fn unique(names: &[String]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for (at, name) in names.iter().enumerate() {
        let hidden = name.is_empty() || names[at + 1..].contains(name);
        out.push(if hidden { format!("field_{}", at + 1) } else { name.clone() });
    }
    out
}

/// The one character that a delimiter, which is a Java pattern, stands for.
fn literal(delimiter: &str) -> Option<char> {
    let mut chars = delimiter.chars();
    let found = match (chars.next()?, chars.next()) {
        ('\\', Some('t')) => '\t',
        ('\\', Some(c)) if !c.is_ascii_alphanumeric() => c,
        (c, None) if !"\\.[{(*+?^$|".contains(c) => c,
        _ => return None,
    };
    (chars.next().is_none() && found.is_ascii() && !matches!(found, '"' | '\r' | '\n' | '\0')).then_some(found)
}

fn quoted_always(c: char) -> String {
    if c == '\'' { "\"'\"".to_owned() } else { format!("'{c}'") }
}
