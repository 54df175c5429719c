//! Stops, kills and outages: nothing is lost, and what is repeated is bounded.

use std::{
    collections::HashMap,
    fs,
    time::{Duration, Instant},
};

use crate::support::{
    SOON,
    agent::Agent,
    expect,
    faults::{Fault, Kinesis},
    long, pause,
    site::{Site, Yaml},
    tally::assert_all_once,
    writer::{Load, Pace, Rotation, Writer},
};

/// Most requests under way at once, by default.
const MAX_IN_FLIGHT: u64 = 8;
/// Most records of one request in the kill tests: few, so that what was in flight is little next to what was sent.
const BATCH: u64 = 50;

fn pace(rotation: Rotation) -> Pace {
    Pace { burst: 40, every: Duration::from_millis(5), rotate_after: 25, rotation }
}

/// A clean stop and start, ten times, under load and rotation.
#[track_caller]
fn check_stops(rotation: Rotation) {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    kinesis.set(Fault::Slow(Duration::from_millis(10)));
    site.configure(&Yaml::new("app.log*", &kinesis.url()));
    let load = Load::start(Writer::new(&site.log("app.log"), "s"), pace(rotation));
    for round in 0..10 {
        let before = kinesis.count();
        let agent = Agent::run(&site);
        expect("the agent to deliver", SOON, || kinesis.count() > before + 137 * round);
        agent.stop();
    }
    let writer = load.stop();
    Agent::once(&site, SOON);
    kinesis.see(|l| assert_all_once(&l.data(), "s", writer.written(), 0));
}

#[test]
fn ten_clean_stops_under_load_and_rename_rotation_repeat_nothing() {
    check_stops(Rotation::Rename);
}

#[test]
fn ten_clean_stops_under_load_and_copytruncate_repeat_nothing() {
    check_stops(Rotation::CopyTruncate);
}

/// SIGKILL, fifteen times, under load and rotation.
#[track_caller]
fn check_kills(rotation: Rotation) {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    kinesis.set(Fault::Slow(Duration::from_millis(10)));
    let limits = format!("{{ max_age: 50ms, max_records: {BATCH} }}");
    site.configure(&Yaml::new("app.log*", &kinesis.url()).batch(&limits));
    let load = Load::start(Writer::new(&site.log("app.log"), "k"), pace(rotation));
    let kills = 15;
    for round in 0..kills {
        let before = kinesis.count();
        let agent = Agent::run(&site);
        expect("the agent to deliver", SOON, || kinesis.count() > before + 2000 + 97 * round);
        agent.kill();
    }
    let writer = load.stop();
    Agent::once(&site, SOON);
    let in_flight = (2 * MAX_IN_FLIGHT + 1) * BATCH;
    kinesis.see(|l| {
        assert_all_once(&l.data(), "k", writer.written(), kills as u64 * in_flight);
        assert!(l.most_at_once <= 2 * MAX_IN_FLIGHT, "{} requests at once", l.most_at_once);
        let mut keys = HashMap::new();
        for record in &l.accepted {
            let key = keys.entry(&record.data).or_insert(&record.partition_key);
            assert_eq!(*key, &record.partition_key, "a record that comes again carries another key");
        }
    });
}

#[test]
fn fifteen_kills_under_load_and_rename_rotation_lose_nothing_and_repeat_what_was_in_flight() {
    check_kills(Rotation::Rename);
}

#[test]
fn fifteen_kills_under_load_and_copytruncate_lose_nothing_and_repeat_what_was_in_flight() {
    check_kills(Rotation::CopyTruncate);
}

/// Long with `HEADWATER_TEST_LONG=1`: a minute instead of three seconds.
#[test]
fn an_endpoint_down_across_stops_and_kills_of_the_agent_costs_nothing_and_repeats_nothing() {
    let outage = Duration::from_secs(if long() { 60 } else { 3 });
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log*", &kinesis.url()).top("shutdown_timeout: 200ms"));
    let pace = Pace { burst: 10, ..pace(Rotation::Rename) };
    let load = Load::start(Writer::new(&site.log("app.log"), "d"), pace);
    let agent = Agent::run(&site);
    expect("the agent to deliver", SOON, || kinesis.count() > 100);
    agent.stop();
    kinesis.down();
    let end = Instant::now() + outage;
    let count = kinesis.count();
    for round in 0..4 {
        let agent = Agent::run(&site);
        pause(outage / 4);
        if round % 2 == 0 { agent.stop() } else { agent.kill() }
    }
    let mut last = Agent::run(&site);
    pause(end.saturating_duration_since(Instant::now()));
    assert!(last.alive() && kinesis.count() == count);
    kinesis.up();
    expect("delivery to go on", SOON, || kinesis.count() > count);
    let writer = load.stop();
    expect("every line", SOON, || kinesis.count() as u64 >= writer.written());
    last.stop();
    kinesis.see(|l| assert_all_once(&l.data(), "d", writer.written(), 0));
}

#[test]
fn a_stop_that_cannot_deliver_ends_at_its_deadline_and_the_next_start_delivers() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()).top("shutdown_timeout: 300ms"));
    kinesis.set(Fault::UNAVAILABLE);
    Writer::new(&site.log("app.log"), "a").lines(5000);
    let agent = Agent::run(&site);
    expect("a first attempt", SOON, || kinesis.see(|l| l.requests > 0));
    let start = Instant::now();
    agent.stop();
    assert!(start.elapsed() < Duration::from_secs(5), "the stop took {:?}", start.elapsed());
    assert_eq!(kinesis.count(), 0);
    kinesis.set(Fault::Pass);
    Agent::once(&site, SOON);
    kinesis.see(|l| assert_all_once(&l.data(), "a", 5000, 0));
}

#[test]
fn a_destination_that_takes_nothing_bounds_memory_by_the_buffer() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()).top("shutdown_timeout: 200ms").flow("buffer: 4MiB"));
    let mut writer = Writer::new(&site.log("app.log"), "m");
    writer.lines(100);
    let mut agent = Agent::run(&site);
    expect("the agent to deliver", SOON, || kinesis.count() == 100);
    let before = agent.resident();
    kinesis.set(Fault::UNAVAILABLE);
    writer.lines(300_000);
    expect("some attempts", SOON, || kinesis.see(|l| l.requests > 20));
    let grown = agent.resident().saturating_sub(before);
    // The buffer, its copies on the way out (base64, one a request under way), and what allocators keep.
    assert!(grown < 24 << 20, "30 MB in the file, 4 MiB of buffer, {grown} bytes more in memory");
    assert!(agent.alive());
    agent.stop();
}

#[test]
fn a_live_log_whose_rename_and_end_a_power_cut_took_back_is_read_from_its_beginning() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log*", &kinesis.url()));
    let (live, rotated) = (site.log("app.log"), site.log("app.log.1"));
    let text = |n: u64| format!("line {n:08} of a log that is about to lose its end\n");
    let lines = |numbers: std::ops::Range<u64>| numbers.map(text).collect::<Vec<_>>().concat();
    fs::write(&live, lines(0..500)).expect("a log");
    let agent = Agent::run(&site);
    expect("the first lines", SOON, || kinesis.count() == 500);
    fs::rename(&live, &rotated).expect("a log can be renamed");
    fs::write(&live, lines(1_000..1_001)).expect("a log");
    let journal = site.state_dir().join("checkpoints/test.journal");
    let known = || fs::read_to_string(&journal).is_ok_and(|text| text.contains("app.log.1"));
    expect("the new name to be in the checkpoint", SOON, || known() && kinesis.count() == 501);
    agent.stop();
    fs::rename(&rotated, &live).expect("the rename is taken back");
    fs::write(&live, lines(0..100) + &lines(2_000..2_001)).expect("the same file, shorter, and written to again");
    Agent::once(&site, SOON);
    let last = || kinesis.see(|l| l.data().iter().filter(|data| **data == text(2_000).into_bytes()).count());
    assert_eq!((last(), kinesis.count()), (1, 501 + 101));
}
