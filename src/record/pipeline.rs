//! Processing: the chain of steps that turns a framed record into what is sent. Built by `config`, run for each record.
//! Knows the record's bytes and its context, nothing else. Invariant: `run` appends to `out` only what is to be sent.

use std::io::Write as _;

use super::{
    ec2,
    emit::Emitter,
    fields::{Fields, Name, Text, Value},
    key::{self, Chooser, Missing},
    parse::{Mismatch, Parser},
    text,
};
use crate::model::{Generation, Now, RecordId, Span};

/// Where a record came from, for `add`.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    pub host: &'a str,
    /// What is known of the EC2 instance, if this is one.
    pub ec2: &'a ec2::Shared,
    /// Path of the file as last seen; need not be UTF-8.
    pub path: &'a std::path::Path,
    pub generation: Generation,
    pub span: Span,
    /// When it was read.
    pub now: Now,
}

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What to send was appended to `out`.
    Emit,
    /// The record did not match, and what to send, its bytes as they were, was appended to `out`. Counted.
    EmitRaw,
    /// A step says this record is not sent; it is counted.
    Drop,
    /// A step says this record goes to the dead letters, for this reason.
    DeadLetter { reason: String },
}

/// What to do with a record that a `parse` step cannot read. Default: `KeepRaw`, which loses nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OnMismatch {
    Drop,
    /// Send the record's bytes as they are; later steps are not applied to it.
    #[default]
    KeepRaw,
    DeadLetter,
}

/// One step of `process`, in the order written.
#[derive(Clone, Debug)]
pub enum Step {
    Parse {
        format: Format,
        on_mismatch: OnMismatch,
    },
    /// Fields to add, in order; a field of the same name is replaced in its place.
    Add(Vec<(String, Template)>),
    Emit(Emit),
}

/// How a line's fields are found. docs/PROCESSING.md says what each accepts.
#[derive(Clone, Debug)]
pub enum Format {
    Json,
    /// Each named group is a field.
    Regex(regex::bytes::Regex),
    /// Apache and nginx `common`.
    Common,
    /// Apache and nginx `combined`.
    Combined,
}

/// How a record is written. Without an `emit` step fields are written as compact JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Emit {
    Json,
    /// RFC 4180 quoting; a missing field is empty.
    Csv {
        fields: Vec<String>,
        delimiter: u8,
    },
}

/// A value of `add`: text with variables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(pub Vec<Part>);

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    Text(String),
    Host,
    FilePath,
    FileName,
    RecordId,
    RecordOffset,
}

/// The chain of a flow. Holds scratch space, so each flow has its own.
#[derive(Clone, Debug, Default)]
pub struct Pipeline {
    /// Whether there are steps; without, the record's bytes are sent untouched.
    has_steps: bool,
    /// The steps before `emit`, in order.
    stages: Vec<Stage>,
    emitter: Emitter,
    /// The name of the one field that a record is where nothing parses it.
    message: Option<Name>,
    fields: Fields,
    /// Where partition keys are chosen.
    key: Option<Chooser>,
}

/// A step, made ready to run.
#[derive(Clone, Debug)]
enum Stage {
    Parse { parser: Parser, on_mismatch: OnMismatch },
    Add(Vec<(Name, Template)>),
}

impl Pipeline {
    /// A chain of steps; none at all leaves a record's bytes untouched. `emit` ends the chain: steps after it do nothing.
    #[must_use]
    pub fn new(steps: Vec<Step>) -> Self {
        let mut fields = Fields::default();
        let mut chain = Self { has_steps: !steps.is_empty(), ..Self::default() };
        for step in steps {
            let stage = match step {
                Step::Parse { format, on_mismatch } => {
                    Stage::Parse { parser: Parser::new(format, &mut fields), on_mismatch }
                }
                Step::Add(added) => {
                    Stage::Add(added.into_iter().map(|(name, value)| (fields.intern(&name), value)).collect())
                }
                Step::Emit(emit) => {
                    chain.emitter = Emitter::new(emit, &mut fields);
                    break;
                }
            };
            chain.stages.push(stage);
        }
        let parses = chain.stages.iter().any(|stage| matches!(stage, Stage::Parse { .. }));
        chain.message = (!parses).then(|| fields.intern("message"));
        Self { fields, ..chain }
    }

    /// Chooses a partition key for each record too.
    #[must_use]
    pub fn with_key(mut self, key: Option<key::Options>) -> Self {
        self.key = key.map(|key| Chooser::new(key, &mut self.fields));
        self
    }

    /// Whether records are sent with their bytes untouched.
    #[must_use]
    pub fn is_raw(&self) -> bool {
        !self.has_steps
    }

    /// Runs the chain over one record, its line end included if it had one, and appends what to send to `out`.
    ///
    /// A parse step reads the record's bytes, whatever the steps before it found, and adds to their fields.
    pub fn run(&mut self, context: &Context<'_>, record: &[u8], out: &mut Vec<u8>) -> Outcome {
        if let Some(key) = &mut self.key {
            key.begin();
        }
        if self.is_raw() {
            out.extend_from_slice(record);
            return Outcome::Emit;
        }
        let line = without_line_end(record);
        self.fields.clear();
        if let Some(message) = self.message {
            self.fields.push(message, Value::Text(Text::line(0, line.len())));
        }
        for stage in &mut self.stages {
            match stage {
                Stage::Parse { parser, on_mismatch } => {
                    if let Err(mismatch) = parser.parse(line, &mut self.fields) {
                        return unmatched(*on_mismatch, parser.name(), mismatch, record, out);
                    }
                }
                Stage::Add(added) => add(added, context, line, &mut self.fields),
            }
        }
        if let Some(key) = &mut self.key {
            key.take(line, &self.fields);
        }
        self.emitter.write(line, &self.fields, out);
        Outcome::Emit
    }

    /// The partition key of the record that was run last and is sent as `sent`; nothing where keys are random.
    pub fn key(&mut self, id: RecordId, sent: &[u8]) -> Result<Option<&str>, Missing> {
        self.key.as_mut().map(|key| key.key(id, sent)).transpose()
    }
}

/// The record without one `\n` or `\r\n` at its end.
fn without_line_end(record: &[u8]) -> &[u8] {
    let line = record.strip_suffix(b"\n");
    line.map_or(record, |line| line.strip_suffix(b"\r").unwrap_or(line))
}

fn unmatched(
    on_mismatch: OnMismatch,
    format: &'static str,
    mismatch: Mismatch,
    record: &[u8],
    out: &mut Vec<u8>,
) -> Outcome {
    match on_mismatch {
        OnMismatch::Drop => Outcome::Drop,
        OnMismatch::KeepRaw => {
            out.extend_from_slice(record);
            Outcome::EmitRaw
        }
        OnMismatch::DeadLetter => Outcome::DeadLetter { reason: format!("{format}: {mismatch}") },
    }
}

fn add(added: &[(Name, Template)], context: &Context<'_>, line: &[u8], fields: &mut Fields) {
    let old = fields.len();
    for (name, template) in added {
        let value = fields.compose(|out| template.0.iter().for_each(|part| push_part(part, context, out)));
        fields.push(*name, Value::Text(value));
    }
    fields.merge(line, old);
}

fn push_part(part: &Part, context: &Context<'_>, out: &mut Vec<u8>) {
    match part {
        Part::Text(text) => out.extend_from_slice(text.as_bytes()),
        Part::Host => out.extend_from_slice(context.host.as_bytes()),
        Part::FilePath => text::push_lossy(context.path.as_os_str().as_encoded_bytes(), out),
        Part::FileName => {
            let name = context.path.file_name().unwrap_or_default();
            text::push_lossy(name.as_encoded_bytes(), out);
        }
        Part::RecordId => push_display(RecordId { generation: context.generation, span: context.span }, out),
        Part::RecordOffset => push_display(context.span.start, out),
    }
}

fn push_display(value: impl std::fmt::Display, out: &mut Vec<u8>) {
    write!(out, "{value}").expect("a Vec takes every write");
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::LazyLock, time::Instant};

    use proptest::prelude::*;

    use super::*;

    const LINE: &str = r#"h - u [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 5 "-" "curl""#;

    fn context() -> Context<'static> {
        static EC2: LazyLock<ec2::Shared> = LazyLock::new(ec2::Shared::default);
        Context {
            host: "web-1",
            ec2: &EC2,
            now: Now { mono: Instant::now(), wall: 0 },
            path: Path::new("/var/log/app.log"),
            generation: Generation(0xabc),
            span: Span { start: 10, end: 25 },
        }
    }

    fn parse(format: Format) -> Step {
        Step::Parse { format, on_mismatch: OnMismatch::DeadLetter }
    }

    fn regex(pattern: &str) -> Step {
        parse(Format::Regex(regex::bytes::Regex::new(pattern).expect("a pattern")))
    }

    fn add(list: &[(&str, Part)]) -> Step {
        Step::Add(list.iter().map(|(name, part)| ((*name).to_owned(), Template(vec![part.clone()]))).collect())
    }

    fn text(text: &str) -> Part {
        Part::Text(text.to_owned())
    }

    fn csv(fields: &[&str]) -> Step {
        Step::Emit(Emit::Csv { fields: fields.iter().map(|&name| name.to_owned()).collect(), delimiter: b',' })
    }

    /// Runs `steps` over `record` and compares what is appended, or the reason if nothing is, with `expected`.
    #[track_caller]
    fn check(steps: &[Step], record: &[u8], expected: &str) {
        let mut out = b"before".to_vec();
        let outcome = Pipeline::new(steps.to_vec()).run(&context(), record, &mut out);
        let appended = out.strip_prefix(b"before").expect("what was there stays");
        match outcome {
            Outcome::DeadLetter { reason } => {
                assert!(appended.is_empty());
                assert_eq!(reason, expected);
            }
            _ => assert_eq!(String::from_utf8_lossy(appended), expected),
        }
    }

    #[test]
    fn no_step_leaves_the_bytes_untouched() {
        for mut pipeline in [Pipeline::new(vec![]), Pipeline::default()] {
            assert!(pipeline.is_raw());
            for record in [&b"one\r\n"[..], b"", b"\n", b"\xff"] {
                let mut out = Vec::new();
                assert_eq!(pipeline.run(&context(), record, &mut out), Outcome::Emit);
                assert_eq!(out, record);
            }
        }
    }

    #[test]
    fn without_a_parse_step_the_line_is_a_message() {
        let emit = [Step::Emit(Emit::Json)];
        check(&emit, b"a \"b\"\r\n", "{\"message\":\"a \\\"b\\\"\"}\n");
        check(&emit, b"a\r", "{\"message\":\"a\\r\"}\n");
        check(&emit, b"a\n\n", "{\"message\":\"a\\n\"}\n");
        check(&emit, b"\n", "{\"message\":\"\"}\n");
        check(&emit, b"\xff", "{\"message\":\"\u{fffd}\"}\n");
        check(&[add(&[("n", text("1"))])], b"x\n", "{\"message\":\"x\",\"n\":\"1\"}\n");
    }

    #[test]
    fn json_passes_with_its_text_kept_and_its_names_made_unique() {
        let json = [parse(Format::Json)];
        check(&json, b"{ \"a\": 1.10, \"b\": [1, 2] }\n", "{\"a\":1.10,\"b\":[1, 2]}\n");
        check(&json, br#"{"a":1,"b":2,"\u0061":3}"#, "{\"a\":3,\"b\":2}\n");
        check(&json, b"{}\n", "{}\n");
    }

    #[test]
    fn a_group_that_took_no_part_is_null() {
        let steps = [regex(r"(?P<a>\w+)(-(?P<b>\w+))?(?P<c>!?)")];
        check(&steps, b"..x-y!\n", "{\"a\":\"x\",\"b\":\"y\",\"c\":\"!\"}\n");
        check(&steps, b"..x\n", "{\"a\":\"x\",\"b\":null,\"c\":\"\"}\n");
    }

    #[test]
    fn parse_steps_read_the_record_and_merge_their_fields() {
        let steps = [add(&[("k", text("v"))]), regex(r#""a":"(?P<a>.)"#), parse(Format::Json), csv(&["a", "b", "k"])];
        check(&steps, br#"{"b":2,"a":"x"}"#, "x,2,v\n");
        check(&steps[..3], br#"{"b":2,"a":"x"}"#, "{\"k\":\"v\",\"a\":\"x\",\"b\":2}\n");
    }

    #[test]
    fn added_fields_replace_in_place_or_are_appended() {
        let list = [
            ("b", Part::Host),
            ("f", Part::FilePath),
            ("n", Part::FileName),
            ("id", Part::RecordId),
            ("o", Part::RecordOffset),
        ];
        let expected = concat!(
            r#"{"a":1,"b":"web-1","c":3,"f":"/var/log/app.log","n":"app.log","id":"hw1.0000000000000abc.10-25","o":"10"}"#,
            "\n"
        );
        check(&[parse(Format::Json), add(&list)], br#"{"a":1,"b":2,"c":3}"#, expected);
    }

    #[test]
    fn a_template_joins_its_parts() {
        let template = Template(vec![text("<"), Part::Host, text("\">")]);
        let steps = [parse(Format::Json), Step::Add(vec![("t".to_owned(), template)])];
        check(&steps, b"{}", "{\"t\":\"<web-1\\\">\"}\n");
    }

    #[cfg(unix)]
    #[test]
    fn a_path_that_is_not_utf8_is_lossy() {
        use std::os::unix::ffi::OsStrExt as _;
        let path = Path::new(std::ffi::OsStr::from_bytes(b"/a/\xff.log"));
        let mut out = Vec::new();
        let mut pipeline =
            Pipeline::new(vec![parse(Format::Json), add(&[("p", Part::FilePath), ("n", Part::FileName)])]);
        pipeline.run(&Context { path, ..context() }, b"{}", &mut out);
        assert_eq!(String::from_utf8(out).expect("UTF-8"), "{\"p\":\"/a/\u{fffd}.log\",\"n\":\"\u{fffd}.log\"}\n");
    }

    #[test]
    fn csv_takes_the_fields_it_names() {
        let steps = [parse(Format::Json), csv(&["s", "n", "missing", "z", "o", "s"])];
        let record = br#"{"n":1.10,"s":"a\u002cb\n","z":null,"o":{"x":[1,2]}}"#;
        check(&steps, record, "\"a,b\n\",1.10,,,\"{\"\"x\"\":[1,2]}\",\"a,b\n\"\n");
        check(&[parse(Format::Combined), csv(&["bytes", "agent"])], LINE.as_bytes(), "5,curl\n");
    }

    #[test]
    fn emit_ends_the_chain() {
        check(&[Step::Emit(Emit::Json), add(&[("x", Part::Host)])], b"a", "{\"message\":\"a\"}\n");
    }

    #[test]
    fn a_record_that_does_not_match_goes_where_the_step_says() {
        for (on_mismatch, outcome, appended) in [
            (OnMismatch::Drop, Outcome::Drop, &b""[..]),
            (OnMismatch::KeepRaw, Outcome::EmitRaw, b"a\xff\r\n"),
            (
                OnMismatch::DeadLetter,
                Outcome::DeadLetter { reason: "common: expected a space after the host at byte 2".into() },
                b"",
            ),
        ] {
            let mut out = Vec::new();
            let steps = vec![Step::Parse { format: Format::Common, on_mismatch }, Step::Emit(Emit::Json)];
            assert_eq!(Pipeline::new(steps).run(&context(), b"a\xff\r\n", &mut out), outcome);
            assert_eq!(out, appended);
        }
    }

    #[test]
    fn a_reason_names_the_format_and_the_byte() {
        check(&[parse(Format::Combined)], b"1.2.3.4 - frank x\n", "combined: expected `[` of the date at byte 16");
        check(&[parse(Format::Json)], b"{\"a\"}\n", "json: expected `:` after the name at byte 4");
        check(&[regex("^(?P<a>x)$")], b"abc\n", "regex: the pattern matches nowhere in bytes 0 to 3");
    }

    #[test]
    fn buffers_stop_growing_once_they_are_warm() {
        let steps = [add(&[("id", Part::RecordId)]), parse(Format::Json), csv(&["id", "a", "s"])];
        let mut pipeline = Pipeline::new(steps.to_vec());
        let wide: Vec<String> = (0..100).map(|at| format!("\"\\u0041{at}\":1,")).collect();
        let record = format!("{{{}\"s\":\"x\\ty\",\n\"n\":[1,\n2]}}", wide.concat());
        let mut out = Vec::new();
        let mut capacities = Vec::new();
        for _ in 0..50 {
            out.clear();
            assert_eq!(pipeline.run(&context(), record.as_bytes(), &mut out), Outcome::Emit);
            capacities.push((pipeline.fields.capacities(), pipeline.emitter.capacity(), out.capacity()));
        }
        assert!(capacities.iter().all(|after| *after == capacities[0]), "{capacities:?}");
    }

    fn chains() -> Vec<Vec<Step>> {
        let parses = [Format::Json, Format::Common, Format::Combined].map(parse);
        let regex = regex(r#"(?P<a>[^ ]*) (?P<b>(?-u:.)+)(?P<c>")?"#);
        parses.into_iter().chain([regex, Step::Emit(Emit::Json)]).map(|step| vec![step]).collect()
    }

    fn records() -> impl Strategy<Value = Vec<u8>> {
        let bytes = proptest::collection::vec(any::<u8>(), 0..80);
        let damaged = (any::<u8>(), 0..LINE.len(), any::<bool>()).prop_map(|(byte, at, insert)| {
            let mut line = LINE.as_bytes().to_vec();
            if insert {
                line.insert(at, byte);
            } else {
                line[at] = byte;
            }
            line
        });
        let json = any::<(String, Vec<u8>)>().prop_map(|(name, value)| {
            [b"{", &serde_json::to_vec(&name).expect("JSON")[..], b":\"", &value, b"\"}\n"].concat()
        });
        prop_oneof![bytes, damaged, json]
    }

    proptest! {
        #[test]
        fn any_record_gives_one_line_of_json_or_nothing(record in records()) {
            for steps in chains() {
                let mut out = Vec::new();
                match Pipeline::new(steps).run(&context(), &record, &mut out) {
                    Outcome::Emit => {
                        prop_assert!(std::str::from_utf8(&out).is_ok());
                        prop_assert_eq!(memchr::memchr(b'\n', &out), Some(out.len() - 1));
                        prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&out).is_ok());
                    }
                    _ => prop_assert!(out.is_empty()),
                }
            }
        }

        #[test]
        fn a_pipeline_remembers_nothing_of_the_record_before(first in records(), second in records()) {
            for steps in chains() {
                let mut used = Pipeline::new(steps.clone());
                used.run(&context(), &first, &mut Vec::new());
                let (mut warm, mut fresh) = (Vec::new(), Vec::new());
                let outcome = used.run(&context(), &second, &mut warm);
                prop_assert_eq!(outcome, Pipeline::new(steps).run(&context(), &second, &mut fresh));
                prop_assert_eq!(warm, fresh);
            }
        }
    }
}
