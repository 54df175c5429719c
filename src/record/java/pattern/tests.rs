//! What Java printed for these patterns, and which engine runs them.

use super::*;

#[track_caller]
fn linear(pattern: &str) {
    let found = Pattern::parse(pattern, Flags::default()).expect("a pattern").matches().expect("supported");
    assert!(matches!(found, Regex::Linear(_)), "{pattern}");
}

#[test]
fn what_the_linear_engine_can_say_it_says() {
    for pattern in [
        r"^(\S+) (\d+)$",
        r"(?s)^(\S+) (.*)$",
        r"a$|(b$)|(?:c$)?",
        r"[^\]]++\]",
        r"\w*+",
        r"(?m)^a$",
        r"\b\w+\b",
        r"\R\Z",
        r"(?i)[a-z&&[^aeiou]]+",
        r"\p{Alpha}\P{L}\p{IsGreek}\p{javaLetter}",
        r"\Q[a]\E+",
        r"(?x) a b # c",
        r"a{2}{3}",
    ] {
        linear(pattern);
    }
}
