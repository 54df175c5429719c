//! What fuzzing found worth keeping, replayed as ordinary tests: each file of `fuzz/corpus/<target>/` goes through what
//! `fuzz/fuzz_targets/<target>.rs` does with it.

use std::{fs, path::Path};

use headwater::{
    config::parse_text,
    record::{
        parse::{Format, Grok, Refine, TimeFormat, TimestampOptions, Type, csv, pairs, zone},
        regex::Regex,
    },
};

#[path = "../../fuzz/fuzz_targets/check/mod.rs"]
mod check;
#[path = "../../fuzz/fuzz_targets/check/checkpoint.rs"]
mod checkpoint;
#[path = "../../fuzz/fuzz_targets/check/java_chain.rs"]
mod java_chain;
#[path = "../../fuzz/fuzz_targets/check/java_json.rs"]
mod java_json;
#[path = "../../fuzz/fuzz_targets/check/java_pattern.rs"]
mod java_pattern;
#[path = "../../fuzz/fuzz_targets/check/split.rs"]
mod split;
#[path = "../../fuzz/fuzz_targets/check/steps.rs"]
mod steps;

type Target = fn(&[u8]);

/// One entry for each folder of the corpus.
const TARGETS: [(&str, Target); 16] = [
    ("checkpoint", checkpoint::check),
    ("config", config),
    ("java_chain", java_chain::check),
    ("java_json", java_json::check),
    ("java_pattern", java_pattern::check),
    ("parse_access", parse_access),
    ("parse_container", parse_container),
    ("parse_csv", parse_csv),
    ("parse_errorlog", parse_errorlog),
    ("parse_grok", parse_grok),
    ("parse_json", parse_json),
    ("parse_pairs", parse_pairs),
    ("parse_regex", parse_regex),
    ("parse_syslog", parse_syslog),
    ("split", split::check),
    ("steps", steps::check),
];

fn config(input: &[u8]) {
    // The fuzzer cuts what is no UTF-8 off, too.
    let text = input.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let _ = parse_text("fuzz.yaml", text, &|_| None);
}

fn parse_access(record: &[u8]) {
    let combined = check::check(Format::Combined, &["host", "request", "agent"], record);
    let common = check::check(Format::Common, &["host", "request", "bytes"], record);
    assert!(common || !combined);
}

fn parse_json(record: &[u8]) {
    let accepted = check::check(Format::Json, &["a", "message"], record);
    let object = std::str::from_utf8(record).is_ok()
        && record.trim_ascii_start().starts_with(b"{")
        && serde_json::from_slice::<serde::de::IgnoredAny>(record).is_ok();
    assert!(object || !accepted, "accepted what is no JSON object");
    let may_be_out_of_bounds = record.iter().filter(|&&byte| b"{[,".contains(&byte)).count() >= 128;
    assert!(accepted || !object || may_be_out_of_bounds, "refused a JSON object");
}

fn parse_regex(input: &[u8]) {
    let Some(end) = input.iter().position(|&byte| byte == b'\n') else { return };
    let Ok(pattern) = std::str::from_utf8(&input[..end]) else { return };
    let Ok(regex) = Regex::new(pattern) else { return };
    check::check(Format::Regex(regex), &["a", "b"], &input[end + 1..]);
}

fn parse_csv(input: &[u8]) {
    let Some((&choice, record)) = input.split_first() else { return };
    let delimiter = [b',', b';', b'\t', b' '][usize::from(choice % 4)];
    let accepted = ["a", "b", "c"].map(|last| {
        let names = ["a", "b", "c"].iter().take_while(|name| **name <= last).map(|&name| name.to_owned()).collect();
        let columns = csv::Columns::Named(names);
        let options = csv::Options { columns, delimiter, quote: b'"', trim: choice >= 128 };
        check::check(Format::Csv(options), &["a", "b"], record)
    });
    assert!(accepted.is_sorted());
}

fn parse_pairs(record: &[u8]) {
    let types = [("a", Type::Int), ("b", Type::Float), ("c", Type::Bool)].map(|(name, kind)| (name.to_owned(), kind));
    for format in ["rfc3339", "httpdate", "syslog", "unix", "%d %B %y %I %p"] {
        let timestamp = TimestampOptions {
            field: "t".to_owned(),
            to: None,
            format: TimeFormat::new(format).expect("a format"),
            zone: zone("UTC").expect("a zone"),
        };
        let refine =
            Refine { types: types.to_vec(), timestamp: Some(Box::new(timestamp)), null_if: vec!["-".to_owned()] };
        check::check_refined(Format::Logfmt, &refine, &["a", "b", "t"], record);
    }
    for (field, value, trim) in [(" ", "=", true), ("; ", ":", false)] {
        let options = pairs::Options { field_delimiter: field.to_owned(), value_delimiter: value.to_owned(), trim };
        check::check(Format::KeyValue(options), &["a", "b"], record);
    }
}

fn parse_syslog(record: &[u8]) {
    let columns = ["severity", "hostname", "structured_data", "message"];
    let old = check::check(Format::SyslogRfc3164, &columns, record);
    let new = check::check(Format::SyslogRfc5424, &columns, record);
    assert!(!old || !new);
}

fn parse_errorlog(record: &[u8]) {
    let apache = check::check(Format::ApacheError, &["module", "client", "port", "message"], record);
    let nginx = check::check(Format::NginxError, &["cid", "message", "request", "host"], record);
    assert!(!apache || !nginx);
}

fn parse_container(record: &[u8]) {
    let docker = check::check(Format::Docker, &["message", "stream"], record);
    let json = check::check(Format::Json, &["log"], record);
    assert!(json || !docker);
    check::check(Format::Cri, &["logtag", "message"], record);
}

fn parse_grok(input: &[u8]) {
    let Some(end) = input.iter().position(|&byte| byte == b'\n') else { return };
    let Ok(pattern) = std::str::from_utf8(&input[..end]) else { return };
    let own = [("A".to_owned(), "%{B:b}".to_owned()), ("B".to_owned(), "[a-z]+%{INT}?".to_owned())];
    let Ok(grok) = Grok::new(pattern, &own) else { return };
    check::check(Format::Grok(Box::new(grok)), &["a", "b"], &input[end + 1..]);
}

/// Names of the entries of a folder below `fuzz`, in order, without their extensions if `stems`.
fn names(folder: &str, stems: bool) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
    let mut names: Vec<String> = fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.expect("a folder of the repository can be listed").path())
        .filter(|path| !stems || path.extension().is_some_and(|e| e == "rs"))
        .filter_map(|path| {
            if stems { path.file_stem() } else { path.file_name() }.map(|n| n.to_string_lossy().into_owned())
        })
        .collect();
    names.sort();
    names
}

#[test]
fn every_fuzz_target_has_a_corpus_that_is_replayed() {
    let replayed: Vec<&str> = TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(names("fuzz_targets", true), replayed);
    assert_eq!(names("corpus", false), replayed);
}

#[test]
fn the_corpora_pass_what_the_fuzz_targets_check() {
    for (target, run) in TARGETS {
        let files = names(&format!("corpus/{target}"), false);
        assert!(!files.is_empty(), "the corpus of {target} is empty");
        for file in files {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target).join(&file);
            let input = fs::read(&path).expect("a file of the corpus can be read");
            let passed = std::panic::catch_unwind(|| run(&input));
            assert!(passed.is_ok(), "{}", path.display());
        }
    }
}
