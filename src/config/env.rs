//! `${NAME}` in values: variables of the environment, and in templates those of a record. Knows neither keys nor files.
//! Invariant: no error text holds the value of a variable.

use crate::record::template::{Ec2, Part, Template, Variable};

use super::keys::nearest;

/// A lookup of the environment.
pub(super) type Env<'e> = &'e dyn Fn(&str) -> Option<String>;

/// A value with its variables filled in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: String,
    /// Some of the text came from the environment.
    pub(super) any_env: bool,
    /// None of the text was written in the file.
    pub(super) all_env: bool,
}

/// Fills in `${NAME}` and `${NAME:-default}`; `$${` stands for `${`. All mistakes of the value at once.
pub(super) fn expand(written: &str, env: Env<'_>) -> Result<Expanded, Vec<String>> {
    let mut out = Expanded { text: String::new(), any_env: false, all_env: !written.is_empty() };
    let mut wrong = Vec::new();
    for piece in pieces(written) {
        match piece {
            Piece::Text(text) => {
                out.text.push_str(text);
                out.all_env = false;
            }
            Piece::Unclosed => wrong.push(UNCLOSED.to_owned()),
            Piece::Variable(inside) => match environment(inside, env) {
                Ok((text, from_env)) => {
                    out.text.push_str(&text);
                    out.any_env |= from_env;
                    out.all_env &= from_env;
                }
                Err(text) => wrong.push(text),
            },
        }
    }
    if wrong.is_empty() { Ok(out) } else { Err(wrong) }
}

/// What the environment gives for the variables in a text that it knows, one after the other.
pub(super) fn values(text: &str, env: Env<'_>) -> String {
    let value = |piece| match piece {
        Piece::Variable(inside) => environment(inside, env).ok().map(|(value, _)| format!("{value}\0")),
        Piece::Text(_) | Piece::Unclosed => None,
    };
    pieces(text).filter_map(value).collect()
}

/// The variables of a record that are one word, with what they stand for.
const VARIABLES: [(&str, Variable); 14] = [
    ("host", Variable::Host),
    ("file.path", Variable::FilePath),
    ("file.name", Variable::FileName),
    ("record.id", Variable::RecordId),
    ("record.offset", Variable::RecordOffset),
    ("now", Variable::Now),
    ("now.unix_ms", Variable::NowUnixMs),
    ("ec2.instance_id", Variable::Ec2(Ec2::InstanceId)),
    ("ec2.instance_type", Variable::Ec2(Ec2::InstanceType)),
    ("ec2.image_id", Variable::Ec2(Ec2::ImageId)),
    ("ec2.account_id", Variable::Ec2(Ec2::AccountId)),
    ("ec2.region", Variable::Ec2(Ec2::Region)),
    ("ec2.availability_zone", Variable::Ec2(Ec2::AvailabilityZone)),
    ("ec2.private_ip", Variable::Ec2(Ec2::PrivateIp)),
];

/// All of them as people write them.
pub(super) fn variables() -> impl Iterator<Item = &'static str> + Clone {
    VARIABLES.iter().map(|(name, _)| *name).chain(["flow", "fields.NAME", "ec2.tag.NAME"])
}

fn variable(name: &str, flow: &str) -> Option<Part> {
    if name == "flow" {
        return Some(Part::Text(flow.to_owned()));
    }
    let after = |prefix| name.strip_prefix(prefix).filter(|rest: &&str| !rest.is_empty());
    if let Some(field) = after("fields.") {
        return Some(Part::Field(field.to_owned()));
    }
    if let Some(tag) = after("ec2.tag.") {
        return Some(Part::Variable(Variable::Ec2Tag(tag.to_owned())));
    }
    VARIABLES.iter().find(|(known, _)| *known == name).map(|(_, variable)| Part::Variable(variable.clone()))
}

/// Reads a text of `add` in a flow of this name: lower-case names are of the record, others of the environment. All mistakes
/// at once.
pub(super) fn template(written: &str, env: Env<'_>, flow: &str) -> Result<Template, Vec<String>> {
    let known = |name: &str| variable(name, flow).ok_or_else(|| unknown_variable(name));
    let mut joined: Vec<Part> = Vec::new();
    for part in parts(written, env, Part::Text, known)? {
        match (joined.last_mut(), part) {
            // The flow's name is text, too.
            (Some(Part::Text(before)), Part::Text(text)) => before.push_str(&text),
            (_, part) => joined.push(part),
        }
    }
    Ok(Template(joined))
}

/// Reads text with variables: `variable` knows those in lower case, the others are of the environment and are filled
/// in. All mistakes at once.
pub(super) fn parts<P>(
    written: &str,
    env: Env<'_>,
    text: impl Fn(String) -> P,
    variable: impl Fn(&str) -> Result<P, String>,
) -> Result<Vec<P>, Vec<String>> {
    let (mut parts, mut wrong) = (Vec::new(), Vec::new());
    let mut literal = String::new();
    for piece in pieces(written) {
        match piece {
            Piece::Text(text) => literal.push_str(text),
            Piece::Unclosed => wrong.push(UNCLOSED.to_owned()),
            Piece::Variable(name) if name.starts_with(|c: char| c.is_ascii_lowercase()) => match variable(name) {
                Ok(part) => {
                    if !literal.is_empty() {
                        parts.push(text(std::mem::take(&mut literal)));
                    }
                    parts.push(part);
                }
                Err(text) => wrong.push(text),
            },
            Piece::Variable(inside) => match environment(inside, env) {
                Ok((text, _)) => literal.push_str(&text),
                Err(text) => wrong.push(text),
            },
        }
    }
    if !literal.is_empty() {
        parts.push(text(literal));
    }
    if wrong.is_empty() { Ok(parts) } else { Err(wrong) }
}

fn unknown_variable(name: &str) -> String {
    let known = variables();
    if let Some(near) = nearest(name, known.clone()) {
        return format!("unknown variable `${{{name}}}`; did you mean `${{{near}}}`?");
    }
    let known = known.collect::<Vec<_>>().join(", ");
    format!("unknown variable `${{{name}}}`; known: {known} (variables of the environment are in upper case)")
}

const UNCLOSED: &str = "`${` without its `}`; close it, or write `$${` for the two characters themselves";

const NO_NAME: &str =
    "`${` is not followed by a name; write `${NAME}` or `${NAME:-default}`, or `$${` for the two characters themselves";

/// The value of `NAME` or `NAME:-default`, and whether it came from the environment.
fn environment(inside: &str, env: Env<'_>) -> Result<(String, bool), String> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !starts_well || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(NO_NAME.to_owned());
    }
    match (env(name), default) {
        // As in a shell, `:-` also replaces an empty value.
        (Some(value), None) => Ok((value, true)),
        (Some(value), Some(_)) if !value.is_empty() => Ok((value, true)),
        (_, Some(default)) => Ok((default.to_owned(), false)),
        (None, None) => {
            Err(format!("the environment variable `{name}` is not set; set it, or write a default: `${{{name}:-...}}`"))
        }
    }
}

enum Piece<'t> {
    Text(&'t str),
    /// What stands between `${` and `}`.
    Variable(&'t str),
    Unclosed,
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some(after) = rest.strip_prefix("$${") {
            let piece = &rest[1..3];
            rest = after;
            return Some(Piece::Text(piece));
        }
        if let Some(after) = rest.strip_prefix("${") {
            let Some((inside, after)) = after.split_once('}') else {
                rest = "";
                return Some(Piece::Unclosed);
            };
            rest = after;
            return Some(Piece::Variable(inside));
        }
        let end = rest.match_indices('$').map(|(i, _)| i).find(|i| is_special(&rest[*i..])).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        rest = after;
        Some(Piece::Text(piece))
    })
}

fn is_special(text: &str) -> bool {
    text.starts_with("${") || text.starts_with("$${")
}
