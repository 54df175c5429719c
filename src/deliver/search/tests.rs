//! Searches in a stream that splits, throttles, forgets iterators and takes records late.

use proptest::prelude::*;

use super::*;
use crate::deliver::testing::failure as failed;

/// A shard of the model: what it holds, by arrival; when it came to its end, and what came out of it.
#[derive(Clone, Debug, Default)]
struct Held {
    records: Vec<(i64, Landed)>,
    closed: bool,
}

struct Stream {
    base: Instant,
    now: Duration,
    shards: Vec<Held>,
    rng: fastrand::Rng,
    calls: usize,
    /// Of each shard, when records were asked for.
    called: HashMap<String, Vec<Duration>>,
}

fn landed(generation: u64, start: u64) -> Landed {
    let id = RecordId { generation: Generation(generation), span: Span { start, end: start + 10 } };
    Landed { id, slot: None, hash: start }
}

impl Stream {
    fn new(seed: u64, shards: usize) -> Self {
        let shards = vec![Held::default(); shards];
        let rng = fastrand::Rng::with_seed(seed);
        Self { base: Instant::now(), now: Duration::from_secs(1000), shards, rng, calls: 0, called: HashMap::new() }
    }

    fn now(&self) -> Instant {
        self.base + self.now
    }

    fn take(&mut self, record: Landed) {
        let open: Vec<usize> = (0..self.shards.len()).filter(|i| !self.shards[*i].closed).collect();
        let shard = open[self.rng.usize(..open.len())];
        self.shards[shard].records.push((nanos(self.now), record));
    }

    fn split(&mut self) {
        let open: Vec<usize> = (0..self.shards.len()).filter(|i| !self.shards[*i].closed).collect();
        let shard = open[self.rng.usize(..open.len())];
        self.shards[shard].closed = true;
        self.shards.extend([Held::default(), Held::default()]);
    }

    /// Answers as the service does, a few records at a time; an iterator is a position.
    fn answer(&mut self, ask: &Ask, faults: bool) -> Told {
        self.calls += 1;
        if faults && self.rng.u8(..) < 60 {
            let code = ["ExpiredIteratorException", "ProvisionedThroughputExceededException"][self.rng.usize(..2)];
            return Told::Failed(Failure { code: code.into(), ..failed(Class::Throttled) });
        }
        match ask {
            Ask::Iterator { shard, .. } | Ask::Records { shard, .. } if shard == "gone" => {
                Told::Failed(Failure { code: "ResourceNotFoundException".into(), ..failed(Class::Hold) })
            }
            Ask::Shards { page } => {
                let from: usize = page.as_ref().map_or(0, |page| page.parse().unwrap());
                let names: Vec<String> = (from..self.shards.len()).take(2).map(|i| i.to_string()).collect();
                let next = from + names.len();
                Told::Shards { shards: names, page: (next < self.shards.len()).then(|| next.to_string()) }
            }
            Ask::Iterator { shard, from } => {
                let held = &self.shards[shard.parse::<usize>().unwrap()];
                Told::Iterator(match from {
                    From::Time(at) => held.records.partition_point(|(time, _)| time < at).to_string(),
                    From::After(number) => (number.parse::<usize>().unwrap() + 1).to_string(),
                })
            }
            Ask::Records { shard, iterator, most } => {
                let held = &self.shards[shard.parse::<usize>().unwrap()];
                let from: usize = iterator.parse().unwrap();
                let to = held.records.len().min(from + 3.min(*most as usize));
                let at_end = to == held.records.len();
                Told::Records(Page {
                    landed: held.records[from..to].iter().map(|(_, landed)| *landed).collect(),
                    last: (to > from).then(|| (to - 1).to_string()),
                    next: (!at_end || !held.closed).then(|| to.to_string()),
                    at_tip: at_end && !held.closed,
                    arrived: (to > from).then(|| held.records[to - 1].0),
                    records: u32::try_from(to - from).unwrap(),
                    bytes: 100 * (to - from) as u64,
                })
            }
        }
    }

    /// Runs a search to its end, with something happening in between.
    fn run(&mut self, search: &mut Search, faults: bool, mut meanwhile: impl FnMut(&mut Self)) {
        let mut under_way = Vec::new();
        for _ in 0..100_000 {
            if search.is_done() {
                return;
            }
            while let Some(ask) = search.next(self.now()) {
                if let Ask::Records { shard, .. } = &ask {
                    self.called.entry(shard.clone()).or_default().push(self.now);
                }
                under_way.push(ask);
            }
            assert!(under_way.len() <= MOST_CALLS);
            if under_way.is_empty() {
                self.now = search.due().expect("something is to be asked") - self.base;
                meanwhile(self);
            } else {
                let ask = under_way.swap_remove(self.rng.usize(..under_way.len()));
                let told = self.answer(&ask, faults);
                self.now += Duration::from_millis(self.rng.u64(..30));
                search.told(&ask, told, self.now());
            }
        }
        panic!("no end: {search:?}");
    }
}

fn search(stream: &Stream, sought: Sought, wait: Duration) -> Search {
    let sent = (stream.now(), nanos(stream.now));
    Search::new(sought, MARGIN, sent, wait, stream.now(), fastrand::Rng::with_seed(1))
}

fn all_of(generation: u64, since: Duration) -> Sought {
    let span = Span { start: 0, end: u64::MAX };
    let mut sought = Sought::default();
    sought.add(&Doubt { generation: Generation(generation), span, since: nanos(since), changed: false });
    sought
}

#[test]
fn what_arrives_within_the_wait_is_found_and_what_came_long_before_is_not_read() {
    let mut stream = Stream::new(1, 1);
    (0..30).for_each(|n| stream.take(landed(1, 10 * n)));
    stream.now += Duration::from_hours(1);
    stream.take(landed(1, 5_000));
    let mut search = search(&stream, all_of(1, stream.now), Duration::from_secs(3));
    let late = stream.now + Duration::from_secs(2);
    let mut came = false;
    stream.run(&mut search, false, |stream| {
        if stream.now > late && !std::mem::replace(&mut came, true) {
            stream.take(landed(1, 6_000));
        }
    });
    assert_eq!(search.into_found(), [landed(1, 5_000), landed(1, 6_000)].into());
}

#[test]
fn a_search_for_records_ends_when_all_are_found() {
    let mut stream = Stream::new(1, 4);
    let mut sought = Sought::default();
    for n in 0..4 {
        stream.take(landed(1, 10 * n));
        sought.add_record(landed(1, 10 * n).id, 10 * n, nanos(stream.now));
    }
    let begun = stream.now;
    let mut search = search(&stream, sought, Duration::from_mins(5));
    stream.run(&mut search, false, |_| {});
    assert_eq!(search.into_found().len(), 4);
    assert!(stream.now < begun + Duration::from_secs(5));
}

#[test]
fn a_shard_that_others_go_on_writing_to_is_read_no_further_than_need_be() {
    let mut stream = Stream::new(1, 1);
    stream.take(landed(1, 0));
    let mut search = search(&stream, all_of(1, stream.now), Duration::from_secs(2));
    let begun = stream.now;
    // More than is read: three records a call.
    stream.run(&mut search, false, |stream| (0..5).for_each(|n| stream.take(landed(9, 10 * n))));
    assert!(stream.now < begun + Duration::from_secs(40), "{:?}", stream.now.saturating_sub(begun));
    assert_eq!(search.into_found(), [landed(1, 0)].into());
}

#[test]
fn what_was_sent_into_an_outage_is_waited_for_after_it() {
    let mut stream = Stream::new(1, 1);
    let mut search = search(&stream, all_of(1, stream.now), Duration::from_secs(2));
    let sent = stream.now;
    // For a minute nothing is heard of the service.
    while stream.now < sent + Duration::from_mins(1) {
        for ask in std::iter::from_fn(|| search.next(stream.now())).collect::<Vec<_>>() {
            search.told(&ask, Told::Failed(failed(Class::Again)), stream.now());
        }
        stream.now = search.due().expect("it goes on asking") - stream.base;
    }
    let mut came = false;
    let heard = stream.now;
    stream.run(&mut search, false, |stream| {
        if stream.now > heard + Duration::from_secs(40) && !std::mem::replace(&mut came, true) {
            stream.take(landed(1, 0));
        }
    });
    assert_eq!(search.into_found(), [landed(1, 0)].into());
}

#[test]
fn another_stream_of_the_same_name_is_read_from_its_beginning() {
    let mut stream = Stream::new(1, 2);
    (0..10).for_each(|n| stream.take(landed(1, 10 * n)));
    let mut search = search(&stream, all_of(1, stream.now), Duration::from_secs(3));
    // The list was made before the stream was deleted and made anew.
    let ask = search.next(stream.now()).expect("a list is asked for");
    search.told(&ask, Told::Shards { shards: vec!["0".into(), "gone".into()], page: None }, stream.now());
    stream.run(&mut search, false, |_| {});
    assert_eq!(search.into_found().len(), 10);
}

/// Of records of this size, the largest answer, the time to read a million of them, and what the search kept.
fn most_held(size: u64) -> (u64, Duration, usize) {
    let now = Instant::now();
    let mut sought = all_of(1, Duration::from_secs(100));
    sought.spans.insert(Generation(1), Span { start: 0, end: 1_000 });
    let mut search = Search::new(sought, MARGIN, (now, 0), Duration::ZERO, now, fastrand::Rng::with_seed(1));
    let (mut left, mut largest) = (1_000_000, 0);
    let mut clock = now;
    while !search.is_done() {
        let Some(ask) = search.next(clock) else {
            clock = search.due().expect("something is to be asked");
            continue;
        };
        let told = match &ask {
            Ask::Shards { .. } => Told::Shards { shards: vec!["0".to_owned()], page: None },
            Ask::Iterator { .. } => Told::Iterator("0".to_owned()),
            Ask::Records { most, .. } => {
                let records = u64::from(*most).min(left).min((10 << 20) / size);
                left -= records;
                largest = largest.max(records * size);
                // Of the file that is in doubt, but not of the bytes.
                let landed = (0..records).map(|n| landed(1, 1_000 + 10 * (left + n))).collect();
                let (records, next) = (u32::try_from(records).unwrap(), Some("0".to_owned()));
                let (last, bytes) = (Some("0".to_owned()), u64::from(records) * size);
                Told::Records(Page { landed, last, next, at_tip: left == 0, arrived: Some(0), records, bytes })
            }
        };
        search.told(&ask, told, clock);
    }
    (largest, clock - now, search.found.len())
}

#[test]
fn answers_are_as_large_as_what_is_read_in_a_second_and_only_what_is_sought_is_kept() {
    for size in [100, 190, 5_000, 60_000, 1 << 20] {
        let (largest, took, kept) = most_held(size);
        // Before the first answer nothing is known of sizes; and the last one need not be paid for.
        let first = (20 * size).min(10 << 20);
        assert!(largest <= u64::from(PAGE).max(first) && kept == 0, "{size}: {largest} bytes, {kept} kept");
        let least = 1_000_000 * size.saturating_sub(1) / u64::from(BYTES_PER_SECOND);
        assert!(took >= Duration::from_secs(least.saturating_sub(1)), "{size}: {took:?} instead of {least} s");
    }
}

proptest! {
    /// Whatever the shards do meanwhile: all that arrived by the end of the wait is found, once, and no shard is called
    /// more often than its budget allows.
    #[test]
    fn all_that_arrived_in_time_is_found(
        seed: u64, shards in 1..5usize, before in 0..40u64, within in 0..20u64, splits in 0..6u64, faults: bool
    ) {
        let mut stream = Stream::new(seed, shards);
        (0..20).for_each(|n| stream.take(landed(9, 10 * n)));
        stream.now += Duration::from_mins(1);
        let since = stream.now;
        for n in 0..before {
            stream.take(landed(1, 10 * n));
            stream.now += Duration::from_millis(stream.rng.u64(..500));
            if stream.rng.u64(..40) < splits {
                stream.split();
            }
        }
        let wait = Duration::from_secs(4);
        let mut search = search(&stream, all_of(1, since), wait);
        let until = stream.now + wait;
        let mut next = before;
        stream.run(&mut search, faults, |stream| {
            for _ in 0..stream.rng.u64(..4) {
                if stream.now < until && next < before + within {
                    stream.take(landed(1, 10 * next));
                    next += 1;
                }
            }
            if stream.rng.u64(..20) < splits && stream.shards.len() < 20 {
                stream.split();
            }
        });
        prop_assert!(stream.now >= until || next == before + within);
        prop_assert_eq!(search.into_found(), (0..next).map(|n| landed(1, 10 * n)).collect());
        for calls in stream.called.values() {
            prop_assert!(calls.windows(2).all(|w| w[1].saturating_sub(w[0]) >= CALL_EVERY), "{calls:?}");
        }
    }
}
