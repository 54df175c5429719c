//! `redact:` to what is hidden, and how. Invariant: no message and no warning holds a key.

use super::super::{
    keys, pattern,
    read::{Map, Reader, Value, quoted},
};
use crate::record::{
    regex::Regex,
    steps::{Key, Redact, Replacement, With},
};

/// What stands there if nothing else is said.
const HIDDEN: &str = "***";

pub(super) fn redact(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Redact> {
    let map = r.map(value, &keys::REDACT)?;
    let field = map.get("field").map(|value| r.value(&value, super::steps::field_name));
    let pattern = map.get("pattern").map(|value| r.value(&value, pattern::any));
    if field.is_none() && pattern.is_none() {
        let text = "does not say what to hide; write a `field`, a `pattern`, or both, like `{ field: token }` or `{ pattern: '\\d{16}' }`";
        r.problem(value, text);
    }
    if let (Some(hash), true) = (map.get("hash"), map.get("replacement").is_some()) {
        r.problem(&hash, "stands beside `replacement`; write only one of the two");
        return None;
    }
    // A mistake in the pattern is reported, and so are those in what follows it.
    let with = match &pattern {
        Some(None) => with(r, &map, None).and(None)?,
        Some(Some(pattern)) => with(r, &map, Some(pattern))?,
        None => with(r, &map, None)?,
    };
    match (field, pattern) {
        (Some(field), None) => Some(Redact::Field { field: field?, with }),
        (None, pattern) => Some(Redact::Matches { field: None, pattern: pattern??, with }),
        (Some(field), pattern) => Some(Redact::Matches { field: Some(field?), pattern: pattern??, with }),
    }
}

fn with(r: &mut Reader<'_>, map: &Map<'_>, pattern: Option<&Regex>) -> Option<With> {
    if let Some(hash) = map.get("hash") {
        let hash = r.map(&hash, &keys::HASH)?;
        let key = r.required(&hash, "key", "write a secret of your own, like `key: \"${REDACT_KEY}\"`")?;
        let secret = r.secret(&key, "write `${NAME}`, and put it into the environment of the service")?;
        return Some(With::Hash(Key::new(secret.as_bytes())));
    }
    let Some(written) = map.get("replacement") else {
        return Some(With::Text(Replacement::literal(HIDDEN.to_owned())));
    };
    let text = r.expanded(&written)?.text;
    let Some(pattern) = pattern else { return Some(With::Text(Replacement::literal(text))) };
    match Replacement::new(&text, pattern) {
        Ok(replacement) => Some(With::Text(replacement)),
        Err(unknown) => {
            let shown = quoted(r.written(&written).unwrap_or_default());
            r.problem(&written, format!("{shown} {unknown}; write `$$` for a dollar"));
            None
        }
    }
}
