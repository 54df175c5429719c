//! What Java printed for these patterns, and which engine runs them.

use super::*;
use crate::record::java::Delimiter;

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

#[test]
fn what_java_means_by_more_takes_the_engine_that_backtracks() {
    for pattern in [r"(\w)\1", r"(?=a)\w+", r"a++ab", r"(?<n>a)\k<n>", r"(a$)b?", r"(?>a|ab)c", r"(?m)a$\n^b"] {
        let found = Pattern::parse(pattern, Flags::default()).expect("a pattern").matches().expect("supported");
        assert!(matches!(found, Regex::Backtracking(_)), "{pattern}");
    }
}

#[track_caller]
fn refused(pattern: &str, expected: &str) {
    let found = Pattern::parse(pattern, Flags::default()).and_then(|pattern| pattern.find());
    assert_eq!(found.expect_err("it is refused").to_string(), expected);
}

#[test]
fn what_is_refused_is_named() {
    refused("a(b", "is no valid Java pattern: a group without its `)` near character 4");
    refused("a)b", "is no valid Java pattern: an unmatched `)` near character 2");
    refused("ab\\", "is no valid Java pattern: a backslash at the end near character 4");
    refused("x{a", "is no valid Java pattern: a `{` that begins no repetition near character 3");
    for (pattern, what) in [
        (r"\p{InGreek}", r"the block `\p{InGreek}`"),
        (r"\X", r"`\X`"),
        (r"\Ga", r"`\G`"),
        (r"\b{g}", r"`\b{...}`"),
        (r"\N{DIGIT ONE}", r"`\N{...}`"),
        ("(?c)a", "`(?c)`, canonical equivalence"),
        (r"\p{javaMirrored}", r"`\p{javaMirrored}`"),
        ("(?<=a*)b", "a look-behind without a longest match"),
        ("(?:a{1000}){10000}", "more nesting, a larger repetition or a look-behind of a kind"),
        (&"(".repeat(1_000), "groups nested too deeply"),
        (&"a".repeat(LONGEST + 1), "more than 65536 characters"),
    ] {
        refused(pattern, &format!("uses {what}, which is not supported here; write the pattern without it"));
    }
}

/// What Java answers: each line of the file holds a pattern and, for some uses and texts, what Java 17 printed.
#[test]
fn patterns_mean_what_java_17_was_seen_to_take_them_for() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/java-patterns.jsonl");
    let mut count = 0;
    for line in std::fs::read_to_string(path).expect("the cases can be read").lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let pattern = line["pattern"].as_str().expect("a pattern");
        for case in line["cases"].as_array().expect("cases") {
            let text = case[1].as_str().expect("a text");
            let found = answer(pattern, case[0].as_str().expect("a use"), text);
            assert_eq!(found, case[2], "{pattern:?} {} {text:?}", case[0]);
            count += 1;
        }
    }
    assert!(count > 2_000, "{count} cases");
}

/// What is found here, in the words of the file.
fn answer(pattern: &str, usage: &str, text: &str) -> serde_json::Value {
    let flags = Flags { multi_line: usage.ends_with("_lines") };
    let parsed = match Pattern::parse(pattern, flags) {
        Ok(parsed) => parsed,
        Err(Error::Syntax { .. }) => return "syntax".into(),
        Err(error) => panic!("{pattern:?} {error}"),
    };
    match usage {
        "split" => Delimiter::new(Some(pattern)).expect("supported").pieces(text).into(),
        "looking_at" | "looking_at_lines" => {
            let regex = parsed.looking_at().expect("supported");
            regex.is_match(text.as_bytes()).expect("within the bound").into()
        }
        _ => {
            let regex = parsed.matches().expect("supported");
            let mut groups = regex.groups();
            if !regex.search(text.as_bytes(), &mut groups).expect("within the bound") {
                return serde_json::Value::Null;
            }
            let group = |at| groups.get(at).map(|(start, end)| &text[start..end]);
            (1..regex.names().len()).map(group).collect::<Vec<_>>().into()
        }
    }
}
