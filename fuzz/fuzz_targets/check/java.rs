//! What holds for whatever the Java agent would read.

use std::{path::Path, time::Instant};

use headwater::{
    config::java::converter,
    model::{Generation, Now, Span},
    record::{
        ec2::{Instance, Shared},
        java::{
            json::{self, Extras, MAX_DEPTH},
            pattern::{Flags, Pattern},
        },
        pipeline::{Context, Outcome, Pipeline},
        regex::Regex,
    },
};
use serde::de::IgnoredAny;

/// Reads JSON, and writes what it read: JSON again, in both layouts.
pub fn json(input: &[u8]) {
    let text = input.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    for extras in [Extras::default(), Extras { comments_and_infinity: true }] {
        let Ok((node, end)) = json::parse(text, extras) else { continue };
        assert!(end <= text.len(), "it ends in the text");
        let (mut compact, mut pretty) = (Vec::new(), Vec::new());
        node.value.push_compact(&mut compact);
        node.value.push_pretty(&mut pretty);
        let [compact, pretty] = [compact, pretty].map(|json| String::from_utf8(json).expect("UTF-8"));
        let shallow = text.bytes().filter(|byte| b"{[".contains(byte)).count() < 100;
        assert!(!shallow || serde_json::from_str::<IgnoredAny>(&compact).is_ok(), "JSON");
        for written in [&compact, &pretty] {
            let (again, end) = json::parse(written, Extras::default()).expect("what was written can be read");
            assert_eq!(end, written.len());
            assert_eq!(again.value.to_string(), compact, "reading it again changes nothing");
        }
    }
    assert!(json::parse(&"[".repeat(MAX_DEPTH + 1), Extras::default()).is_err());
}

/// The input's first line is a Java pattern, the rest is text: whatever is accepted can be searched.
pub fn pattern(input: &[u8]) {
    let end = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
    let Ok(pattern) = std::str::from_utf8(&input[..end]) else { return };
    let text = input[end..].utf8_chunks().next().map_or("", |chunk| chunk.valid());
    for multi_line in [false, true] {
        let Ok(parsed) = Pattern::parse(pattern, Flags { multi_line }) else { return };
        let (Ok(whole), Ok(begins)) = (parsed.matches(), parsed.looking_at()) else { continue };
        let mut groups = whole.groups();
        let Ok(matched) = whole.search(text.as_bytes(), &mut groups) else { continue };
        assert!(!matched || groups.get(0) == Some((0, text.len())), "a match is the whole text");
        assert!(
            !matched || begins.is_match(text.as_bytes()) != Ok(false),
            "what matches whole matches at the beginning"
        );
        if let Some(literal) = parsed.literal() {
            assert!(matches!(whole, Regex::Linear(_)));
            assert_eq!(matched, literal == text);
        }
        let Ok(find) = parsed.find() else { continue };
        if let Ok(Some((start, end))) = find.find_at(text, 0) {
            assert!(start <= end && end <= text.len());
        }
    }
}

/// The input's lines are entries of `dataProcessingOptions` up to an empty one; what follows is a record.
pub fn chain(input: &[u8]) {
    let end = input.windows(2).position(|two| two == b"\n\n").unwrap_or(input.len());
    let Ok(entries) = std::str::from_utf8(&input[..end]) else { return };
    let record = input.get(end + 2..).unwrap_or_default();
    let mut converters = Vec::new();
    for entry in entries.lines().take(8) {
        let Ok(found) = converter(entry) else { return };
        converters.extend(found);
    }
    let shared = Shared::default();
    shared.set(Instance { region: Some("eu-west-1".to_owned()), ..Instance::default() });
    let context = Context {
        host: "host",
        ec2: &shared,
        now: Now { mono: Instant::now(), wall: 0 },
        path: Path::new("/var/log/fuzz.log"),
        generation: Generation(1),
        span: Span { start: 0, end: record.len() as u64 },
    };
    let mut pipeline = Pipeline::java(converters);
    let mut outputs = Vec::new();
    for _ in 0..2 {
        let mut out = b"before".to_vec();
        let outcome = pipeline.run(&context, record, &mut out);
        let sent = out.split_off(b"before".len());
        assert_eq!(out, b"before", "what was there stays");
        assert!(!matches!(outcome, Outcome::EmitRaw(_)) || sent == record, "a failure sends the record as it was read");
        assert!(!matches!(outcome, Outcome::Drop(_)) || sent.is_empty(), "what is skipped is not sent");
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).is_ok();
        assert!(!text(record) || text(&sent), "UTF-8 in, UTF-8 out");
        outputs.push((outcome, sent));
    }
    assert_eq!(outputs[0], outputs[1], "no record changes the next");
}
