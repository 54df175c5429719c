//! The steps between `parse` and `emit`. Knows what they may be told, not what they do.

use super::super::{
    env,
    read::{Reader, Value},
};
use crate::record::pipeline::{Step, Template};

pub(super) fn add(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Step> {
    let map = r.open_map(value)?;
    let mut fields: Vec<(String, Template)> = Vec::new();
    for (key, value) in map.each() {
        if key.name.is_empty() {
            r.problem_at(key.at, &value.key, "a field needs a name; this one is empty");
        }
        let Some(written) = r.written(&value) else { continue };
        match env::template(written, r.env) {
            Ok(template) => fields.push((key.name.to_string(), template)),
            Err(wrong) => {
                for text in wrong {
                    r.problem(&value, text);
                }
            }
        }
    }
    if map.each().next().is_none() {
        r.problem(value, "adds nothing; write fields, like `add: { host: \"${host}\" }`, or remove the step");
    }
    Some(Step::Add(fields))
}
