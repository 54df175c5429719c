//! Java's patterns with groups that have no names, as patterns of ours, where groups are named. Knows no keys.
//! Invariant: what is given back, our reader of patterns accepts.

use super::super::pattern;

/// The name of the group for field `at`: the field's own, if it can be one.
pub(super) fn group_name(names: &[String], at: usize) -> String {
    let name = &names[at];
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if first && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        name.clone()
    } else {
        format!("field_{}", at + 1)
    }
}

/// A pattern that matches a whole line, its groups named in order. `None`: there is no such pattern here, or there are
/// more groups or fewer.
pub(super) fn named_groups(java: &str, names: &[String]) -> Option<String> {
    let mut names = names.iter();
    let mut out = String::from("^(?:");
    let mut chars = java.chars().peekable();
    let mut class = 0_u32;
    while let Some(c) = chars.next() {
        out.push(c);
        match c {
            '\\' => match chars.next()? {
                // Quoted text, which has no equivalent, and is rare.
                'Q' | 'E' => return None,
                escaped => out.push(escaped),
            },
            '[' => class += 1,
            ']' => class = class.saturating_sub(1),
            '(' if class == 0 => {
                if chars.next_if_eq(&'?').is_none() {
                    out.extend(["?P<", names.next()?, ">"]);
                } else if let Some(named) = group_head(&mut chars) {
                    match named {
                        Head::Named => out.extend(["?P<", names.next()?, ">"]),
                        Head::Other(head) => out.push_str(&head),
                    }
                }
            }
            _ => {}
        }
    }
    out.push_str(")$");
    (names.next().is_none() && pattern::regex_with_groups(&out).is_ok()).then_some(out)
}

enum Head {
    Named,
    Other(String),
}

/// What stands behind `(?`: the name of a group, which is passed over, or the beginning of something else.
fn group_head(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<Head> {
    if chars.next_if_eq(&'<').is_none() {
        return Some(Head::Other("?".to_owned()));
    }
    if let Some(c) = chars.next_if(|c| matches!(c, '=' | '!')) {
        return Some(Head::Other(format!("?<{c}")));
    }
    chars.find(|c| *c == '>').map(|_| Head::Named)
}

/// A pattern for what a delimiter that is a pattern separates: missing pieces at the end are null, more than there are
/// names are left out.
pub(super) fn split_pattern(delimiter: &str, names: &[String]) -> Option<String> {
    if delimiter.is_empty() {
        return None;
    }
    let mut out = format!("(?:(?:{delimiter}).*)?");
    for (at, name) in names.iter().enumerate().rev() {
        let piece = format!("(?P<{name}>.*?){out}");
        out = if at == 0 { format!("^{piece}$") } else { format!("(?:(?:{delimiter}){piece})?") };
    }
    pattern::regex_with_groups(&out).is_ok().then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn groups_are_named_in_order() {
        for (java, count, expected) in [
            (r"^(\S+) (\d+)$", 2, Some(r"^(?:^(?P<a>\S+) (?P<b>\d+)$)$")),
            (r"(?:x)(y(z))", 2, Some(r"^(?:(?:x)(?P<a>y(?P<b>z)))$")),
            (r"\((?<n>x)[(]([)])", 2, Some(r"^(?:\((?P<a>x)[(](?P<b>[)]))$")),
            (r"(x)", 2, None),
            (r"(x)(y)(z)", 2, None),
            (r"(x", 1, None),
            (r"\Q(\E(x)", 1, None),
            (r"(x)\", 1, None),
        ] {
            assert_eq!(named_groups(java, &names(&["a", "b"][..count])).as_deref(), expected, "{java}");
        }
    }

    #[test]
    fn a_delimiter_that_is_a_pattern_becomes_a_pattern_of_the_line() {
        let pattern = split_pattern(r"\s*,\s*", &names(&["a", "b", "c"])).expect("a pattern");
        let regex = regex::Regex::new(&pattern).expect("a pattern");
        let pieces = |line: &str| {
            let found = regex.captures(line).unwrap_or_else(|| panic!("{line:?} does not match {pattern}"));
            ["a", "b", "c"].map(|name| found.name(name).map_or("null", |piece| piece.as_str()).to_owned())
        };
        assert_eq!(pieces("1 , 2,3"), ["1", "2", "3"]);
        assert_eq!(pieces("1,2"), ["1", "2", "null"]);
        assert_eq!(pieces("1,,3,4"), ["1", "", "3"]);
        assert_eq!(pieces(""), ["", "null", "null"]);
        assert_eq!(split_pattern("", &names(&["a"])), None);
        assert_eq!(split_pattern("[", &names(&["a"])), None);
    }

    #[test]
    fn a_name_that_no_group_can_have_is_replaced() {
        let all = names(&["ok_1", "not-ok", ""]);
        assert_eq!([0, 1, 2].map(|at| group_name(&all, at)), ["ok_1", "field_2", "field_3"]);
    }
}
