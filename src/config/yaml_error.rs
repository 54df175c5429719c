//! The YAML library's syntax errors in words for people who do not know YAML's grammar. Knows no settings.

use serde_yaml::granit_parser::{ErrorKind, ScanError};

use super::{
    problem::Location,
    tree::{Fault, location},
};

pub(super) const TOO_DEEP: &str = "nested too deep; a configuration needs no more than 32 levels";

/// Says what is wrong and what would be right.
pub(super) fn explain(error: &ScanError, text: &str) -> Fault {
    let at = location(error.marker());
    let about_tabs = matches!(
        error.kind(),
        ErrorKind::TabNotAllowed
            | ErrorKind::TabInBlockIndentation
            | ErrorKind::TabInIndentation
            | ErrorKind::TabInPlainScalar
            | ErrorKind::TabAtBlockScalarStart
    );
    if let Some(tab) = tab_in_indent(text, at.line, if about_tabs { usize::MAX } else { 1 }) {
        let text = "a tab indents this line; YAML allows only spaces there".to_owned();
        return Fault { at: tab, text };
    }
    let text = match error.kind() {
        ErrorKind::RecursionLimitExceeded => TOO_DEEP.to_owned(),
        ErrorKind::UnknownAnchor | ErrorKind::MissingAnchorOrAliasName => {
            "a value that begins with `*` or `&` is an alias or anchor to YAML; put it in quotes, like \"*.log\""
                .to_owned()
        }
        ErrorKind::UnknownQuotedScalarEscape | ErrorKind::InvalidQuotedScalarHexEscape => {
            "a backslash begins an escape inside double quotes; write patterns in single quotes, like '^\\d+'"
                .to_owned()
        }
        ErrorKind::UnclosedQuotedScalar => "a quote is opened here and never closed".to_owned(),
        ErrorKind::InvalidQuotedScalarIndent => {
            "a quote is still open on this line; close it above, or indent this line deeper".to_owned()
        }
        ErrorKind::ExpectedFlowMappingSeparator | ErrorKind::ExpectedFlowSequenceSeparator => {
            "a `,` or the closing bracket is missing here; inside brackets, put a value that holds one \
             (`${NAME}` too) in quotes"
                .to_owned()
        }
        ErrorKind::UnclosedFlowCollection { open } => format!("`{open}` is opened here and never closed"),
        ErrorKind::MismatchedFlowCollectionEnd { open, close } => format!("`{open}` is closed by `{close}`"),
        ErrorKind::MisplacedFlowCollectionEnd => "a closing bracket that none opened; put it in quotes".to_owned(),
        ErrorKind::MappingValueNotAllowed | ErrorKind::InvalidColonPlacement => {
            "a `:` is not allowed here; put a value that contains `: ` in quotes, \
             or look above for an open bracket, a missing `:` or a wrong indent"
                .to_owned()
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => {
            "a key without its `:`; write `key: value`".to_owned()
        }
        ErrorKind::ExpectedBlockMappingKey
        | ErrorKind::InvalidIndentation
        | ErrorKind::ExpectedBlockSequenceEntry
        | ErrorKind::BlockSequenceEntryNotAllowed
        | ErrorKind::MappingKeyNotAllowed => {
            "this line's indentation fits none of the lines above; align it with the keys of its section".to_owned()
        }
        ErrorKind::UnexpectedCharacter { character } => {
            format!("a value cannot begin with `{}`; put it in quotes", character.escape_debug())
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            "text follows the closing quote; quote the whole value, and double a single quote inside single quotes"
                .to_owned()
        }
        other => format!("not valid YAML: {other}"),
    };
    Fault { at, text }
}

/// The first tab in the blanks that begin one of some lines from `line` on: the library points at what stands before it.
fn tab_in_indent(text: &str, line: usize, lines: usize) -> Option<Location> {
    let lines = text.lines().enumerate().skip(line - 1).take(lines);
    lines.into_iter().find_map(|(index, text)| {
        let mut blanks = text.chars().take_while(|c| matches!(c, ' ' | '\t'));
        let column = 1 + blanks.position(|c| c == '\t')?;
        Some(Location { line: index + 1, column })
    })
}
