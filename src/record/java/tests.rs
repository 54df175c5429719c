//! Chains of converters.

use std::{path::Path, time::Instant};

use super::*;
use crate::{
    model::{Generation, Now, Span},
    record::{ec2, pipeline::Pipeline},
};

/// Runs `converters` over `record`, after something else was sent already.
fn run(converters: Vec<Converter>, record: &[u8]) -> (Outcome, String) {
    let context = Context {
        host: "web-1",
        ec2: &ec2::Shared::default(),
        now: Now { mono: Instant::now(), wall: 1_700_000_000_123_999_999 },
        path: Path::new("/var/log/app.log"),
        generation: Generation(1),
        span: Span { start: 0, end: record.len() as u64 },
    };
    let mut out = b"before".to_vec();
    let outcome = Pipeline::java(converters).run(&context, record, &mut out);
    let sent = out.split_off(b"before".len());
    assert_eq!(out, b"before", "what was there stays");
    (outcome, String::from_utf8_lossy(&sent).into_owned())
}

fn names(list: &[&str]) -> FieldNames {
    list.iter().map(|&name| Some(name.to_owned())).collect()
}

fn single_line() -> Converter {
    Converter::SingleLine { trim: true, escape_new_line: false }
}

fn csv(list: &[&str]) -> Converter {
    let delimiter = Delimiter::new(Some(",")).expect("supported");
    Converter::CsvToJson(Csv::new(Some(&names(list)), delimiter, Layout::Compact))
}

fn syslog() -> Converter {
    Converter::LogToJson(Log::builtin(Format::Syslog, None, Layout::Compact).expect("its own names"))
}

fn added(timestamp: bool) -> Converter {
    Converter::AddMetadata(Metadata::new(json::Value::Integer("1".to_owned()), timestamp, Layout::Compact))
}

#[test]
fn a_converter_reads_what_the_one_before_it_wrote() {
    let chain = vec![single_line(), csv(&["a", "b"]), added(false), Converter::AddBrackets];
    let expected = "{{\"metadata\":1,\"data\":\"{\\\"a\\\":\\\"1\\\",\\\"b\\\":\\\"2\\\"}\"}\n}";
    assert_eq!(run(chain, b" 1, \n 2 \n"), (Outcome::Emit, expected.to_owned()));
}

#[test]
fn where_one_converter_fails_the_record_is_sent_as_it_was_read() {
    let failing = || Converter::CsvToJson(Csv::new(None, Delimiter::new(None).expect("supported"), Layout::Compact));
    for chain in [vec![failing()], vec![single_line(), failing()], vec![single_line(), failing(), syslog()]] {
        let (outcome, sent) = run(chain, b" a \n b \n");
        assert!(matches!(outcome, Outcome::EmitRaw(why) if why.format == "CSVTOJSON"), "{outcome:?}");
        assert_eq!(sent, " a \n b \n");
    }
}

#[test]
fn what_is_skipped_is_seen_by_no_converter_behind() {
    for chain in [vec![syslog()], vec![single_line(), syslog()], vec![syslog(), added(true)]] {
        let (outcome, sent) = run(chain, b"no syslog\n");
        assert!(matches!(outcome, Outcome::Drop(why) if why.format == "LOGTOJSON"), "{outcome:?}");
        assert_eq!(sent, "");
    }
}

#[test]
fn no_converter_leaves_the_bytes_untouched() {
    assert!(Pipeline::java(vec![]).is_raw());
    assert_eq!(run(vec![], b"\xff\r\n"), (Outcome::Emit, "\u{fffd}\r\n".to_owned()));
}

#[test]
fn the_time_is_cut_to_milliseconds_in_utc() {
    let expected = "{\"ts\":\"2023-11-14T22:13:20.123Z\",\"metadata\":1,\"data\":\"a\"}\n";
    assert_eq!(run(vec![added(true)], b"a\n"), (Outcome::Emit, expected.to_owned()));
    let pretty = Converter::AddMetadata(Metadata::new(json::Value::Null, true, Layout::Pretty));
    let expected = "{\n  \"ts\" : \"2023-11-14T22:13:20.123Z\",\n  \"metadata\" : null,\n  \"data\" : \"\"\n}\n";
    assert_eq!(run(vec![pretty], b"\n"), (Outcome::Emit, expected.to_owned()));
}

#[test]
fn without_an_instance_its_metadata_changes_nothing() {
    let chain = || vec![Converter::AddEc2Metadata(InstanceMetadata::new(Layout::Compact, None))];
    assert_eq!(run(chain(), b"no json"), (Outcome::Emit, "no json".to_owned()));
}

#[test]
fn a_warm_chain_allocates_nothing() {
    let pattern = pattern::Pattern::parse(r"^(\S+) (\S+) (\S+) (\S+) (.*)$", pattern::Flags::default());
    let regex = pattern.and_then(|pattern| pattern.matches()).expect("supported");
    let five = names(&["a", "b", "c", "d", "e"]);
    let record = b"Mar 12 12:00:08 server2 rcd[308]: Loaded, 12 \"packages\"\n";
    for chain in [
        vec![single_line()],
        vec![csv(&["a", "b"])],
        vec![syslog(), Converter::AddBrackets],
        vec![Converter::LogToJson(Log::pattern(Format::Syslog, regex, &five, Layout::Pretty))],
        vec![single_line(), syslog(), added(true)],
    ] {
        let context = Context {
            host: "web-1",
            ec2: &ec2::Shared::default(),
            now: Now { mono: Instant::now(), wall: 1_700_000_000_123_999_999 },
            path: Path::new("/var/log/app.log"),
            generation: Generation(1),
            span: Span { start: 0, end: record.len() as u64 },
        };
        let mut pipeline = Pipeline::java(chain);
        let mut out = Vec::with_capacity(10_000);
        pipeline.run(&context, record, &mut out);
        pipeline.run(&context, record, &mut out);
        let info = allocation_counter::measure(|| {
            assert_eq!(pipeline.run(&context, record, &mut out), Outcome::Emit);
        });
        assert_eq!(info.count_total, 0, "{pipeline:?}");
    }
}
