//! Data Firehose: what it may answer, and what its bucket then holds. Every line once, joined or not.

use std::fs;

use crate::support::{
    SOON,
    agent::Agent,
    faults::{Fault, Kinesis},
    ledger::lines,
    moto::{Moto, OWN},
    site::{Site, Yaml},
    tally::{Tally, assert_all_once, assert_exactly},
    writer::Writer,
};

const PLAIN: &str = "firehose: { stream: logs }";
const JOINED: &str = "firehose: { stream: logs, aggregate: true }";
const SMALL: &str = "firehose: { stream: logs, aggregate: { max_bytes: 5000, max_records: 20 } }";

/// Delivers 20 000 lines while request `n` meets `plan(n)`: all arrive, and nothing but what was in doubt twice.
#[track_caller]
fn check(destination: &str, plan: impl FnMut(u64) -> Fault + Send + 'static) -> Kinesis {
    let (site, firehose) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &firehose.url()).destination(destination).batch("{ max_bytes: 256KiB }"));
    Writer::new(&site.log("app.log"), "f").lines(20_000);
    firehose.plan(plan);
    Agent::once(&site, SOON * 2);
    firehose.see(|l| {
        let mut sure = l.lines();
        let doubtful = lines(&l.doubtful);
        assert_all_once(&sure, "f", 20_000, doubtful.len() as u64);
        // Each line that came again was in doubt: without the doubtful ones nothing is repeated.
        for line in &doubtful {
            let at = sure.iter().position(|r| r == line).expect("what is in doubt was taken");
            sure.swap_remove(at);
        }
        let sure = Tally::of(sure.iter().map(Vec::as_slice), "f", 20_000);
        assert_eq!(sure.repeated(), 0, "repeated without a doubt");
        assert!(l.violations.is_empty(), "{:?}", l.violations);
    });
    firehose
}

/// `fault` for each third request, and for the first.
fn now_and_then(fault: Fault) -> impl FnMut(u64) -> Fault + Send {
    move |n| if n % 3 == 0 { fault.clone() } else { Fault::Pass }
}

#[test]
fn each_line_is_a_record_unless_told_otherwise() {
    let firehose = check(PLAIN, |_| Fault::Pass);
    assert_eq!(firehose.count(), 20_000);
}

#[test]
fn lines_are_joined_up_to_the_size_and_number_given() {
    let firehose = check(SMALL, |_| Fault::Pass);
    firehose.see(|l| {
        let held = |data: &[u8]| memchr::memchr_iter(b'\n', data).count();
        assert!(l.accepted.iter().all(|a| a.data.len() <= 5000 && held(&a.data) <= 20));
        // 20 lines make less than 5000 bytes, but for a few long ones.
        assert!(l.accepted.len() < 20_000 / 20 + 100, "{} records", l.accepted.len());
    });
}

#[test]
fn lines_are_joined_up_to_what_the_service_takes() {
    let (site, firehose) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &firehose.url()).destination(JOINED).batch("{ max_age: 30s }"));
    Writer::new(&site.log("app.log"), "f").lines(50_000);
    Agent::once(&site, SOON * 2);
    firehose.see(|l| {
        assert_all_once(&l.lines(), "f", 50_000, 0);
        let longest = l.accepted.iter().map(|a| a.data.len()).max();
        assert!(longest.is_some_and(|most| most > 1_000_000), "{longest:?}");
        assert!(l.accepted.len() < 10 && l.violations.is_empty(), "{:?}", l.violations);
    });
}

#[test]
fn one_record_in_2000_throttled_is_sent_again_alone() {
    let firehose = check(PLAIN, |_| Fault::ThrottleEach(2000));
    firehose.see(|l| {
        assert!(l.refused >= 10);
        assert_eq!(l.attempts, 20_000 + l.refused, "only what was refused is offered again");
    });
}

#[test]
fn a_joined_record_that_fails_inside_a_request_is_sent_again_alone() {
    let firehose = check(SMALL, now_and_then(Fault::FailRecord(7)));
    firehose.see(|l| assert_eq!(l.attempts, l.accepted.len() as u64 + l.refused));
}

#[test]
fn answers_500_and_503_before_anything_is_taken_cost_and_repeat_nothing() {
    check(SMALL, |n| match n % 4 {
        0 => Fault::INTERNAL_FAILURE,
        1 => Fault::Refuse(503, "ServiceUnavailableException", "Slow down."),
        _ => Fault::Pass,
    });
}

#[test]
fn answers_500_after_all_was_taken_repeat_only_that() {
    check(PLAIN, now_and_then(Fault::TakeButAnswer(500)));
}

#[test]
fn connections_closed_after_all_was_taken_repeat_only_that() {
    check(SMALL, now_and_then(Fault::TakeButHangUp));
}

#[test]
fn a_joined_record_that_is_refused_for_good_keeps_its_lines_in_one_dead_letter() {
    let (site, firehose) = (Site::new(), Kinesis::start());
    site.configure(
        &Yaml::new("app.log", &firehose.url()).destination("firehose: { stream: logs, aggregate: { max_records: 3 } }"),
    );
    fs::write(site.log("app.log"), "a\nb\nc\nd\npoison\nf\ng\n").expect("the log");
    firehose.set(Fault::Poison(b"poison".to_vec()));
    Agent::once(&site, SOON);
    firehose.see(|l| assert_exactly(&l.data(), &["a\nb\nc\n", "g\n"]));
    let letters = site.dead_letters();
    let [letter] = letters.as_slice() else { panic!("not one dead letter: {letters:?}") };
    assert_eq!((&letter["data"], &letter["start"], &letter["end"]), (&"d\npoison\nf\n".into(), &6.into(), &17.into()));
}

#[test]
fn lines_of_two_files_are_never_joined_and_wait_no_longer_than_max_age() {
    let (site, firehose) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("*.log", &firehose.url()).destination(JOINED));
    fs::write(site.log("a.log"), "a1\na2\n").expect("a log");
    fs::write(site.log("b.log"), "b1\nb2\n").expect("a log");
    let agent = Agent::run(&site);
    crate::support::expect("both files, long before a record is full", SOON, || firehose.count() >= 2);
    agent.stop();
    firehose.see(|l| assert_exactly(&l.data(), &["a1\na2\n", "b1\nb2\n"]));
}

#[test]
fn a_last_line_gets_its_newline_unless_told_otherwise() {
    for (destination, last) in [(PLAIN, "two\n"), ("firehose: { stream: logs, add_newline: false }", "two")] {
        let (site, firehose) = (Site::new(), Kinesis::start());
        let quiet = "partial_line_timeout: 50ms";
        site.configure(&Yaml::new("app.log", &firehose.url()).destination(destination).source(quiet));
        fs::write(site.log("app.log"), "one\ntwo").expect("the log");
        let agent = Agent::run(&site);
        crate::support::expect("both lines", SOON, || firehose.count() == 2);
        agent.stop();
        firehose.see(|l| assert_exactly(&l.data(), &["one\n", last]));
    }
}

/// Runs against moto, and reads the objects that its Firehose wrote to S3.
#[track_caller]
fn check_bucket(test: &str, destination: &str) {
    let Some(mut moto) = Moto::start(test) else { return };
    moto.firehose("logs", OWN);
    let site = Site::new();
    site.configure(&Yaml::new("app.log", &moto.url()).destination(destination));
    Writer::new(&site.log("app.log"), "s").lines(5000);
    Agent::once(&site, SOON * 2);
    assert_all_once(&lines(&moto.objects("logs", OWN)), "s", 5000, 0);
}

#[test]
fn the_objects_in_s3_hold_every_line_once() {
    check_bucket("firehose::the_objects_in_s3_hold_every_line_once", PLAIN);
}

#[test]
fn the_objects_in_s3_hold_every_line_once_when_lines_are_joined() {
    check_bucket("firehose::the_objects_in_s3_hold_every_line_once_when_lines_are_joined", JOINED);
}
