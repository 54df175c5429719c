//! What becomes of a record, step by step.

use std::{num::NonZeroU64, path::Path, sync::LazyLock, time::Instant};

use proptest::prelude::*;

use super::*;
use crate::record::{
    regex::Regex,
    steps::{Key, Replacement, Test, With},
    template::{Part, Template, Variable},
};

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
    Step::Parse { format, refine: Refine::default(), on_mismatch: OnMismatch::DeadLetter }
}

fn regex(pattern: &str) -> Step {
    parse(Format::Regex(super::super::regex::Regex::new(pattern).expect("a pattern")))
}

fn add(list: &[(&str, Part)]) -> Step {
    let added = |part: &Part| Added::Text(Template(vec![part.clone()]));
    Step::Add(list.iter().map(|(name, part)| ((*name).to_owned(), added(part))).collect())
}

fn text(text: &str) -> Part {
    Part::Text(text.to_owned())
}

fn csv(fields: &[&str]) -> Step {
    Step::Emit(Emit::Csv {
        fields: fields.iter().map(|&name| name.to_owned()).collect(),
        delimiter: b',',
        quote: Quote::Minimal,
        null: String::new(),
    })
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
        ("b", Part::Variable(Variable::Host)),
        ("f", Part::Variable(Variable::FilePath)),
        ("n", Part::Variable(Variable::FileName)),
        ("id", Part::Variable(Variable::RecordId)),
        ("o", Part::Variable(Variable::RecordOffset)),
    ];
    let expected = concat!(
        r#"{"a":1,"b":"web-1","c":3,"f":"/var/log/app.log","n":"app.log","id":"hw1.0000000000000abc.10-25","o":"10"}"#,
        "\n"
    );
    check(&[parse(Format::Json), add(&list)], br#"{"a":1,"b":2,"c":3}"#, expected);
}

#[test]
fn a_template_joins_its_parts() {
    let template = Template(vec![text("<"), Part::Variable(Variable::Host), text("\">")]);
    let steps = [parse(Format::Json), Step::Add(vec![("t".to_owned(), Added::Text(template))])];
    check(&steps, b"{}", "{\"t\":\"<web-1\\\">\"}\n");
}

#[cfg(unix)]
#[test]
fn a_path_that_is_not_utf8_is_lossy() {
    use std::os::unix::ffi::OsStrExt as _;
    let path = Path::new(std::ffi::OsStr::from_bytes(b"/a/\xff.log"));
    let mut out = Vec::new();
    let mut pipeline = Pipeline::new(vec![
        parse(Format::Json),
        add(&[("p", Part::Variable(Variable::FilePath)), ("n", Part::Variable(Variable::FileName))]),
    ]);
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
    check(&[Step::Emit(Emit::Json), add(&[("x", Part::Variable(Variable::Host))])], b"a", "{\"message\":\"a\"}\n");
}

fn pattern(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern")
}

fn hide(field: Option<&str>, of: &str, with: &str) -> Step {
    let pattern = pattern(of);
    let with = With::Text(Replacement::new(with, &pattern).expect("its groups"));
    Step::Redact(Redact::Matches { field: field.map(str::to_owned), pattern, with })
}

fn equals(name: &str, text: &str) -> Condition {
    Condition::Field { name: name.to_owned(), test: Test::In(vec![text.to_owned()]) }
}

fn names(list: &[&str]) -> Vec<String> {
    list.iter().map(|&name| name.to_owned()).collect()
}

#[track_caller]
fn check_outcome(steps: &[Step], record: &[u8], expected: &Outcome) {
    let mut out = Vec::new();
    assert_eq!(Pipeline::new(steps.to_vec()).run(&context(), record, &mut out), *expected);
    assert_eq!(out.is_empty(), *expected != Outcome::Emit);
}

#[test]
fn steps_that_make_no_fields_leave_the_line_and_its_end() {
    let one = Limit::OneIn(NonZeroU64::MIN);
    let steps = [Step::DropIf(Condition::Line(pattern("^x"))), Step::Limit(one), hide(None, "b+", "*")];
    check(&steps[..2], b"a \xffbb\r\n", "a \u{fffd}bb\r\n");
    check(&steps, b"abbc\r\n", "a*c\r\n");
    check(&steps, b"abbc", "a*c");
    check(&[Step::SingleLine(SingleLine::default())], b"a\r\n\tb\n\n", "a b\n");
    check_outcome(&steps, b"xabc\n", &Outcome::Skip);
    check_outcome(&[Step::KeepIf(equals("message", "a"))], b"a\n", &Outcome::Emit);
    check_outcome(&[Step::KeepIf(equals("message", "a"))], b"b\n", &Outcome::Skip);
}

#[test]
fn what_makes_fields_is_written_as_json_unless_raw_is_asked_for() {
    check(&[Step::Rename(vec![("message".into(), "m".into())])], b"a\n", "{\"m\":\"a\"}\n");
    check(&[hide(Some("message"), "a", "*")], b"ab\n", "{\"message\":\"*b\"}\n");
    check(&[Step::DropIf(equals("a", "2")), Step::Emit(Emit::Json)], b"a\n", "{\"message\":\"a\"}\n");
    let by_field = [parse(Format::Json), Step::KeepIf(equals("a", "1")), Step::Emit(Emit::Raw)];
    check(&by_field, b"{ \"a\" : \"1\" }\r\n", "{ \"a\" : \"1\" }\r\n");
    check_outcome(&by_field, b"{\"a\":2}\n", &Outcome::Skip);
}

#[test]
fn what_rewrites_the_line_comes_before_what_reads_it() {
    let steps = [Step::SingleLine(SingleLine::default()), hide(None, r"\d{4,}", "0"), parse(Format::Json)];
    check(&steps, b"{\n  \"a\": 12345,\n  \"b\": [1,\n 2]\n}\n", "{\"a\":0,\"b\":[1, 2]}\n");
    // As the message, too, and as what is sent where nothing matches.
    check(&[hide(None, "b", "*"), Step::Emit(Emit::Json)], b"abc\n", "{\"message\":\"a*c\"}\n");
    let kept = Step::Parse { format: Format::Json, refine: Refine::default(), on_mismatch: OnMismatch::KeepRaw };
    check(&[hide(None, "b", "*"), kept], b"abc\r\n", "a*c\r\n");
}

#[test]
fn after_a_parse_texts_are_rewritten_field_by_field() {
    let record = br#"{"a":"x\u0031","b":{"c":["1",2]},"d":true}"#;
    let steps = [parse(Format::Json), hide(None, "1", "*"), hide(Some("b"), "2", "two")];
    check(&steps, record, "{\"a\":\"x*\",\"b\":{\"c\":[\"*\",\"two\"]},\"d\":true}\n");
    let steps = [parse(Format::Json), Step::SingleLine(SingleLine::default())];
    check(&steps, br#"{"a":"x\n\ty"}"#, "{\"a\":\"x y\"}\n");
}

#[test]
fn fields_are_removed_kept_and_renamed() {
    let record = br#"{"a":1,"b":2,"\u0063":3,"d":4}"#;
    check(&[parse(Format::Json), Step::Remove(names(&["c", "a", "x"]))], record, "{\"b\":2,\"d\":4}\n");
    check(&[parse(Format::Json), Step::Keep(names(&["c", "a", "x"]))], record, "{\"a\":1,\"c\":3}\n");
    let rename = |list: &[(&str, &str)]| {
        Step::Rename(list.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect())
    };
    check(&[parse(Format::Json), rename(&[("a", "z"), ("x", "y")])], record, "{\"z\":1,\"b\":2,\"c\":3,\"d\":4}\n");
    check(&[parse(Format::Json), rename(&[("c", "a")])], record, "{\"b\":2,\"a\":3,\"d\":4}\n");
    check(&[parse(Format::Json), rename(&[("a", "c")])], record, "{\"c\":1,\"b\":2,\"d\":4}\n");
    check(&[parse(Format::Json), rename(&[("a", "a"), ("b", "a")])], record, "{\"a\":2,\"c\":3,\"d\":4}\n");
}

#[test]
fn a_record_beyond_the_limit_is_not_sent() {
    let mut pipeline = Pipeline::new(vec![Step::Limit(Limit::PerSecond(NonZeroU64::MIN))]);
    let context = context();
    let mut out = Vec::new();
    assert_eq!(pipeline.run(&context, b"a\n", &mut out), Outcome::Emit);
    assert_eq!(pipeline.run(&context, b"b\n", &mut out), Outcome::OverLimit);
    assert_eq!(out, b"a\n");
    let mut free = pipeline.without_rates();
    assert_eq!(free.run(&context, b"b\n", &mut out), Outcome::Emit, "what was sent once has passed");
}

#[test]
fn a_search_that_is_given_up_sends_the_record_to_the_dead_letters() {
    let record = b"ab".repeat(40);
    for (steps, name) in [
        ([Step::DropIf(Condition::Line(pattern(r"^(a|b|ab)*\1c$")))], "drop_if"),
        ([hide(None, r"^(a|b|ab)*\1c$", "*")], "redact"),
    ] {
        check(&steps, &record, &format!("{name}: the pattern takes more than 100000 steps on this text"));
    }
}

#[test]
fn a_warm_chain_allocates_nothing() {
    let hash = With::Hash(Key::new(b"secret"));
    let steps = vec![
        Step::SingleLine(SingleLine::default()),
        hide(None, r"card=(\d+)", "card=$1"),
        parse(Format::Json),
        Step::DropIf(Condition::Any(vec![equals("s", "no"), Condition::Line(pattern("^x"))])),
        add(&[("id", Part::Variable(Variable::RecordId)), ("at", Part::Variable(Variable::Now))]),
        add(&[("copy", Part::Field("s".to_owned()))]),
        hide(None, "[0-9]{4}", "****"),
        Step::Redact(Redact::Field { field: "user".to_owned(), with: hash }),
        Step::Rename(vec![("s".to_owned(), "t".to_owned())]),
        Step::Remove(names(&["z"])),
        Step::Limit(Limit::OneIn(NonZeroU64::MIN)),
        csv(&["id", "t", "user", "n"]),
    ];
    let mut pipeline = Pipeline::new(steps);
    let record = b"{\"s\":\"x\\ty 1234\",\n\"user\":\"ann\",\"n\":{\"a\":[\"card=1234\",1234]},\"z\":1}\n";
    let mut out = Vec::new();
    for _ in 0..3 {
        out.clear();
        assert_eq!(pipeline.run(&context(), record, &mut out), Outcome::Emit);
    }
    out.clear();
    let context = context();
    let counted = allocation_counter::measure(|| {
        pipeline.run(&context, record, &mut out);
    });
    assert_eq!(counted.count_total, 0);
    assert!(out.ends_with(b",\"{\"\"a\"\":[\"\"card=****\"\",\"\"****\"\"]}\"\n"), "{}", String::from_utf8_lossy(&out));
}

#[test]
fn a_record_that_does_not_match_goes_where_the_step_says() {
    let why = Unmatched { format: "common", mismatch: Mismatch::Expected { what: "a space after the host", at: 2 } };
    for (on_mismatch, outcome, appended) in [
        (OnMismatch::Drop, Outcome::Drop(why), &b""[..]),
        (OnMismatch::KeepRaw, Outcome::EmitRaw(why), b"a\xff\r\n"),
        (
            OnMismatch::DeadLetter,
            Outcome::DeadLetter { reason: "common: expected a space after the host at byte 2".into() },
            b"",
        ),
    ] {
        let mut out = Vec::new();
        let step = Step::Parse { format: Format::Common, refine: Refine::default(), on_mismatch };
        let mut pipeline = Pipeline::new(vec![step, Step::Emit(Emit::Json)]);
        assert_eq!(pipeline.run(&context(), b"a\xff\r\n", &mut out), outcome);
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
    let steps = [add(&[("id", Part::Variable(Variable::RecordId))]), parse(Format::Json), csv(&["id", "a", "s"])];
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
    let parses = [
        Format::Json,
        Format::Common,
        Format::Combined,
        Format::Logfmt,
        Format::ApacheError,
        Format::NginxError,
        Format::SyslogRfc3164,
        Format::SyslogRfc5424,
        Format::Docker,
        Format::Cri,
    ]
    .map(parse);
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
