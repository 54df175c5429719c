//! `process:` to the steps of a pipeline. Knows the order steps may have, not how they work.

mod emit;
mod parse;
mod steps;

use super::{
    keys,
    read::{Reader, Value},
};
use crate::record::pipeline::Step;

/// Reads the steps, in order.
pub(super) fn process(r: &mut Reader<'_>, value: &Value<'_>) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut emitted = false;
    for item in r.list(value).unwrap_or_default() {
        let Some(map) = r.map(&item, &keys::STEP) else { continue };
        let names = map.present(keys::STEP.keys);
        let [name] = names[..] else {
            // An unknown key alone was reported already.
            if !names.is_empty() || map.is_empty() {
                r.problem(&item, "a step is one of parse, add and emit; write each as its own list item");
            }
            continue;
        };
        if emitted {
            let text = match name {
                "emit" => "`emit` was already written; only one is allowed, as the last step".to_owned(),
                _ => format!("`{name}` after `emit` would change nothing; move it before `emit`"),
            };
            r.problem(&item, text);
        }
        emitted |= name == "emit";
        let Some(inner) = map.get(name) else { continue };
        steps.extend(match name {
            "parse" => parse::parse(r, &inner),
            "add" => steps::add(r, &inner),
            _ => emit::emit(r, &inner).map(Step::Emit),
        });
    }
    steps
}
