//! The Java agent's `filePattern` to a pattern of ours: its folder is literal, its last component a glob in Java's syntax.
//! Knows no keys. Invariant: what is accepted matches the same names of that folder as it does there.

use std::iter::Peekable;

/// Longest path of the system.
const MAX_LENGTH: usize = 4_096;

/// A file pattern taken apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilePattern {
    /// Absolute, without empty and `.` components.
    pub folder: String,
    /// The last component, as it was written.
    pub name: String,
    /// The whole in our syntax.
    pub glob: String,
}

/// Takes a `filePattern` apart.
pub(super) fn file_pattern(text: &str) -> Result<FilePattern, String> {
    if text.contains('\0') || text.len() > MAX_LENGTH {
        return Err("is no path; it holds a NUL character or is longer than 4096 bytes".to_owned());
    }
    if !text.starts_with('/') {
        return Err("is not an absolute path; begin it with `/`".to_owned());
    }
    let (folder, name) = text.rsplit_once('/').unwrap_or_default();
    if name.is_empty() {
        return Err("names a folder; name the files in it, like /var/log/app/app.log*".to_owned());
    }
    let parts = folder.split('/').filter(|part| !matches!(*part, "" | "."));
    let folder: String = parts.flat_map(|part| ["/", part]).collect();
    let mut glob = String::new();
    folder.chars().for_each(|c| push_literal(&mut glob, c));
    glob.push('/');
    translate(name, &mut glob)?;
    let folder = if folder.is_empty() { "/".to_owned() } else { folder };
    Ok(FilePattern { folder, name: name.to_owned(), glob })
}

fn push_literal(out: &mut String, c: char) {
    if matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\' | ',' | '!') {
        out.push('\\');
    }
    out.push(c);
}

fn translate(name: &str, out: &mut String) -> Result<(), String> {
    let mut chars = name.chars().peekable();
    let mut in_group = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                let escaped = chars.next().ok_or("ends with a `\\`; write the character that it escapes")?;
                push_literal(out, escaped);
            }
            // Two of them would mean folders to us, and mean the same as one in a name.
            '*' => {
                if !out.ends_with('*') || out.ends_with("\\*") {
                    out.push('*');
                }
            }
            '?' => out.push('?'),
            '[' => class(&mut chars, out)?,
            '{' if in_group => return Err("holds a group `{...}` within another; write them one by one".to_owned()),
            '{' | '}' if (c == '{') != in_group => {
                in_group = c == '{';
                out.push(c);
            }
            ',' if in_group => out.push(','),
            c => push_literal(out, c),
        }
    }
    if in_group { Err("holds a `{` without its `}`; close it".to_owned()) } else { Ok(()) }
}

/// A class `[...]` behind its opening bracket. In Java `!` alone negates, `\` and `^` mean themselves, and `]` ends it.
fn class(chars: &mut Peekable<std::str::Chars<'_>>, out: &mut String) -> Result<(), String> {
    const UNCLOSED: &str = "holds a `[` without its `]`; close it";
    let negated = chars.next_if_eq(&'!').is_some();
    let mut ranges: Vec<(char, char)> = Vec::new();
    if chars.next_if_eq(&'-').is_some() {
        ranges.push(('-', '-'));
    }
    // Whether the last character may begin a range.
    let mut open = false;
    loop {
        match (chars.next().ok_or(UNCLOSED)?, chars.peek()) {
            (']', _) => break,
            ('/', _) => return Err("holds a `/` in a class `[...]`; no name of a file does".to_owned()),
            ('-', None) => return Err(UNCLOSED.to_owned()),
            ('-', _) if !open => return Err("holds a range `a-b` that has no beginning; write `-` first".to_owned()),
            ('-', Some(']')) => ranges.push(('-', '-')),
            ('-', Some(&end)) => {
                chars.next();
                let range = ranges.last_mut().expect("an open range has a beginning");
                if end < range.0 {
                    return Err(format!("holds a range {}-{end} that runs backwards; turn it round", range.0));
                }
                (range.1, open) = (end, false);
            }
            (c, _) => {
                ranges.push((c, c));
                open = true;
            }
        }
    }
    if ranges.is_empty() {
        return Err("holds an empty class `[]`; write the characters it stands for".to_owned());
    }
    push_class(negated, &ranges, out);
    Ok(())
}

/// Writes a class so that no character of it has a meaning by its place.
fn push_class(negated: bool, ranges: &[(char, char)], out: &mut String) {
    let special = |c: char| matches!(c, '!' | '^');
    let (mut plain, mut last): (Vec<(char, char)>, Vec<char>) = (Vec::new(), Vec::new());
    for &(start, end) in ranges {
        if special(start) {
            last.push(start);
            let next = char::from_u32(u32::from(start) + 1).expect("ASCII");
            if next <= end {
                plain.push((next, end));
            }
        } else {
            plain.push((start, end));
        }
    }
    if plain.is_empty() && !negated {
        // Nothing harmless to put first: a range of one character is.
        let first = last.remove(0);
        plain.push((first, first));
        let alternatives: Vec<String> = plain.iter().map(|p| p.0).chain(last).map(|c| format!("\\{c}")).collect();
        let braces = if alternatives.len() == 1 { ["", ""] } else { ["{", "}"] };
        out.extend([braces[0], &alternatives.join(","), braces[1]]);
        return;
    }
    plain.sort_by_key(|range| *range != ('-', '-'));
    out.push_str(if negated { "[!" } else { "[" });
    for (start, end) in plain {
        out.push(start);
        if end != start {
            out.extend(['-', end]);
        }
    }
    out.extend(last);
    out.push(']');
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::source::Pattern;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let found = file_pattern(pattern).expect("a pattern");
        let glob = Pattern::new(&found.glob).unwrap_or_else(|e| panic!("{}: {e}", found.glob));
        for name in matching {
            assert!(glob.matches(&Path::new(&found.folder).join(name)), "{} should match {name}", found.glob);
        }
        for name in others {
            assert!(!glob.matches(&Path::new(&found.folder).join(name)), "{} should not match {name}", found.glob);
        }
    }

    #[test]
    fn a_name_matches_as_in_java() {
        check("/v/app.log*", &["app.log", "app.log.1", "app.log-x.gz"], &["another.log", "xapp.log", ".app.log"]);
        check("/v/*", &[".hidden", "a", "a b"], &["d/a"]);
        check("/v/**", &["a"], &["d/a"]);
        check("/v/a**b", &["ab", "axb"], &["a/b"]);
        check("/v/app[01][1-9].log", &["app01.log", "app19.log"], &["app00.log", "app21.log", "app011.log"]);
        check("/v/a[!0-9]", &["ax"], &["a5", "a"]);
        check("/v/a[^0]", &["a^", "a0"], &["ax"]);
        check("/v/a[^]", &["a^"], &["a"]);
        check("/v/a[^!]{x,[^!]}", &["a^x", "a!!"], &["a^", "axx"]);
        check("/v/a[!^!]", &["ax"], &["a^", "a!"]);
        check("/v/a[!-]", &["ax"], &["a-"]);
        check("/v/a[-x]", &["a-", "ax"], &["ay"]);
        check("/v/a[x-]", &["a-", "ax"], &["ay"]);
        check("/v/a[\\*?]", &["a\\", "a*", "a?"], &["ax"]);
        check("/v/a[[&]", &["a[", "a&"], &["ax"]);
        check("/v/a[^-z]", &["a^", "ab", "az"], &["aA"]);
        check("/v/{a,b*}.log", &["a.log", "b7.log"], &["c.log"]);
        check("/v/a{,.1}", &["a", "a.1"], &["a.2"]);
        check("/v/a\\*,]!}", &["a*,]!}"], &["ax,]!}"]);
        check("/v/?\\\\", &["x\\"], &["xy"]);
    }

    #[test]
    fn a_folder_is_literal() {
        check("/v/a*b[c]{d}/x", &["x"], &["y"]);
        let found = file_pattern("//v/./w//x.log").expect("a pattern");
        assert_eq!((&*found.folder, &*found.name, &*found.glob), ("/v/w", "x.log", "/v/w/x.log"));
        assert_eq!(file_pattern("/x").map(|p| p.folder), Ok("/".to_owned()));
        let star = Pattern::new(&file_pattern("/v/*/x").expect("a pattern").glob).expect("a glob");
        assert!(star.matches(Path::new("/v/*/x")) && !star.matches(Path::new("/v/w/x")));
    }

    #[test]
    fn what_java_refuses_is_refused() {
        for bad in [
            "x.log",
            "/v/",
            "",
            "/v/[",
            "/v/[a",
            "/v/[]",
            "/v/[!]",
            "/v/[b-a]",
            "/v/[a--]",
            "/v/[a-",
            "/v/{a",
            "/v/{a{b}}",
            "/v/x\\",
        ] {
            assert!(file_pattern(bad).is_err(), "{bad} should be refused");
        }
    }
}
