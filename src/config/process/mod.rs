//! `process:` to the steps of a pipeline. Knows the order steps may have, not how they work.

mod emit;
mod filter;
mod parse;
mod redact;
mod steps;

use super::{
    keys,
    read::{Reader, Value},
};
use crate::record::{
    pipeline::{Emit, OnMismatch, Step},
    steps::{Condition, Redact},
    template::{Added, Part, Piece},
};

/// Reads the steps of the flow of this name, in order.
pub(super) fn process(r: &mut Reader<'_>, value: &Value<'_>, flow: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut order = Order::default();
    let mut emitted = false;
    for item in r.list(value).unwrap_or_default() {
        let Some(map) = r.map(&item, &keys::STEP) else { continue };
        let names = map.present(keys::STEP.keys);
        let [name] = names[..] else {
            // An unknown key alone was reported already.
            if !names.is_empty() || map.is_empty() {
                let (last, others) = keys::STEP.keys.split_last().expect("there are steps");
                let text =
                    format!("a step is one of {} and {last}; write each as its own list item", others.join(", "));
                r.problem(&item, text);
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
        let step = match name {
            "parse" => parse::parse(r, &inner),
            "add" => steps::add(r, &inner, flow),
            "remove" => steps::names(r, &inner).map(Step::Remove),
            "keep" => steps::names(r, &inner).map(Step::Keep),
            "rename" => steps::rename(r, &inner),
            "drop_if" => filter::condition(r, &inner).map(Step::DropIf),
            "keep_if" => filter::condition(r, &inner).map(Step::KeepIf),
            "redact" => redact::redact(r, &inner).map(Step::Redact),
            "single_line" => steps::single_line(r, &inner),
            "limit" => steps::limit(r, &inner),
            _ => emit::emit(r, &inner).map(Step::Emit),
        };
        if let Some(step) = step {
            order.check(r, name, &item, &step);
            steps.push(step);
        }
    }
    steps
}

/// What the steps so far mean for those that follow.
#[derive(Default)]
struct Order<'n> {
    /// Some step made fields of the record.
    made_fields: bool,
    /// A step sends what it cannot read as it came.
    keeps_raw: bool,
    /// Steps that asked for fields when there were none.
    too_early: Vec<(&'static str, Value<'n>)>,
    /// Steps whose work on fields only shows where fields are written.
    on_fields: Vec<(&'static str, Value<'n>)>,
}

impl<'n> Order<'n> {
    fn check(&mut self, r: &mut Reader<'_>, name: &'static str, item: &Value<'n>, step: &Step) {
        match step {
            Step::Parse { on_mismatch, .. } => {
                for (name, item) in self.too_early.drain(..) {
                    r.problem(
                        &item,
                        format!("`{name}` asks for a field before `parse` has found any; move it after `parse`"),
                    );
                }
                self.keeps_raw |= *on_mismatch == OnMismatch::KeepRaw;
            }
            Step::Redact(_) if self.keeps_raw => {
                let text = "a record that the `parse` before it cannot read is sent as it came, not redacted; \
                            give that `parse` an `on_mismatch` of drop or dead_letter, or redact before it, without a field";
                r.warning(item, text);
            }
            Step::Emit(Emit::Raw) => {
                for (name, item) in self.on_fields.drain(..) {
                    let text =
                        "works on fields, which `emit: raw` does not send; write `emit: json`, or remove the step";
                    r.problem(&item, format!("`{name}` {text}"));
                }
            }
            _ => {}
        }
        if !self.made_fields && asks_for_fields(step) {
            self.too_early.push((name, item.clone()));
        }
        let edits = matches!(step, Step::Redact(_) | Step::SingleLine(_));
        if !matches!(step, Step::Parse { .. }) && (step.makes_fields() || edits && self.made_fields) {
            self.on_fields.push((name, item.clone()));
        }
        self.made_fields |= step.makes_fields();
    }
}

/// Whether the step does nothing where there are no fields.
fn asks_for_fields(step: &Step) -> bool {
    match step {
        Step::Remove(_)
        | Step::Keep(_)
        | Step::Rename(_)
        | Step::Redact(Redact::Field { .. } | Redact::Matches { field: Some(_), .. }) => true,
        Step::DropIf(condition) | Step::KeepIf(condition) => names_a_field(condition),
        Step::Add(list) => list.iter().any(|(_, added)| templates_of(added).any(|part| matches!(part, Part::Field(_)))),
        _ => false,
    }
}

fn names_a_field(condition: &Condition) -> bool {
    match condition {
        Condition::All(list) | Condition::Any(list) => list.iter().any(names_a_field),
        Condition::Not(inner) => names_a_field(inner),
        Condition::Line(_) => false,
        Condition::Field { .. } => true,
    }
}

fn templates_of(added: &Added) -> impl Iterator<Item = &Part> {
    let (text, pieces) = match added {
        Added::Text(template) => (Some(template), &[][..]),
        Added::Json(pieces) => (None, &pieces[..]),
    };
    let inside =
        pieces.iter().filter_map(|piece| if let Piece::Text(template) = piece { Some(template) } else { None });
    text.into_iter().chain(inside).flat_map(|template| &template.0)
}
