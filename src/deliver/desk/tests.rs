//! The order of work, whatever replies and in whatever order they come.

use super::*;
use crate::{
    deliver::{
        MaxRate, ServiceClock,
        search::Page,
        shards::Seen,
        testing::{batch, failure},
    },
    model::{Now, Slot, content_hash},
};
use proptest::prelude::*;
use std::time::Duration;

fn desk(max_in_flight: usize) -> Desk {
    Desk::new(Rules { max_in_flight, ..Rules::default() }, fastrand::Rng::with_seed(1))
}

fn send(desk: &mut Desk, now: Instant) -> (Ticket, Vec<u32>) {
    match desk.next(now) {
        Some(Work::Send { ticket, which, .. }) => (ticket, which),
        other => panic!("expected a request, not {other:?}"),
    }
}

#[test]
fn large_requests_wait_for_those_under_way() {
    let (mut desk, now) = (desk(8), Instant::now());
    for id in 0..4 {
        let mut batch = batch(id, 1);
        batch.records[0].size = 5 << 20;
        desk.accept(batch, now);
    }
    let (first, second) = (send(&mut desk, now).0, send(&mut desk, now).0);
    assert!(desk.next(now).is_none(), "8 MiB and more are under way");
    desk.replied(second, 1, Reply::accepted(), now);
    assert!(matches!(desk.next(now), Some(Work::Settled(_))));
    assert_eq!(send(&mut desk, now).0.id.0, 2);
    assert!(desk.next(now).is_none());
    desk.replied(first, 1, Reply::Failed(failure(Class::Throttled)), now);
    assert_eq!(send(&mut desk, now).0.id.0, 3);
}

#[test]
fn no_more_requests_than_the_window_allows_and_the_oldest_first() {
    let (mut desk, now) = (desk(2), Instant::now());
    (0..3).rev().for_each(|id| desk.accept(batch(id, 1), now));
    let (first, second) = (send(&mut desk, now).0, send(&mut desk, now).0);
    assert_eq!([first.id.0, second.id.0], [0, 1]);
    assert!(desk.next(now).is_none());
    desk.replied(second, 1, Reply::accepted(), now);
    assert!(matches!(desk.next(now), Some(Work::Settled(Settled { id: BatchId(1), accepted: 1, dead_lettered: 0 }))));
    assert_eq!(send(&mut desk, now).0.id.0, 2);
}

#[test]
fn a_success_ends_the_hold_of_everybody() {
    let (mut desk, now) = (desk(4), Instant::now());
    (0..3).for_each(|id| desk.accept(batch(id, 1), now));
    let tickets = [(); 3].map(|()| send(&mut desk, now).0);
    for ticket in tickets {
        desk.replied(ticket, 1, Reply::Failed(failure(Class::Hold)), now);
    }
    assert!(desk.next(now).is_none());
    let later = desk.due().unwrap();
    let (probe, _) = send(&mut desk, later);
    assert!(desk.next(later).is_none(), "one probe at a time");
    desk.replied(probe, 1, Reply::accepted(), later);
    assert!(matches!(desk.next(later), Some(Work::Settled(_))));
    send(&mut desk, later);
    send(&mut desk, later);
}

#[test]
fn a_batch_whose_dead_letters_cannot_be_written_is_not_settled() {
    let (mut desk, mut now) = (desk(1), Instant::now());
    desk.accept(batch(0, 1), now);
    let (ticket, _) = send(&mut desk, now);
    desk.replied(ticket, 1, Reply::Failed(failure(Class::Reject)), now);
    for _ in 0..5 {
        assert!(matches!(desk.next(now), Some(Work::Write { .. })));
        desk.written(BatchId(0), false, now);
        assert!(desk.next(now).is_none());
        now = desk.due().unwrap();
    }
    assert!(matches!(desk.next(now), Some(Work::Write { .. })));
    desk.written(BatchId(0), true, now);
    assert!(matches!(desk.next(now), Some(Work::Settled(Settled { accepted: 0, dead_lettered: 1, .. }))));
}

#[test]
fn a_rate_is_kept_and_whoever_waits_for_it_is_told_when() {
    let now = Instant::now();
    let rate = Rate::new(MaxRate { records: Some(10), bytes: None }, now);
    let rules = Rules { max_in_flight: 8, rate: Some(rate), ..Rules::default() };
    let mut desk = Desk::new(rules, fastrand::Rng::with_seed(1));
    (0..3).for_each(|id| desk.accept(batch(id, 20), now));
    send(&mut desk, now);
    assert!(desk.next(now).is_none());
    let later = desk.due().expect("the next one may be sent some time");
    assert_eq!(later, now + Duration::from_secs(1));
    send(&mut desk, later);
    assert!(desk.next(later).is_none() && desk.due() > Some(later));
}

#[test]
fn records_for_a_busy_shard_wait_and_the_others_are_sent() {
    let (now, shards) = (Instant::now(), Arc::<Shards>::default());
    let batch = batch(0, 40);
    let hash = |index: usize| Routing::default().hash(&batch, index);
    let is_hot = |index: u32| hash(index as usize) >> 127 == 0;
    let seen = (0..40).map(|index| {
        let hot = is_hot(index);
        Seen { hash: hash(index as usize), shard: if hot { "hot" } else { "cold" }, throttled: hot }
    });
    shards.answered(seen, now);
    let throttle = Some(Throttle::new(Arc::clone(&shards), Routing::default()));
    let mut desk = Desk::new(Rules { max_in_flight: 8, throttle, ..Rules::default() }, fastrand::Rng::with_seed(1));
    desk.accept(batch.clone(), now);
    let (ticket, which) = send(&mut desk, now);
    assert!(!which.is_empty() && which.iter().all(|index| !is_hot(*index)), "{which:?}");
    assert!(matches!(desk.next(now), Some(Work::Delayed(BatchId(0)))), "it must not keep others from being read");
    desk.replied(ticket, which.len(), Reply::accepted(), now);
    let mut left = 40 - which.len();
    let mut later = now;
    while left > 0 {
        match desk.next(later) {
            Some(Work::Send { ticket, which, .. }) => {
                left -= which.len();
                desk.replied(ticket, which.len(), Reply::accepted(), later);
            }
            Some(work) => assert!(matches!(work, Work::Delayed(_)), "{work:?}"),
            None => later = desk.due().expect("the rest waits for a time"),
        }
    }
    assert!(later > now);
    assert!(std::iter::from_fn(|| desk.next(later)).any(|work| matches!(work, Work::Settled(_))));
}

fn answer(rng: &mut fastrand::Rng, records: usize) -> Reply {
    const ALL: [Class; 6] =
        [Class::Throttled, Class::Again, Class::Ambiguous, Class::Credentials, Class::Hold, Class::Reject];
    let mut bad = |odds: u8| (rng.u8(..) < odds).then(|| failure(ALL[rng.usize(..ALL.len())]));
    if let Some(failure) = bad(80) {
        return Reply::Failed(failure);
    }
    Reply::Answered { failed: (0..u32::try_from(records).unwrap()).filter_map(|p| Some((p, bad(40)?))).collect() }
}

/// Sends records of these slots, one list a batch, through a destination in moods, which takes up requests in any
/// order; what it stored of each slot, in its order.
/// With `once`, what it says it does not know may be stored all the same, and it can be asked.
fn stored(seed: u64, slots: &[Vec<u8>], max: usize, keeps_order: bool, once: bool) -> HashMap<u8, Vec<(u64, u32)>> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut now = Instant::now();
    let clock = ServiceClock::new(Now { mono: now, wall: 0 });
    let once = once.then(|| ExactlyOnce { settle_wait: Duration::from_secs(1), clock });
    let knows = once.is_none();
    let rules = Rules { max_in_flight: max, keeps_order, once, ..Rules::default() };
    let mut desk = Desk::new(rules, fastrand::Rng::with_seed(seed));
    let mut held = Vec::new();
    let mut stored: HashMap<u8, Vec<(u64, u32)>> = HashMap::new();
    let (mut coming, mut requests) = ((0..).zip(slots).collect::<VecDeque<_>>(), Vec::new());
    for _ in 0..100_000 {
        if rng.u8(..) < 80
            && let Some((id, slots)) = coming.pop_front()
        {
            let mut batch = batch(id, slots.len());
            batch.files[0].generation = Generation(id);
            batch.records.iter_mut().zip(slots).for_each(|(record, slot)| record.slot = Some(Slot(*slot)));
            desk.accept(batch, now);
        }
        match desk.next(now) {
            Some(Work::Send { ticket, batch, which, .. }) => requests.push((ticket, batch, which)),
            Some(Work::Write { id, .. }) => desk.written(id, true, now),
            Some(Work::Ask(ask)) => {
                let told = match &ask {
                    Ask::Shards { .. } => Told::Shards { shards: vec!["0".to_owned()], page: None },
                    Ask::Iterator { .. } => Told::Iterator("0".to_owned()),
                    Ask::Records { .. } => {
                        let (landed, next) = (held.clone(), Some("0".to_owned()));
                        Told::Records(Page { landed, next, at_tip: true, ..Page::default() })
                    }
                };
                let _ = desk.told(&ask, told, now);
            }
            Some(Work::Settled(_) | Work::Found { .. } | Work::Delayed(_)) => {}
            None if !requests.is_empty() => {
                let (ticket, batch, which) = requests.swap_remove(rng.usize(..requests.len()));
                let reply = answer(&mut rng, which.len());
                // What nobody knows of may be stored; to whoever sends it again that makes no difference.
                let mut is_lost = |class| knows || class != Class::Ambiguous || rng.bool();
                let failed: Vec<u32> = match &reply {
                    Reply::Answered { failed } => {
                        failed.iter().filter(|(_, f)| is_lost(f.class)).map(|(position, _)| *position).collect()
                    }
                    Reply::Failed(f) if is_lost(f.class) => (0..).zip(&which).map(|(position, _)| position).collect(),
                    Reply::Failed(_) => Vec::new(),
                };
                for (_, index) in (0..).zip(&which).filter(|(position, _)| !failed.contains(position)) {
                    let slot = batch.records[*index as usize].slot.expect("set above").0;
                    stored.entry(slot).or_default().push((batch.id.0, *index));
                    let (id, hash) = (batch.record_id(*index as usize), content_hash(batch.record(*index as usize)));
                    held.push(Landed { id, slot: None, hash });
                }
                desk.replied(ticket, which.len(), reply, now);
            }
            None => now = desk.due().unwrap_or(now),
        }
        if coming.is_empty() && desk.jobs.is_empty() {
            return stored;
        }
    }
    panic!("no progress: {desk:?}");
}

#[test]
fn without_the_order_kept_records_overtake_each_other() {
    let slots = vec![vec![1; 10]; 10];
    assert!((0..10).any(|seed| !stored(seed, &slots, 4, false, false)[&1].is_sorted()));
}

proptest! {
    #[test]
    fn records_of_one_slot_are_stored_in_their_order_whatever_fails(
        seed: u64, slots in prop::collection::vec(prop::collection::vec(0u8..6, 0..20), 1..15), max in 1usize..9,
        once: bool,
    ) {
        for (slot, order) in stored(seed, &slots, max, true, once) {
            prop_assert!(order.is_sorted_by(|a, b| a < b), "{}: {:?}", slot, order);
        }
    }

    #[test]
    fn nothing_is_stored_twice_and_all_is_stored_although_answers_are_lost(
        seed: u64, sizes in prop::collection::vec(0usize..20, 1..15), max in 1usize..9
    ) {
        let slots: Vec<Vec<u8>> = sizes.iter().map(|size| vec![7; *size]).collect();
        let mut stored = stored(seed, &slots, max, false, true).remove(&7).unwrap_or_default();
        let all = stored.len();
        stored.sort_unstable();
        stored.dedup();
        prop_assert_eq!(all, stored.len());
    }

    #[test]
    fn every_batch_settles_once_with_all_its_records(
        seed: u64, sizes in prop::collection::vec(0usize..20, 1..20), max in 1usize..9
    ) {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut desk = Desk::new(Rules { max_in_flight: max, ..Rules::default() }, fastrand::Rng::with_seed(seed));
        let mut now = Instant::now();
        (0..).zip(&sizes).for_each(|(id, records)| desk.accept(batch(id, *records), now));
        let (mut requests, mut writes, mut settled) = (Vec::new(), Vec::new(), vec![None; sizes.len()]);
        for _ in 0..100_000 {
            match desk.next(now) {
                Some(Work::Settled(s)) => {
                    let before = settled[usize::try_from(s.id.0).unwrap()].replace(s.accepted + s.dead_lettered);
                    prop_assert_eq!(before, None);
                    continue;
                }
                Some(Work::Send { ticket, which, .. }) => requests.push((ticket, which.len())),
                Some(Work::Write { id, .. }) => writes.push(id),
                Some(Work::Ask(_) | Work::Found { .. } | Work::Delayed(_)) => prop_assert!(false, "nothing is in doubt"),
                None => match (requests.is_empty(), writes.is_empty(), desk.due()) {
                    (true, true, None) => break,
                    (true, true, Some(due)) => now = due,
                    (false, ..) => {
                        let (ticket, records) = requests.swap_remove(rng.usize(..requests.len()));
                        desk.replied(ticket, records, answer(&mut rng, records), now);
                    }
                    (true, false, _) => desk.written(writes.pop().unwrap(), rng.bool(), now),
                },
            }
            prop_assert!(requests.len() <= max && writes.len() <= 1);
            now += Duration::from_millis(1);
        }
        let expected: Vec<_> = sizes.iter().map(|&s| Some(u32::try_from(s).unwrap())).collect();
        prop_assert_eq!(settled, expected);
        prop_assert!(desk.jobs.is_empty());
    }
}
