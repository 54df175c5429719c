//! `grok`: patterns made of named ones, `%{IP:client} %{NUMBER:bytes:int}`. Knows no engine. Invariant: expansion ends within
//! [`MAX_DEPTH`] and [`MAX_LEN`], whatever the patterns say of each other.

use std::fmt::Write as _;

use super::{super::regex::Regex, refine::Type};

/// Patterns within each other.
const MAX_DEPTH: usize = 32;
/// Bytes of an expanded pattern.
const MAX_LEN: usize = 256 << 10;

/// An expanded pattern, ready to be searched for.
#[derive(Clone, Debug)]
pub struct Grok {
    pub(super) regex: Regex,
    /// The groups that are fields, in order; a field may have several.
    pub(super) groups: Vec<(usize, String)>,
    pub(super) types: Vec<(String, Type)>,
}

impl Grok {
    /// Expands and compiles a pattern; `own` are further named patterns, which come before those of the library. The error
    /// says what is wrong without naming the pattern, as in "has no ...".
    pub fn new(pattern: &str, own: &[(String, String)]) -> Result<Self, String> {
        let mut expansion =
            Expansion { own, stack: Vec::new(), out: String::new(), fields: Vec::new(), types: Vec::new() };
        expansion.expand(pattern)?;
        let Expansion { out, fields, types, .. } = expansion;
        if fields.is_empty() {
            return Err("names no field; write one, like `%{IP:client}`".to_owned());
        }
        let regex = Regex::new(&out).map_err(|why| explain(&why))?;
        let numbered = regex.names().into_iter().enumerate();
        let groups =
            numbered.filter_map(|(group, name)| Some((group, fields.get(index_of(name?)?)?.clone()))).collect();
        Ok(Self { regex, groups, types })
    }
}

/// What the names of our groups begin with: a field's name may have characters that a group's cannot.
const PREFIX: &str = "field_";

fn index_of(group: &str) -> Option<usize> {
    group.strip_prefix(PREFIX)?.parse().ok()
}

struct Expansion<'a> {
    own: &'a [(String, String)],
    /// The patterns that are being expanded, the outermost first.
    stack: Vec<&'a str>,
    out: String,
    /// The field of each of our groups.
    fields: Vec<String>,
    types: Vec<(String, Type)>,
}

impl<'a> Expansion<'a> {
    fn expand(&mut self, pattern: &str) -> Result<(), String> {
        let mut rest = pattern;
        let mut in_class = false;
        while let Some(c) = rest.chars().next() {
            if self.out.len() > MAX_LEN {
                return Err(format!("is longer than {MAX_LEN} bytes once expanded"));
            }
            let named = ["(?<", "(?P<"].into_iter().find_map(|open| rest.strip_prefix(open));
            let taken = if let Some(inside) = rest.strip_prefix("%{").filter(|_| !in_class) {
                let Some(end) = inside.find('}') else { return Err("has a `%{` without its `}`".to_owned()) };
                self.reference(&inside[..end])?;
                end + 3
            } else if let Some(inside) = named.filter(|inside| !in_class && !inside.starts_with(['=', '!'])) {
                let Some(end) = inside.find('>') else { return Err("has a group's name without its `>`".to_owned()) };
                self.open_group(&inside[..end]);
                rest.len() - inside.len() + end + 1
            } else {
                let len = match c {
                    '\\' => 1 + rest[1..].chars().next().map_or(0, char::len_utf8),
                    _ => c.len_utf8(),
                };
                in_class = if in_class { c != ']' } else { c == '[' };
                // A bracket that closes nothing yet is an ordinary member.
                let class = ["[^]", "[]"].into_iter().find(|open| in_class && c == '[' && rest.starts_with(open));
                let len = class.map_or(len, str::len);
                self.out.push_str(&rest[..len]);
                len
            };
            rest = &rest[taken..];
        }
        Ok(())
    }

    /// `NAME`, `NAME:field` or `NAME:field:type`.
    fn reference(&mut self, written: &str) -> Result<(), String> {
        let mut parts = written.splitn(3, ':');
        let name = parts.next().unwrap_or_default();
        let (field, kind) = (parts.next(), parts.next());
        if field == Some("") {
            return Err(format!("has `%{{{written}}}`, whose field has no name"));
        }
        let Some((name, definition)) = self.definition(name) else { return Err(unknown(name, self.own)) };
        if self.stack.contains(&name) {
            return Err(format!("never ends: {} > {name}", self.stack.join(" > ")));
        }
        if self.stack.len() == MAX_DEPTH {
            return Err(format!(
                "has patterns more than {MAX_DEPTH} deep within each other: {}",
                self.stack.join(" > ")
            ));
        }
        if let Some((field, kind)) = field.zip(kind) {
            self.types.extend(type_of(kind)?.map(|kind| (field.to_owned(), kind)));
        }
        match field {
            Some(field) => self.open_group(field),
            None => self.out.push_str("(?:"),
        }
        self.stack.push(name);
        self.expand(definition)?;
        self.stack.pop();
        self.out.push(')');
        Ok(())
    }

    fn open_group(&mut self, field: &str) {
        write!(self.out, "(?P<{PREFIX}{}>", self.fields.len()).expect("a String takes every write");
        self.fields.push(field.to_owned());
    }

    fn definition(&self, name: &str) -> Option<(&'a str, &'a str)> {
        let own = self.own.iter().find(|(known, _)| known == name).map(|(name, text)| (&**name, &**text));
        own.or_else(|| grok::patterns().iter().find(|(known, _)| *known == name).copied())
    }
}

/// The last line of what the engine says, which shows the whole expanded pattern before.
fn explain(why: &str) -> String {
    let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
    // That is no mistake: the other engine can do it, and found another one.
    let why = if why.contains("not supported") { "something in it is wrong" } else { why };
    format!("is, once expanded, not a valid pattern: {why}")
}

fn unknown(name: &str, own: &[(String, String)]) -> String {
    let known = own.iter().map(|(name, _)| &**name).chain(grok::patterns().iter().map(|(name, _)| *name));
    let alike = known.map(|known| (strsim::normalized_damerau_levenshtein(name, known), known));
    let shown: String = name.chars().take(60).collect();
    match alike.filter(|(likeness, _)| *likeness >= 0.6).max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((_, near)) => format!("has no pattern `{shown}` to refer to; did you mean `{near}`?"),
        None => format!("has no pattern `{shown}` to refer to; define it in `patterns`"),
    }
}

fn type_of(kind: &str) -> Result<Option<Type>, String> {
    match kind {
        "int" | "long" => Ok(Some(Type::Int)),
        "float" | "double" => Ok(Some(Type::Float)),
        "bool" | "boolean" => Ok(Some(Type::Bool)),
        "string" => Ok(None),
        _ => Err(format!("has the type `{kind}`; write int, float, bool or string")),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Format, testing::check},
        *,
    };

    fn grok(pattern: &str, own: &[(&str, &str)]) -> Result<Grok, String> {
        let own: Vec<_> = own.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Grok::new(pattern, &own)
    }

    #[track_caller]
    fn finds(pattern: &str, own: &[(&str, &str)], line: &str, expected: &str) {
        check(Format::Grok(Box::new(grok(pattern, own).expect("a pattern"))), line, expected);
    }

    #[track_caller]
    fn refused(pattern: &str, own: &[(&str, &str)], expected: &str) {
        assert_eq!(grok(pattern, own).expect_err("no pattern"), expected);
    }

    #[test]
    fn patterns_of_the_library_find_fields() {
        finds(
            "^%{COMBINEDAPACHELOG}$",
            &[],
            r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /a.gif HTTP/1.0" 200 - "-" "Mozilla/4.08""#,
            r#"clientip=127.0.0.1|ident=-|auth=frank|timestamp=10/Oct/2000:13:55:36 -0700|verb=GET|request=/a.gif|httpversion=1.0|rawrequest=null|response=200|bytes=null|referrer="-"|agent="Mozilla/4.08""#,
        );
    }

    #[test]
    fn fields_have_any_name_and_types() {
        finds(
            "%{WORD:http.method} %{NUMBER:[took]:float} %{INT:n:int} %{WORD:s:string}",
            &[],
            "GET 0.5 007 x",
            "http.method=GET|[took]=`0.5`|n=`7`|s=x",
        );
    }

    #[test]
    fn patterns_of_ones_own_come_first_and_groups_may_be_named_in_place() {
        finds("%{ID:id}(?<rest>.*)[(?<]?", &[("ID", "[A-Z]%{WORD}"), ("WORD", r"\d+")], "X12 y", "id=X12|rest= y");
        finds(r"(?P<a>x)|%{WORD:a}", &[], "y", "a=y");
    }

    #[test]
    fn what_cannot_be_expanded_is_refused() {
        refused("%{IPP:a}", &[], "has no pattern `IPP` to refer to; did you mean `IP`?");
        refused(
            "%{NO_SUCH_THING_AT_ALL:a}",
            &[],
            "has no pattern `NO_SUCH_THING_AT_ALL` to refer to; define it in `patterns`",
        );
        refused("%{A:a}", &[("A", "%{B}"), ("B", "x%{A}")], "never ends: A > B > A");
        refused("%{IP", &[], "has a `%{` without its `}`");
        refused("%{IP:}", &[], "has `%{IP:}`, whose field has no name");
        refused("%{IP}", &[], "names no field; write one, like `%{IP:client}`");
        refused("%{INT:a:number}", &[], "has the type `number`; write int, float, bool or string");
        refused("%{WORD:a}(", &[], "is, once expanded, not a valid pattern: unclosed group");
        refused("%{IP:a}(", &[], "is, once expanded, not a valid pattern: something in it is wrong");
    }

    #[test]
    fn expansion_is_bounded() {
        let names: Vec<String> = (0..40).map(|n| format!("P{n}")).collect();
        let deep: Vec<(String, String)> = (0..40).map(|n| (names[n].clone(), format!("%{{P{}}}", n + 1))).collect();
        assert!(Grok::new("%{P0:a}", &deep).expect_err("too deep").starts_with("has patterns more than 32 deep"));
        let wide: Vec<(String, String)> = (0..20)
            .map(|n| (names[n].clone(), format!("%{{P{}}}%{{P{}}}", n + 1, n + 1)))
            .chain([("P20".to_owned(), "x".repeat(100))])
            .collect();
        assert_eq!(Grok::new("%{P0:a}", &wide).expect_err("too wide"), "is longer than 262144 bytes once expanded");
    }

    #[test]
    fn every_pattern_of_the_library_compiles() {
        let refused: Vec<&str> = grok::patterns()
            .iter()
            .filter(|(name, _)| Grok::new(&format!("%{{{name}:all}}"), &[]).is_err())
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(refused, Vec::<&str>::new());
    }
}
