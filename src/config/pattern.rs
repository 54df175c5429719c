//! Regular expressions with errors that point into the pattern. Knows no keys.

use regex_syntax::{Error, ast::ErrorKind};

use crate::record::regex::Regex;

/// Most memory of one compiled pattern.
const SIZE_LIMIT: usize = 10 << 20;
/// Deepest nesting of groups and classes; the engines' recursion depends on it.
const NEST_LIMIT: u32 = 100;

/// Compiles a pattern that is searched in bytes.
pub(super) fn regex(pattern: &str) -> Result<regex::bytes::Regex, String> {
    let mut syntax = regex_syntax::ParserBuilder::new();
    if let Err(error) = syntax.utf8(false).nest_limit(NEST_LIMIT).build().parse(pattern) {
        return Err(explain(&error));
    }
    regex::bytes::RegexBuilder::new(pattern)
        .size_limit(SIZE_LIMIT)
        .nest_limit(NEST_LIMIT)
        .build()
        .map_err(|_| "is too large a pattern once compiled; make its repetitions smaller".to_owned())
}

/// Compiles a pattern that may have look-around and back-references; without, it takes linear time.
pub(super) fn any(pattern: &str) -> Result<Regex, String> {
    let linear = regex_syntax::ast::parse::ParserBuilder::new().nest_limit(NEST_LIMIT).build().parse(pattern);
    let beyond =
        |kind: &ErrorKind| matches!(kind, ErrorKind::UnsupportedLookAround | ErrorKind::UnsupportedBackreference);
    if linear.is_err_and(|error| beyond(error.kind())) {
        let text = "is not a valid pattern; it has look-around or back-references, and something in it is wrong";
        return Regex::new(pattern).map_err(|_| text.to_owned());
    }
    regex(pattern).map(Regex::Linear)
}

/// A pattern each of whose named groups becomes a field.
pub(super) fn regex_with_groups(pattern: &str) -> Result<Regex, String> {
    let regex = any(pattern)?;
    if regex.names().into_iter().flatten().next().is_none() {
        return Err("has no named group, so it would find no field; name one: `(?P<name>...)`".to_owned());
    }
    Ok(regex)
}

fn explain(error: &Error) -> String {
    let (what, line, column) = match error {
        Error::Parse(e) => (e.kind().to_string(), e.span().start.line, e.span().start.column),
        Error::Translate(e) => (e.kind().to_string(), e.span().start.line, e.span().start.column),
        _ => return "is not a valid pattern".to_owned(),
    };
    let place = if line > 1 { format!("line {line}, character {column}") } else { format!("character {column}") };
    format!("is not a valid pattern: at {place}: {what}")
}
