//! The rules of the house, held over the text of `src/`: imports point down, files stay short, every file says what it is.
//! The table of ranks is read from `src/lib.rs`, the promises from `docs/SEMANTICS.md`: there is no second copy of either.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// Longest file, its tests aside.
const MOST_LINES: usize = 450;

/// One source file.
struct Source {
    /// Below `src`, with slashes.
    name: String,
    text: String,
    /// The text without comments, literals and tests, line for line.
    code: String,
}

impl Source {
    fn new(name: &str, text: &str, is_test: bool) -> Self {
        let code = if is_test { String::new() } else { without_tests(&without_comments_and_literals(text)) };
        Self { name: name.to_owned(), text: text.to_owned(), code }
    }

    /// The module that the file belongs to, right below the crate.
    fn module(&self) -> &str {
        self.name.split('/').next().and_then(|n| n.strip_suffix(".rs").or(Some(n))).unwrap_or_default()
    }

    /// How many `super` lead to the crate.
    fn depth(&self) -> usize {
        let parts = self.name.split('/').count();
        if self.name.ends_with("/mod.rs") { parts - 1 } else { parts }
    }

    fn line_of(&self, at: usize) -> usize {
        1 + self.code[..at].matches('\n').count()
    }
}

/// All files of `src`, in order.
fn sources() -> Vec<Source> {
    let root = root().join("src");
    let files: Vec<(String, String)> = rust_files(&root)
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&root).expect("found below src").to_string_lossy().replace('\\', "/");
            (name, fs::read_to_string(&path).expect("a source file is text"))
        })
        .collect();
    let tests = test_files(&files);
    files.iter().map(|(name, text)| Source::new(name, text, tests.contains(name))).collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder of the repository can be listed") {
        let path = entry.expect("its entries can be read").path();
        if path.is_dir() {
            found.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The files of modules that are declared as `#[cfg(test)] mod NAME;`.
fn test_files(files: &[(String, String)]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (name, text) in files {
        let code = without_comments_and_literals(text);
        let folder = match name.strip_suffix("/mod.rs") {
            Some(folder) => format!("{folder}/"),
            None if name == "lib.rs" || name == "main.rs" => String::new(),
            None => format!("{}/", name.strip_suffix(".rs").expect("it was found by that")),
        };
        for (at, attribute) in code.match_indices("#[cfg(test)]") {
            let item = code[at + attribute.len()..].trim_start();
            let item = item.strip_prefix("pub ").unwrap_or(item);
            if let Some((module, _)) = item.strip_prefix("mod ").and_then(|rest| rest.split_once(';'))
                && !module.contains('{')
            {
                found.insert(format!("{folder}{}.rs", module.trim()));
                found.insert(format!("{folder}{}/mod.rs", module.trim()));
            }
        }
    }
    found
}

/// Comments become nothing, string and character literals become empty, line ends stay.
fn without_comments_and_literals(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &text[at..];
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if let Some(len) = raw_string(rest, out.as_bytes().last().copied()) {
            out.push_str("\"\"");
            len
        } else if rest.starts_with('"') {
            out.push_str("\"\"");
            quoted(rest)
        } else if let Some(len) = character(rest) {
            out.push_str("' '");
            len
        } else {
            let c = rest.chars().next().expect("there is a rest");
            out.push(c);
            at += c.len_utf8();
            continue;
        };
        out.extend(rest[..skip].matches('\n'));
        at += skip;
    }
    out
}

fn raw_string(rest: &str, before: Option<u8>) -> Option<usize> {
    if before.is_some_and(|b| b == b'_' || (b.is_ascii_alphanumeric() && b != b'b')) {
        return None;
    }
    let hashes = rest.strip_prefix('r')?.bytes().take_while(|b| *b == b'#').count();
    let start = 1 + hashes + 1;
    let inside = rest.get(start..).filter(|_| rest.as_bytes().get(start - 1) == Some(&b'"'))?;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(inside.find(&end).map_or(rest.len(), |i| start + i + end.len()))
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (i, b) in rest.bytes().enumerate().skip(1) {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return i + 1,
            _ => {}
        }
    }
    rest.len()
}

/// The length of a character literal; a lifetime is none.
fn character(rest: &str) -> Option<usize> {
    let inside = rest.strip_prefix('\'')?;
    if inside.starts_with('\\') {
        return inside[2..].find('\'').map(|i| i + 4);
    }
    let c = inside.chars().next()?;
    inside[c.len_utf8()..].starts_with('\'').then(|| c.len_utf8() + 2)
}

/// Blanks what stands under `#[cfg(test)]`, line ends kept.
fn without_tests(code: &str) -> String {
    let mut out = code.to_owned();
    while let Some(at) = out.find("#[cfg(test)]") {
        let end = at + end_of_item(&out[at..]);
        let blank: String = out[at..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
        out.replace_range(at..end, &blank);
    }
    out
}

/// Where the item that begins here ends: at its `;`, or at the brace that closes its first one.
fn end_of_item(code: &str) -> usize {
    let mut depth = 0usize;
    for (i, b) in code.bytes().enumerate() {
        match b {
            b'{' | b'(' | b'[' => depth += 1,
            b'}' | b')' | b']' => {
                depth -= 1;
                if depth == 0 && b == b'}' {
                    return i + 1;
                }
            }
            b';' if depth == 0 => return i + 1,
            _ => {}
        }
    }
    code.len()
}

/// Names right below the crate that the code mentions, with where: `crate::a`, `crate::{a::b, c}`, `super::super::a`.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let code = &source.code;
    let mut found = Vec::new();
    for (at, word) in code.match_indices("crate::") {
        if !continues_a_name(code, at) {
            found.extend(first_names(&code[at + word.len()..]).into_iter().map(|name| (at, name)));
        }
    }
    let up = "super::".repeat(source.depth());
    for (at, word) in code.match_indices(&up).filter(|_| !up.is_empty()) {
        let rest = &code[at + word.len()..];
        if !continues_a_name(code, at) && !code[..at].ends_with("super::") {
            found.extend(first_names(rest).into_iter().map(|name| (at, name)));
        }
    }
    found
}

fn continues_a_name(code: &str, at: usize) -> bool {
    code[..at].bytes().next_back().is_some_and(|b| b == b'_' || b == b'$' || b.is_ascii_alphanumeric())
}

/// The first name of a path, or of each path of a group.
fn first_names(path: &str) -> Vec<String> {
    let path = path.trim_start();
    let Some(group) = path.strip_prefix('{') else {
        let name: String = path.chars().take_while(|c| *c == '_' || *c == '*' || c.is_ascii_alphanumeric()).collect();
        return vec![name];
    };
    let (mut depth, mut start, mut names) = (0usize, 0, Vec::new());
    for (i, b) in group.bytes().enumerate() {
        match b {
            b'{' => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            b',' | b'}' if depth == 0 => {
                names.extend(
                    (!group[start..i].trim().is_empty()).then(|| first_names(&group[start..i])).into_iter().flatten(),
                );
                start = i + 1;
                if b == b'}' {
                    break;
                }
            }
            _ => {}
        }
    }
    names
}

/// Rank of each module, from the table in the crate's own documentation; the lowest is 0.
fn ranks(lib: &str) -> BTreeMap<String, usize> {
    let table = lib.lines().find(|l| l.contains("main > ")).expect("src/lib.rs holds the table of ranks");
    let table = table.trim_start_matches("//!");
    let rows: Vec<&str> = table.split('>').collect();
    let names =
        |row: &str| row.trim().trim_matches(['{', '}']).split(',').map(|n| n.trim().to_owned()).collect::<Vec<_>>();
    rows.iter().rev().enumerate().flat_map(|(rank, row)| names(row).into_iter().map(move |n| (n, rank))).collect()
}

fn breaches(source: &Source, ranks: &BTreeMap<String, usize>) -> Vec<String> {
    let module = source.module();
    let Some(own) = ranks.get(module) else { return vec![format!("src/{}: `{module}` has no rank", source.name)] };
    let forbidden = |name: &str| name != module && ranks.get(name).is_none_or(|rank| rank >= own);
    let found = imports(source).into_iter().filter(|(_, name)| forbidden(name));
    found.map(|(at, name)| format!("src/{}:{}: `{module}` uses `{name}`", source.name, source.line_of(at))).collect()
}

#[track_caller]
fn check(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}:\n  {}\n", breaches.join("\n  "));
}

#[test]
fn imports_point_down_the_table_of_ranks_and_never_up_or_sideways() {
    let sources = sources();
    let lib = sources.iter().find(|s| s.name == "lib.rs").expect("the crate has a root");
    let ranks = ranks(&lib.text);
    let all: Vec<String> = sources.iter().filter(|s| s.name != "lib.rs").flat_map(|s| breaches(s, &ranks)).collect();
    check("imports point down the table of src/lib.rs", &all);
}

#[test]
fn no_file_is_longer_than_450_lines_before_its_tests() {
    let long = |s: &Source| {
        let lines = s.code.trim_end().lines().count();
        (lines > MOST_LINES).then(|| format!("src/{}: {lines} lines", s.name))
    };
    check("a file has at most 450 lines, its tests aside", &sources().iter().filter_map(long).collect::<Vec<_>>());
}

#[test]
fn every_file_opens_by_saying_what_it_is() {
    let silent: Vec<String> =
        sources().iter().filter(|s| !s.text.starts_with("//! ")).map(|s| format!("src/{}", s.name)).collect();
    check("a file's first line is `//! ...`", &silent);
}

#[test]
fn nothing_is_left_to_do_and_no_lint_is_allowed_without_a_reason() {
    let mut found = Vec::new();
    for source in sources() {
        let code = without_comments_and_literals(&source.text);
        for word in ["todo!", "unimplemented!", "dbg!"] {
            found.extend(code.contains(word).then(|| format!("src/{}: {word}", source.name)));
        }
        for start in ["#[allow(", "#![allow("] {
            let bare = code.match_indices(start).filter(|(at, _)| {
                let attribute = &code[*at..];
                !attribute[..attribute.find(")]").unwrap_or(attribute.len())].contains("reason")
            });
            found.extend(
                bare.map(|(at, _)| format!("src/{}:{}: bare allow", source.name, 1 + code[..at].matches('\n').count())),
            );
        }
    }
    check("no todo!, no bare allow", &found);
}

#[test]
fn every_test_that_the_promises_name_exists() {
    let text = fs::read_to_string(root().join("docs/SEMANTICS.md")).expect("the promises are written down");
    let mut code = String::new();
    for path in [root().join("src"), root().join("tests")].iter().flat_map(|f| rust_files(f)) {
        code.push_str(&fs::read_to_string(path).expect("a source file is text"));
    }
    let named: BTreeSet<&str> = text.split('`').skip(1).step_by(2).filter_map(test_name).collect();
    assert!(named.len() > 30, "only {} tests are named", named.len());
    let exists = |name: &&str| code.contains(&format!("fn {name}("));
    let missing: Vec<String> = named.into_iter().filter(|name| !exists(name)).map(str::to_owned).collect();
    check("docs/SEMANTICS.md names tests that exist", &missing);
}

/// The last part of `module::a_name_of_words`.
fn test_name(quoted: &str) -> Option<&str> {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == ':';
    let (_, name) = quoted.rsplit_once("::")?;
    (quoted.chars().all(known) && name.contains('_')).then_some(name)
}

#[test]
fn the_rule_of_imports_sees_every_way_to_write_one() {
    let ranks = ranks("//! main > agent > flow > { source, record } > model");
    let found = |name: &str, text: &str| -> Vec<String> {
        let all = breaches(&Source::new(name, text, false), &ranks);
        all.iter().map(|b| b.rsplit(' ').next().unwrap_or_default().trim_matches('`').to_owned()).collect()
    };
    assert_eq!(
        found("flow/a.rs", "use crate::{model::X, source::{fs::Fs, tail}};\nfn f() { crate::record::g() }"),
        [""; 0]
    );
    assert_eq!(
        found("source/a.rs", "use crate::{\n    model::{A, B},\n    record::split,\n    flow,\n};"),
        ["record", "flow"]
    );
    assert_eq!(found("source/a.rs", "fn f() -> crate::agent::X {}"), ["agent"]);
    assert_eq!(found("source/tail/a.rs", "use super::super::super::flow::Y;\nuse super::flow::Z;"), ["flow"]);
    assert_eq!(found("source/mod.rs", "use super::flow;"), ["flow"]);
    assert_eq!(found("model.rs", "use crate::*;"), ["*"]);
    assert_eq!(found("record/a.rs", "// crate::flow\nlet s = \"crate::flow\"; let r = r#\"crate::flow\"#;"), [""; 0]);
    assert_eq!(
        found(
            "record/a.rs",
            "#[cfg(test)]\nmod tests {\n    use crate::flow::X;\n    fn f() { { } }\n}\nuse crate::agent;"
        ),
        ["agent"]
    );
    assert_eq!(found("elsewhere/a.rs", ""), ["rank"]);
}

#[test]
fn tests_and_literals_do_not_count_as_code() {
    let text = "//! A.\nfn f(c: char) -> bool { c == '\"' || c == '\\'' }\n#[cfg(test)]\nmod tests {\n    #[test]\n    fn g() {}\n}\n";
    let source = Source::new("a.rs", text, false);
    assert_eq!(source.code.trim_end().lines().count(), 2);
    let files = [
        ("a/b.rs".to_owned(), "#[cfg(test)]\nmod tests;".to_owned()),
        ("a/mod.rs".to_owned(), "#[cfg(test)]\npub mod x;".to_owned()),
    ];
    let found = test_files(&files);
    assert!(found.contains("a/b/tests.rs") && found.contains("a/x.rs"), "{found:?}");
}
