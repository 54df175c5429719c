//! `drop_if` and `keep_if` to conditions. Knows what may be asked of a field, not how it is answered.

use super::super::{
    keys, pattern,
    read::{Map, Reader, Value},
    value,
};
use crate::record::steps::{Condition, Number, Order, Test};

const TESTS: [&str; 8] = ["equals", "in", "matches", "gt", "ge", "lt", "le", "exists"];
const GROUPS: [&str; 3] = ["any", "all", "not"];

/// A condition, or a list of which all must hold.
pub(super) fn condition(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Condition> {
    if value.is_list() {
        return all_of(r, value).map(Condition::All);
    }
    let map = r.map(value, &keys::CONDITION)?;
    let field = map.get("field");
    let tests = map.present(&TESTS);
    let groups = map.present(&GROUPS);
    if tests.is_empty() && (groups.is_empty() || field.is_some()) {
        if !map.has_unknown(&keys::CONDITION) {
            r.problem(
                value,
                "asks nothing; write a test, like `{ field: status, equals: \"200\" }` or `{ matches: '...' }`",
            );
        }
        return None;
    }
    let name = field.as_ref().map(|value| r.value(value, super::steps::field_name));
    let mut list = Vec::new();
    for key in tests {
        let at = map.get(key)?;
        match (&name, key) {
            (None, "matches") => list.push(Condition::Line(r.value(&at, pattern::any)?)),
            (None, _) => {
                r.problem(&at, format!("`{key}` needs the field that it is asked of; write `field: NAME` beside it"));
                return None;
            }
            (Some(name), _) => {
                let test = test(r, key, &at)?;
                list.push(Condition::Field { name: name.clone()?, test });
            }
        }
    }
    for key in groups {
        list.push(group(r, key, &map)?);
    }
    Some(if list.len() == 1 { list.remove(0) } else { Condition::All(list) })
}

fn group(r: &mut Reader<'_>, key: &str, map: &Map<'_>) -> Option<Condition> {
    let value = map.get(key)?;
    match key {
        "any" => all_of(r, &value).map(Condition::Any),
        "all" => all_of(r, &value).map(Condition::All),
        _ => Some(Condition::Not(Box::new(condition(r, &value)?))),
    }
}

fn all_of(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Vec<Condition>> {
    let items = r.list(value)?;
    if items.is_empty() {
        r.problem(value, "has no condition; write at least one, like `- { field: status, equals: \"200\" }`");
        return None;
    }
    // Read on after a mistake: the others are reported as well.
    let read: Vec<Option<Condition>> = items.iter().map(|item| condition(r, item)).collect();
    read.into_iter().collect()
}

fn test(r: &mut Reader<'_>, key: &str, value: &Value<'_>) -> Option<Test> {
    let order = match key {
        "equals" => return Some(Test::In(vec![r.value(value, any_text)?])),
        "in" => return one_of(r, value),
        "matches" => return Some(Test::Matches(r.value(value, pattern::any)?)),
        "exists" => return Some(Test::Exists(r.value(value, value::boolean)?)),
        "gt" => Order::More,
        "ge" => Order::AtLeast,
        "lt" => Order::Less,
        _ => Order::AtMost,
    };
    let number = r.value(value, |text| {
        Number::read(text.as_bytes()).ok_or_else(|| "is not a number; write one like 500, -1 or 0.5".to_owned())
    });
    Some(Test::Compare(order, number?))
}

fn one_of(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Test> {
    let items = r.list(value)?;
    if items.is_empty() {
        r.problem(value, "has no value to compare with; write at least one, like `in: [GET, HEAD]`");
        return None;
    }
    let read: Vec<Option<String>> = items.iter().map(|item| r.value(item, any_text)).collect();
    Some(Test::In(read.into_iter().collect::<Option<_>>()?))
}

#[expect(clippy::unnecessary_wraps, reason = "what the reader of a value returns")]
fn any_text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}
