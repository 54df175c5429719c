//! What holds for every Java pattern.

use headwater::record::{
    java::pattern::{Flags, Pattern},
    regex::Regex,
};

/// The input's first line is a Java pattern, the rest is text: whatever is accepted can be searched.
pub fn check(input: &[u8]) {
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
