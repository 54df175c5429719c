//! What holds for every chain and every record.

use std::{path::Path, time::Instant};

use headwater::{
    model::{Generation, Now, Span},
    record::{
        ec2,
        parse::{Format, Refine},
        pipeline::{Context, Emit, OnMismatch, Outcome, Pipeline, Quote, Step},
    },
};

/// Parses `record`, writes it as JSON and as CSV, and checks what comes out. True if the record is of the format.
pub fn check(format: Format, columns: &[&str], record: &[u8]) -> bool {
    check_refined(format, &Refine::default(), columns, record)
}

/// The same, with types, times and nulls.
pub fn check_refined(format: Format, refine: &Refine, columns: &[&str], record: &[u8]) -> bool {
    let json = run(format.clone(), refine, Emit::Json, record);
    if let Some(json) = &json {
        assert_eq!(json.iter().position(|&byte| byte == b'\n'), Some(json.len() - 1), "one line");
        serde_json::from_slice::<serde::de::IgnoredAny>(json).expect("JSON");
    }
    let fields = columns.iter().map(|&name| name.to_owned()).collect();
    let emit = Emit::Csv { fields, delimiter: b',', quote: Quote::Minimal, null: String::new() };
    let csv = run(format, refine, emit, record);
    assert_eq!(json.is_some(), csv.is_some(), "a match does not depend on what is written");
    json.is_some()
}

/// What is sent; none if the record is not of the format.
fn run(format: Format, refine: &Refine, emit: Emit, record: &[u8]) -> Option<Vec<u8>> {
    let context = Context {
        host: "host",
        ec2: &ec2::Shared::default(),
        now: Now { mono: Instant::now(), wall: 0 },
        path: Path::new("/var/log/fuzz.log"),
        generation: Generation(1),
        span: Span { start: 0, end: record.len() as u64 },
    };
    let steps =
        vec![Step::Parse { format, refine: refine.clone(), on_mismatch: OnMismatch::DeadLetter }, Step::Emit(emit)];
    let mut out = b"before".to_vec();
    let outcome = Pipeline::new(steps).run(&context, record, &mut out);
    let sent = out.split_off(b"before".len());
    assert_eq!(out, b"before", "what was there stays");
    match outcome {
        Outcome::Emit => {
            assert!(std::str::from_utf8(&sent).is_ok(), "UTF-8");
            assert!(sent.ends_with(b"\n"), "a newline at the end");
            Some(sent)
        }
        Outcome::DeadLetter { reason } => {
            assert!(sent.is_empty() && !reason.is_empty(), "a reason and nothing sent");
            None
        }
        other => panic!("{other:?}"),
    }
}
