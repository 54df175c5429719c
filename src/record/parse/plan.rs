//! A shorter way through patterns that are a sequence, like `^(?P<a>\S+) \[(?P<b>[^\]]+)\] (?P<c>\d+)$`: each piece is read
//! once, from left to right. Knows ASCII alone. Invariant: on a line of ASCII a plan finds exactly what the pattern's engine
//! finds, for a repetition stops where nothing else could go on: what it repeats is never what follows it may begin with.

use memchr::{memchr, memchr2, memchr3};
use regex_syntax::hir::{Class, Hir, HirKind, Look, Repetition};

/// A pattern as a sequence of steps.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    steps: Vec<Step>,
    /// The match ends where the line does.
    to_end: bool,
    /// Where the groups of the last match are.
    groups: Vec<(usize, usize)>,
}

#[derive(Clone, Debug)]
enum Step {
    Open(usize),
    Close(usize),
    Literal(Box<[u8]>),
    Run { set: Set, stops: Stops, min: usize, max: usize },
}

/// ASCII characters.
type Set = [bool; 128];

/// How the end of a run is found.
#[derive(Clone, Copy, Debug)]
enum Stops {
    Never,
    At(u8),
    AtTwo(u8, u8),
    AtThree(u8, u8, u8),
    Table,
}

impl Plan {
    /// The plan of a pattern, if it can have one.
    pub(super) fn new(pattern: &str) -> Option<Self> {
        let hir = regex_syntax::ParserBuilder::new().utf8(false).build().parse(pattern).ok()?;
        let HirKind::Concat(list) = hir.kind() else { return None };
        let [start, middle @ ..] = &list[..] else { return None };
        if !is_look(start, Look::Start) {
            return None;
        }
        let (middle, to_end) = match middle {
            [middle @ .., end] if is_look(end, Look::End) => (middle, true),
            _ => (middle, false),
        };
        let mut steps = Vec::new();
        middle.iter().try_for_each(|hir| push(hir, &mut steps))?;
        let groups = vec![(0, 0); 1 + hir.properties().explicit_captures_len()];
        is_certain(&steps).then_some(Self { steps, to_end, groups })
    }

    /// Whether a line of ASCII matches.
    pub(super) fn matches(&mut self, line: &[u8]) -> bool {
        let mut at = 0;
        for step in &self.steps {
            match step {
                Step::Open(group) => self.groups[*group].0 = at,
                Step::Close(group) => self.groups[*group].1 = at,
                Step::Literal(literal) => {
                    if !line[at..].starts_with(literal) {
                        return false;
                    }
                    at += literal.len();
                }
                Step::Run { set, stops, min, max } => {
                    let rest = &line[at..];
                    let len = run(set, *stops, &rest[..rest.len().min(*max)]);
                    if len < *min {
                        return false;
                    }
                    at += len;
                }
            }
        }
        !self.to_end || at == line.len()
    }

    /// Where a group of the last match is.
    pub(super) fn group(&self, group: usize) -> (usize, usize) {
        self.groups[group]
    }
}

fn is_look(hir: &Hir, look: Look) -> bool {
    matches!(hir.kind(), HirKind::Look(found) if *found == look)
}

fn push(hir: &Hir, steps: &mut Vec<Step>) -> Option<()> {
    match hir.kind() {
        HirKind::Empty => {}
        HirKind::Literal(literal) => steps.push(Step::Literal(literal.0.clone())),
        HirKind::Class(class) => steps.push(step_of(set_of(class), 1, 1)),
        HirKind::Repetition(repetition) => steps.push(repeated(repetition)?),
        HirKind::Capture(capture) => {
            let group = usize::try_from(capture.index).ok()?;
            steps.push(Step::Open(group));
            push(&capture.sub, steps)?;
            steps.push(Step::Close(group));
        }
        HirKind::Concat(list) => list.iter().try_for_each(|hir| push(hir, steps))?,
        HirKind::Look(_) | HirKind::Alternation(_) => return None,
    }
    Some(())
}

fn repeated(repetition: &Repetition) -> Option<Step> {
    let set = match repetition.sub.kind() {
        HirKind::Class(class) => set_of(class),
        HirKind::Literal(literal) => match literal.0[..] {
            [byte] if byte.is_ascii() => set_where(|c| c == byte),
            _ => return None,
        },
        _ => return None,
    };
    let min = usize::try_from(repetition.min).ok()?;
    let max = repetition.max.map_or(Some(usize::MAX), |max| usize::try_from(max).ok())?;
    (repetition.greedy || min == max).then(|| step_of(set, min, max))
}

fn step_of(set: Set, min: usize, max: usize) -> Step {
    let mut others = (0..128).filter(|&byte| !set[usize::from(byte)]);
    let stops = match [others.next(), others.next(), others.next(), others.next()] {
        [None, ..] => Stops::Never,
        [Some(a), None, ..] => Stops::At(a),
        [Some(a), Some(b), None, _] => Stops::AtTwo(a, b),
        [Some(a), Some(b), Some(c), None] => Stops::AtThree(a, b, c),
        _ => Stops::Table,
    };
    Step::Run { set, stops, min, max }
}

fn set_of(class: &Class) -> Set {
    match class {
        Class::Unicode(class) => {
            set_where(|c| class.iter().any(|range| (range.start()..=range.end()).contains(&char::from(c))))
        }
        Class::Bytes(class) => set_where(|c| class.iter().any(|range| (range.start()..=range.end()).contains(&c))),
    }
}

fn set_where(is_of: impl Fn(u8) -> bool) -> Set {
    let mut set = [false; 128];
    for (byte, member) in (0..).zip(&mut set) {
        *member = is_of(byte);
    }
    set
}

/// Whether no run could as well have been shorter: from the last step back, with what the rest may begin with.
fn is_certain(steps: &[Step]) -> bool {
    let mut first = [false; 128];
    // The next step, if it takes any number of these: what a shorter run before it left over it would only pass over.
    let mut swallows: Option<&Set> = None;
    for step in steps.iter().rev() {
        match step {
            Step::Open(_) | Step::Close(_) => {}
            Step::Literal(literal) => {
                first = set_where(|c| c == literal[0]);
                swallows = None;
            }
            Step::Run { set, min, max, .. } => {
                let swallowed = swallows.is_some_and(|other| set.iter().zip(other).all(|(a, b)| !a || *b));
                if min != max && !swallowed && set.iter().zip(&first).any(|(a, b)| *a && *b) {
                    return false;
                }
                let keep = *min == 0;
                for (a, b) in first.iter_mut().zip(set) {
                    *a = (*a && keep) || (*b && *max > 0);
                }
                swallows = (*min == 0 && *max == usize::MAX).then_some(set);
            }
        }
    }
    true
}

/// How many of the first bytes are of the set.
fn run(set: &Set, stops: Stops, bytes: &[u8]) -> usize {
    let stop = match stops {
        Stops::Never => None,
        Stops::At(a) => memchr(a, bytes),
        Stops::AtTwo(a, b) => memchr2(a, b, bytes),
        Stops::AtThree(a, b, c) => memchr3(a, b, c, bytes),
        Stops::Table => bytes.iter().position(|&byte| !set[usize::from(byte & 127)]),
    };
    stop.unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn has_plan(pattern: &str) -> bool {
        Plan::new(pattern).is_some()
    }

    #[test]
    fn sequences_have_a_plan() {
        for pattern in [
            r#"^(?P<a>\S+) (?P<b>[^ ]+) \[(?P<c>[^\]]+)\] "(?P<d>[^"]*)" (?P<e>\d+)$"#,
            r"^(?P<a>[^,]*),(?P<b>[^,]*),(?P<c>.*)$",
            r"^(?P<date>\d{4}-\d\d-\d\d)T(?P<level>[A-Z]{3,5}) +(?P<rest>.*)",
            r"^(?i)get (?P<p>[^ ]+)",
            r"^(?P<a>\w+): *(?P<b>.*)$",
        ] {
            assert!(has_plan(pattern), "{pattern}");
        }
    }

    #[test]
    fn where_a_shorter_run_could_match_too_there_is_none() {
        for pattern in [
            r"(?P<a>\S+) x",
            r"^(?P<a>.*) (?P<b>\d+)$",
            r"^(?P<a>\d*)(?P<b>\d+)$",
            r"^(?P<a>\w+)( x)?\w$",
            r"^(?P<a>.*?) x",
            r"^(a|bc)$",
            r"^\bx$",
            r"(?m)^x$",
            r"^(?P<a>\d+)[a-z]?\d$",
            r"^(?P<a>[a-c]{1,2})c$",
            r"^a +(?P<b>.+)$",
            "^x(a)?b$",
        ] {
            assert!(!has_plan(pattern), "{pattern}");
        }
    }

    fn piece() -> impl Strategy<Value = String> {
        let class = prop_oneof![
            Just("a"),
            Just(" "),
            Just("."),
            Just("[^ ]"),
            Just("[ab]"),
            Just("[^a]"),
            Just(r"\d"),
            Just(r"\S"),
            Just(r"\w"),
            Just("é"),
            Just("[aé]"),
            Just("(?i:b)"),
            Just("x-"),
        ];
        let times =
            prop_oneof![Just(""), Just("+"), Just("*"), Just("?"), Just("{2}"), Just("{1,2}"), Just("+?"), Just("{0}")];
        (class, times, any::<bool>()).prop_map(|(class, times, group)| {
            if group { format!("({class}{times})") } else { format!("{class}{times}") }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]

        #[test]
        fn a_plan_finds_what_the_engine_finds(
            pieces in proptest::collection::vec(piece(), 1..6),
            to_end in any::<bool>(),
            lines in proptest::collection::vec("[ab x1B\n-]{0,8}", 8),
        ) {
            let pattern = format!("^{}{}", pieces.concat(), if to_end { "$" } else { "" });
            let Some(mut plan) = Plan::new(&pattern) else { return Ok(()) };
            let engine = regex::bytes::Regex::new(&pattern).expect("a pattern");
            for line in &lines {
                let found = engine.captures(line.as_bytes());
                prop_assert_eq!(plan.matches(line.as_bytes()), found.is_some(), "{} on {:?}", pattern, line);
                for (group, place) in found.iter().flat_map(|found| found.iter().enumerate().skip(1)) {
                    let place = place.map(|m| (m.start(), m.end()));
                    prop_assert_eq!(Some(plan.group(group)), place, "{} on {:?}", pattern, line);
                }
            }
        }
    }
}
