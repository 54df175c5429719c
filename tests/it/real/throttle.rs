//! Shards that throttle, and people who share a stream.

use std::time::{Duration, Instant};

use crate::support::{
    SOON,
    agent::Agent,
    expect,
    faults::{Fault, Kinesis},
    pause,
    site::{Site, Yaml},
    tally::assert_all_once,
    writer::{Load, Pace, Rotation, Writer},
};

/// Under a steady load into four shards for ten seconds: how much of 1 000 lines written each took by then, how many were
/// offered, and how many refused. `hot` is what the second shard takes a second.
fn ten_seconds(hot: Option<u32>) -> (Vec<u64>, u64, u64) {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    if let Some(hot) = hot {
        kinesis.limit(1, hot);
    }
    kinesis.set(Fault::Slow(Duration::from_millis(10)));
    site.configure(&Yaml::new("app.log*", &kinesis.url()));
    let pace = Pace { burst: 20, every: Duration::from_millis(10), rotate_after: 1_000, rotation: Rotation::Rename };
    let load = Load::start(Writer::new(&site.log("app.log"), "t"), pace);
    let agent = Agent::run(&site);
    pause(Duration::from_secs(10));
    let (taken, offered, refused) = kinesis.see(|l| {
        let of = |shard| l.accepted.iter().fold(0, |n, a| n + u64::from(a.shard == shard));
        ((0..4).map(of).collect::<Vec<u64>>(), l.attempts, l.refused)
    });
    let writer = load.stop();
    let taken = taken.into_iter().map(|taken| taken * 1_000 / writer.written()).collect();
    kinesis.limit(1, 1_000_000);
    expect("every line", SOON * 2, || kinesis.count() as u64 == writer.written());
    agent.stop();
    kinesis.see(|l| assert_all_once(&l.data(), "t", writer.written(), 0));
    (taken, offered, refused)
}

#[test]
fn a_shard_at_a_tenth_of_the_rate_slows_its_own_records_alone() {
    let (free, _, _) = ten_seconds(None);
    // 2 000 lines a second, a quarter of them for each shard.
    let (taken, offered, refused) = ten_seconds(Some(50));
    for shard in [0, 2, 3] {
        assert!(taken[shard] * 100 >= free[shard] * 90, "shard {shard}: {} of {}", taken[shard], free[shard]);
    }
    assert!(taken[1] * 2 >= free[1] / 10, "the busy shard took {} of {} that it would", taken[1], free[1] / 10);
    assert!(refused * 100 < offered * 5, "{refused} of {offered} were offered in vain");
}

#[test]
fn flows_into_one_stream_share_a_busy_shard_equally() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    kinesis.limit(1, 60);
    let flow = |name: &str| {
        let (paths, url) = (site.log(&format!("{name}.log")), kinesis.url());
        format!(
            "  - name: {name}\n    source: {{ paths: \"{}\", start_at: beginning }}\n    \
             destination: {{ kinesis: {{ stream: logs, endpoint_url: \"{url}\" }} }}\n",
            paths.display()
        )
    };
    let head = format!("state_dir: {}\naws: {{ region: eu-west-1 }}\nflows:\n", site.state_dir().display());
    site.configure_raw(&format!("{head}{}{}", flow("a"), flow("b")));
    let pace = Pace { burst: 8, every: Duration::from_millis(10), rotate_after: u64::MAX, rotation: Rotation::Rename };
    let loads = ["a", "b"].map(|name| Load::start(Writer::new(&site.log(&format!("{name}.log")), name), pace));
    let agent = Agent::run(&site);
    pause(Duration::from_secs(20));
    let (busy, offered, refused) = kinesis.see(|l| {
        let of = |name: &str| l.accepted.iter().filter(|a| a.shard == 1 && a.data.starts_with(name.as_bytes())).count();
        ((of("a"), of("b")), l.attempts, l.refused)
    });
    let writers = loads.map(Load::stop);
    kinesis.limit(1, 1_000_000);
    let written = writers.iter().map(Writer::written).sum::<u64>();
    expect("every line", SOON * 2, || kinesis.count() as u64 == written);
    agent.stop();
    let (least, most) = (busy.0.min(busy.1), busy.0.max(busy.1));
    assert!(most * 10 <= least * 14, "{busy:?} of the busy shard");
    assert!(refused * 100 < offered * 5, "{refused} of {offered} were offered in vain");
}

#[test]
fn a_rate_is_kept() {
    for (rate, records) in [("{ records: 500 }", 500), ("{ bytes: 100KiB }", 900)] {
        let (site, kinesis) = (Site::new(), Kinesis::start());
        let yaml = Yaml::new("app.log", &kinesis.url());
        let destination = format!("kinesis: {{ stream: logs, max_rate: {rate} }}");
        site.configure(&yaml.destination(&destination).batch("{ max_records: 50 }"));
        Writer::new(&site.log("app.log"), "r").lines(4_000);
        let start = Instant::now();
        Agent::once(&site, SOON);
        let least = Duration::from_millis(1_000 * (4_000 - records) / records * 9 / 10);
        assert!(start.elapsed() >= least, "{rate}: 4 000 records in {:?}", start.elapsed());
        kinesis.see(|l| assert_all_once(&l.data(), "r", 4_000, 0));
    }
}
