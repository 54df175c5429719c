//! Shards that let less pass than is offered.

use super::*;

/// A shard that takes so many records a second, after a burst of one second's.
struct Service {
    per_second: f64,
    tokens: f64,
    at: Instant,
    taken: u32,
    refused: u32,
}

impl Service {
    fn new(per_second: f64, at: Instant) -> Self {
        Self { per_second, tokens: per_second, at, taken: 0, refused: 0 }
    }

    fn offer(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        (self.tokens, self.at) = ((self.tokens + passed * self.per_second).min(self.per_second), now);
        let taken = self.tokens >= 1.0;
        if taken {
            self.tokens -= 1.0;
            self.taken += 1;
        } else {
            self.refused += 1;
        }
        taken
    }
}

const NAMES: [&str; 4] = ["shard-0", "shard-1", "shard-2", "shard-3"];

/// Members offer 800 records a second each to four shards, of which the second takes `hot` a second, for thirty seconds.
/// What each shard took and refused, and what each member got into the hot one.
fn half_a_minute(members: usize, hot: f64) -> (Vec<Service>, Vec<u32>) {
    let (shards, mut rng, start) = (Shards::default(), fastrand::Rng::with_seed(7), Instant::now());
    let rates = [1e9, hot, 1e9, 1e9];
    let mut services: Vec<Service> = rates.iter().map(|rate| Service::new(*rate, start)).collect();
    let members: Vec<Member> = (0..members).map(|_| shards.join()).collect();
    let (mut backlog, mut got) = (vec![Vec::new(); members.len()], vec![0; members.len()]);
    for tick in 1..=3_000 {
        let now = start + Duration::from_millis(10) * tick;
        for (at, member) in members.iter().enumerate() {
            backlog[at].extend((0..8).map(|_| Wanted { hash: rng.u128(..), size: 200 }));
            let all = std::mem::take(&mut backlog[at]);
            let admitted = if shards.is_busy() { shards.admit(*member, &all, now).0 } else { vec![true; all.len()] };
            let mut seen = Vec::new();
            for (wanted, admitted) in all.into_iter().zip(admitted) {
                let shard = usize::try_from(wanted.hash >> 126).unwrap();
                let taken = admitted && services[shard].offer(now);
                if admitted {
                    seen.push(Seen { hash: wanted.hash, shard: NAMES[shard], throttled: !taken });
                }
                if !taken {
                    backlog[at].push(wanted);
                }
                got[at] += u32::from(taken && shard == 1);
            }
            if seen.iter().any(|seen| seen.throttled) {
                shards.answered(seen, now);
            }
        }
    }
    (services, got)
}

#[test]
fn a_shard_at_a_tenth_slows_its_own_records_alone_and_little_is_offered_in_vain() {
    let (services, _) = half_a_minute(1, 20.0);
    for at in [0, 2, 3] {
        assert!(services[at].taken > 30 * 200 * 95 / 100, "shard {at} took {}", services[at].taken);
    }
    let hot = &services[1];
    assert!(hot.taken > 30 * 20 * 75 / 100, "the busy one took {}", hot.taken);
    let offered: u32 = services.iter().map(|service| service.taken + service.refused).sum();
    assert!(hot.refused * 100 < offered * 5, "{} of {offered} in vain", hot.refused);
}

#[test]
fn flows_into_one_busy_shard_get_equal_parts() {
    let (_, got) = half_a_minute(3, 60.0);
    let (least, most) = (got.iter().min().unwrap(), got.iter().max().unwrap());
    assert!(most * 10 < least * 13, "{got:?}");
}

#[test]
fn a_shard_that_splits_is_known_anew_and_one_that_throttles_no_more_is_forgotten() {
    let (shards, now) = (Shards::default(), Instant::now());
    let seen = |hash: u128, shard: &'static str, throttled| Seen { hash, shard, throttled };
    shards.answered([seen(10, "a", false), seen(90, "a", true), seen(200, "b", false)], now);
    assert!(shards.is_busy());
    let who = shards.join();
    let wanted = |hash| Wanted { hash, size: 100 };
    let admitted = |hashes: [u128; 3], now| shards.admit(who, &hashes.map(wanted), now).0;
    assert_eq!(admitted([50, 50, 200], now), [false, false, true]);
    shards.answered([seen(40, "c", false), seen(60, "d", true)], now);
    assert_eq!(admitted([50, 60, 40], now), [true, false, true], "what was known of the parent does not hold any more");
    let later = now + FORGET_AFTER;
    assert!(admitted([60, 60, 60], later).contains(&true));
    admitted([60, 60, 60], later + FORGET_AFTER);
    assert!(!shards.is_busy());
}
