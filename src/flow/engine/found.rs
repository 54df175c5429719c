//! What the destination was found to hold, before the file table and the cutter go by it.
//! Invariant: where a file may hold something else by now, only records go on that were compared with it.

use std::collections::HashMap;

use super::Engine;
use crate::{
    checkpoint::storage::Storage,
    flow::{compare, cutter::HEAD, machine::Event},
    model::{Generation, Landed, Now},
    source::fs::Fs,
};

impl<F: Fs, S: Storage> Engine<F, S> {
    /// The destination holds these records of the generations, all of which were in doubt, and no others.
    pub fn found(&mut self, generations: &[Generation], landed: Vec<Landed>, now: Now) {
        let mut by_generation: HashMap<Generation, Vec<Landed>> = HashMap::new();
        for landed in landed {
            by_generation.entry(landed.id.generation).or_default().push(landed);
        }
        for generation in generations {
            let own = by_generation.remove(generation).unwrap_or_default();
            let alike = self.table.acked(*generation).is_some_and(|acked| acked < self.alike);
            if (self.changed.contains(generation) || alike) && !own.is_empty() {
                self.to_compare.push((*generation, own));
            } else {
                self.cutter.held.add(*generation, &own);
                self.table.found(*generation, &own);
            }
        }
        self.machine.handle(Event::Found(generations.to_vec()), now.mono);
        self.compare_all(now);
        self.worked(now.mono);
    }

    /// Compares what was found with files that may hold something else by now; those that cannot be read are tried again.
    pub(super) fn compare_all(&mut self, now: Now) {
        for (generation, landed) in std::mem::take(&mut self.to_compare) {
            if self.table.is_over(generation) {
                self.table.found(generation, &[]);
                continue;
            }
            match self.compare(generation, &landed, now) {
                Some(held) => {
                    self.cutter.held.add(generation, &held);
                    self.table.found(generation, &held);
                }
                None => self.to_compare.push((generation, landed)),
            }
        }
    }

    /// Which of these records a file holds as they were sent. `None`: it cannot be read now.
    fn compare(&mut self, generation: Generation, landed: &[Landed], now: Now) -> Option<Vec<Landed>> {
        let (mut held, mut buf, mut cutter) = (Vec::new(), Vec::new(), None);
        let key = self.table.itself(generation, now.mono)?;
        if self.cutter.lacks_header(generation) {
            let got = self.table.bytes_of(key, 0, HEAD, &mut buf, now.mono)?;
            self.cutter.learn_header_of(generation, &buf[..got], got < HEAD);
        }
        // Rising, so that what is compressed is decompressed once.
        for cluster in compare::clusters(landed) {
            let span = cluster.span;
            let bytes = usize::try_from(span.len().min(compare::MOST)).expect("some MiB");
            // The file may end earlier by now: what it lost may overlap what it holds.
            let got = self.table.bytes_of(key, span.start, bytes, &mut buf, now.mono)?;
            let file = self.table.file_ref(key);
            let cutter = cutter.get_or_insert_with(|| self.cutter.for_comparison());
            held.extend(cutter.compare(&cluster, &file, &buf[..got], self.shape, now));
        }
        if held.len() < landed.len() {
            let (found, other) = (held.len(), landed.len() - held.len());
            tracing::warn!(%generation, found, other, "some records that were sent are not what the file gives now: it lost bytes, or the configuration is another; its bytes are sent as they are now");
        }
        Some(held)
    }
}
