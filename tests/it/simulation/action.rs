//! What can happen, drawn at random. Independent of what happened before, so that a failing list can be shortened.

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    Write {
        log: usize,
        lines: u8,
        torn: bool,
    },
    Rename {
        log: usize,
        reopen: bool,
    },
    Reopen {
        log: usize,
    },
    /// The first half of copytruncate, and the second.
    Copy {
        log: usize,
    },
    Truncate {
        log: usize,
    },
    /// Truncated without a copy, and written beyond its old length at once.
    Rewrite {
        log: usize,
        lines: u8,
    },
    Compress {
        log: usize,
        number: usize,
    },
    Delete {
        log: usize,
        number: usize,
    },
    Hole {
        log: usize,
    },
    Advance {
        millis: u64,
    },
    /// The destination throttles, fails and loses answers.
    Slow(bool),
    /// A shard of the destination splits.
    Reshard,
    JournalFails(bool),
    ReadsFail(bool),
    Denied(bool),
    Steps(u32),
    Hint {
        log: usize,
    },
    Terminate,
    Kill,
    PowerCut,
}

/// A list of actions for a seed.
pub fn draw(seed: u64) -> Vec<Action> {
    let mut random = fastrand::Rng::with_seed(seed ^ 0x5EED);
    let length = random.usize(10..60);
    // Some seeds concentrate on a few kinds, which reach further into their combinations.
    let mask: u64 = if random.bool() { u64::MAX } else { random.u64(..) | 0b11 };
    (0..length).map(|_| one(&mut random, mask)).collect()
}

fn one(random: &mut fastrand::Rng, mask: u64) -> Action {
    loop {
        let log = usize::from(random.u8(..4) == 0);
        let number = random.usize(1..4);
        let kind = random.u32(..41);
        let action = match kind {
            0..9 => Action::Write { log, lines: random.u8(..9), torn: random.u8(..4) == 0 },
            9..19 => Action::Steps(random.u32(1..30)),
            19..22 => Action::Rename { log, reopen: random.u8(..3) > 0 },
            22 => Action::Reopen { log },
            23 => Action::Copy { log },
            24 => Action::Truncate { log },
            25 => Action::Rewrite { log, lines: random.u8(..12) },
            26 => Action::Compress { log, number },
            27 => Action::Delete { log, number },
            28 => Action::Hole { log },
            29 | 30 => Action::Advance { millis: random.u64(..4_000) },
            31 => Action::Slow(random.bool()),
            32 => Action::JournalFails(random.bool()),
            33 => Action::ReadsFail(random.u8(..3) == 0),
            34 => Action::Denied(random.u8(..3) == 0),
            35 => Action::Hint { log },
            36 => Action::Terminate,
            37 | 38 => Action::Kill,
            39 => Action::PowerCut,
            _ => Action::Reshard,
        };
        let group = if kind < 19 { 0 } else { kind - 18 };
        if mask & (1 << group) != 0 {
            return action;
        }
    }
}
