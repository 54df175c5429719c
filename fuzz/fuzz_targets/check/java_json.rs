//! What holds for all JSON that is read as the Java agent reads it.

use headwater::record::java::json::{self, Extras, MAX_DEPTH};
use serde::de::IgnoredAny;

/// Reads JSON, and writes what it read: JSON again, in both layouts.
pub fn check(input: &[u8]) {
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
