//! What holds for steps and every record, whatever it holds.

use std::{path::Path, time::Instant};

use headwater::{
    model::{Generation, Now, Span},
    record::{
        ec2,
        parse::{Format, Refine},
        pipeline::{Context, Emit, OnMismatch, Outcome, Pipeline, Quote, Step},
        regex::Regex,
        steps::{Condition, Key, Number, Order, Redact, Replacement, SingleLine, Test, With},
        template::{Added, Part, Piece, Template, Variable},
    },
};
use serde_json::Value;

/// Runs the record through each chain.
pub fn check(record: &[u8]) {
    lines_are_joined(record);
    filters_are_opposites(record);
    no_digit_survives(record);
    everything_at_once(record);
    look_around(record);
}

fn lines_are_joined(record: &[u8]) {
    let (outcome, sent) = run(vec![Step::SingleLine(SingleLine::default())], record);
    assert_eq!(outcome, Outcome::Emit);
    assert_eq!(line_ends(&sent), usize::from(record.ends_with(b"\n")), "the line end alone");
}

fn line_ends(sent: &[u8]) -> usize {
    sent.split(|&byte| byte == b'\n').count() - 1
}

fn filters_are_opposites(record: &[u8]) {
    let at_least = |number: &str| Test::Compare(Order::AtLeast, Number::read(number.as_bytes()).expect("a number"));
    let field = |name: &str, test| Condition::Field { name: name.to_owned(), test };
    let conditions = [
        Condition::Line(pattern("a|\"")),
        field("a", Test::In(vec!["1".to_owned(), "x".to_owned()])),
        Condition::Any(vec![field("a", at_least("1.5")), field("b", Test::Exists(true))]),
        Condition::Not(Box::new(field("a", Test::Matches(pattern("^[a-z]"))))),
    ];
    for condition in conditions {
        for parse in [None, Some(json())] {
            let chain = |filter| parse.clone().into_iter().chain([filter, Step::Emit(Emit::Raw)]).collect();
            let (dropped, left) = run(chain(Step::DropIf(condition.clone())), record);
            let (kept, right) = run(chain(Step::KeepIf(condition.clone())), record);
            match (dropped, kept) {
                (Outcome::Emit, Outcome::Skip) => assert_eq!(left, record),
                (Outcome::Skip, Outcome::Emit) => assert_eq!(right, record),
                (Outcome::DeadLetter { reason: one }, Outcome::DeadLetter { reason: other }) => assert_eq!(one, other),
                other => panic!("{other:?}"),
            }
        }
    }
}

fn no_digit_survives(record: &[u8]) {
    let digits = || redact(None, "[0-9]", "#");
    let (outcome, sent) = run(vec![digits()], record);
    assert_eq!(outcome, Outcome::Emit);
    let expected: Vec<u8> = record.iter().map(|byte| if byte.is_ascii_digit() { b'#' } else { *byte }).collect();
    assert_eq!(sent, expected);
    let (outcome, sent) = run(vec![json(), digits()], record);
    if outcome == Outcome::Emit {
        // Some escapes of JSON are beyond what the judge reads.
        if let Ok(value) = serde_json::from_slice::<Value>(&sent) {
            assert!(!has_digit(&value), "{}", String::from_utf8_lossy(&sent));
        }
    }
}

/// Whether a digit stands anywhere but in a name.
fn has_digit(value: &Value) -> bool {
    match value {
        Value::Number(_) => true,
        Value::String(text) => text.contains(|c: char| c.is_ascii_digit()),
        Value::Array(list) => list.iter().any(has_digit),
        Value::Object(map) => map.values().any(has_digit),
        Value::Null | Value::Bool(_) => false,
    }
}

fn everything_at_once(record: &[u8]) {
    let names = |list: &[&str]| list.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let text = |parts: Vec<Part>| Template(parts);
    let field = |name: &str| Part::Field(name.to_owned());
    let nested = vec![
        Piece::Json("{\"x\":[".to_owned()),
        Piece::Text(text(vec![field("a")])),
        Piece::Json(",".to_owned()),
        Piece::Text(text(vec![Part::Text("<".to_owned()), field("b"), Part::Variable(Variable::Host)])),
        Piece::Json("]}".to_owned()),
    ];
    let steps = [
        json(),
        Step::Add(vec![("n".to_owned(), Added::Json(nested)), ("c".to_owned(), Added::Text(text(vec![field("a")])))]),
        Step::Rename(vec![("a".to_owned(), "b".to_owned()), ("x".to_owned(), "a".to_owned())]),
        redact(None, "(?s)(.)[a-c]", "$1*"),
        Step::Redact(Redact::Field { field: "c".to_owned(), with: With::Hash(Key::new(b"key")) }),
        Step::SingleLine(SingleLine::default()),
        Step::Remove(names(&["z"])),
    ];
    for emit in [Emit::Json, Emit::PrettyJson] {
        let compact = emit == Emit::Json;
        let (outcome, sent) = run(steps.iter().cloned().chain([Step::Emit(emit)]).collect(), record);
        if outcome == Outcome::Emit {
            assert!(sent.ends_with(b"\n"), "a newline at the end");
            assert!(!compact || line_ends(&sent) == 1, "one line");
            serde_json::from_slice::<serde::de::IgnoredAny>(&sent).expect("JSON");
        }
    }
    for quote in [Quote::Minimal, Quote::Always, Quote::Never] {
        let emit = Emit::Csv { fields: names(&["a", "n", "c"]), delimiter: b',', quote, null: "\\N".to_owned() };
        let (outcome, sent) = run(steps.iter().cloned().chain([Step::Emit(emit)]).collect(), record);
        assert!(outcome != Outcome::Emit || std::str::from_utf8(&sent).is_ok(), "UTF-8");
    }
}

fn look_around(record: &[u8]) {
    let (outcome, sent) = run(vec![redact(None, r"(?<=a)(\w)\1", "$1")], record);
    match outcome {
        Outcome::Emit => assert!(sent.len() <= record.len()),
        Outcome::DeadLetter { reason } => assert!(!reason.is_empty()),
        other => panic!("{other:?}"),
    }
}

fn json() -> Step {
    Step::Parse { format: Format::Json, refine: Refine::default(), on_mismatch: OnMismatch::DeadLetter }
}

fn pattern(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a pattern")
}

fn redact(field: Option<&str>, of: &str, with: &str) -> Step {
    let pattern = pattern(of);
    let with = With::Text(Replacement::new(with, &pattern).expect("its groups"));
    Step::Redact(Redact::Matches { field: field.map(str::to_owned), pattern, with })
}

/// What becomes of the record, and what is sent.
fn run(steps: Vec<Step>, record: &[u8]) -> (Outcome, Vec<u8>) {
    let context = Context {
        host: "host",
        ec2: &ec2::Shared::default(),
        now: Now { mono: Instant::now(), wall: 0 },
        path: Path::new("/var/log/fuzz.log"),
        generation: Generation(1),
        span: Span { start: 0, end: record.len() as u64 },
    };
    let mut out = b"before".to_vec();
    let outcome = Pipeline::new(steps).run(&context, record, &mut out);
    let sent = out.split_off(b"before".len());
    assert_eq!(out, b"before", "what was there stays");
    assert!(outcome == Outcome::Emit || sent.is_empty(), "nothing sent");
    (outcome, sent)
}
