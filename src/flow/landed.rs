//! Lines that the destination holds in records beside lines of other slots. Knows no files and no bytes.
//! Invariant: a line is held if a record of its slot reaches over it: such a record has all lines of its slot in between.

use std::collections::HashMap;

use crate::model::{Generation, Landed, Slot, Span};

/// What is held of the lines still to be read.
#[derive(Debug, Default)]
pub(super) struct Held {
    by_generation: HashMap<Generation, Vec<(Span, Slot)>>,
}

impl Held {
    /// The destination holds these records of a generation.
    pub(super) fn add(&mut self, generation: Generation, landed: &[Landed]) {
        let of_slots = landed.iter().filter_map(|landed| Some((landed.id.span, landed.slot?)));
        let mut spans: Vec<(Span, Slot)> = of_slots.collect();
        if !spans.is_empty() {
            spans.sort_unstable_by_key(|(span, _)| span.start);
            self.by_generation.insert(generation, spans);
        }
    }

    /// Whether anything is held of this generation at all.
    pub(super) fn any_of(&self, generation: Generation) -> bool {
        !self.by_generation.is_empty() && self.by_generation.contains_key(&generation)
    }

    /// Whether the line with this key is held.
    pub(super) fn holds(&self, generation: Generation, line: Span, key: &str) -> bool {
        let Some(spans) = self.by_generation.get(&generation) else { return false };
        let over = |span: &Span| span.start <= line.start && line.end <= span.end;
        let slot = Slot::of(key.as_bytes());
        spans.iter().take_while(|(span, _)| span.start <= line.start).any(|(span, of)| *of == slot && over(span))
    }

    /// Nothing before `offset` comes again.
    pub(super) fn pass(&mut self, generation: Generation, offset: u64) {
        if let Some(spans) = self.by_generation.get_mut(&generation) {
            spans.retain(|(span, _)| span.end > offset);
            if spans.is_empty() {
                self.by_generation.remove(&generation);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RecordId;

    #[test]
    fn a_line_is_held_by_a_record_of_its_own_slot_that_reaches_over_it() {
        let key_of =
            |slot: Slot| (0..1_000_000).map(|n| format!("k{n}")).find(|key| Slot::of(key.as_bytes()) == slot).unwrap();
        let (a, b) = (key_of(Slot(1)), key_of(Slot(2)));
        let generation = Generation(5);
        let landed =
            |start, end, slot| Landed { id: RecordId { generation, span: Span { start, end } }, slot, hash: 0 };
        let mut held = Held::default();
        held.add(generation, &[landed(0, 100, Some(Slot(1))), landed(50, 80, Some(Slot(2))), landed(200, 300, None)]);
        let holds = |held: &Held, start, end, key: &str| held.holds(generation, Span { start, end }, key);
        assert!(holds(&held, 0, 10, &a) && holds(&held, 90, 100, &a) && holds(&held, 50, 60, &b));
        assert!(!holds(&held, 0, 10, &b) && !holds(&held, 95, 105, &a) && !holds(&held, 210, 220, &a));
        assert!(held.any_of(generation) && !held.any_of(Generation(6)));
        held.pass(generation, 100);
        assert!(!held.any_of(generation));
    }
}
