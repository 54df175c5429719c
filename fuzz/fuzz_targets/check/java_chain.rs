//! What holds for every chain of the Java agent's converters.

use std::{path::Path, time::Instant};

use headwater::{
    config::java::converter,
    model::{Generation, Now, Span},
    record::{
        ec2::{Instance, Shared},
        pipeline::{Context, Outcome, Pipeline},
    },
};

/// The input's lines are entries of `dataProcessingOptions` up to an empty one; what follows is a record.
pub fn check(input: &[u8]) {
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
