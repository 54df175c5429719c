//! What the service may answer, and what becomes of the records. Nothing is lost, whatever it answers; nothing is
//! repeated except records that were taken while the answer said otherwise.

use std::{fs, time::Duration};

use crate::support::{
    SOON,
    agent::Agent,
    expect,
    faults::{Fault, Kinesis},
    site::{Site, Yaml},
    tally::{Tally, assert_all_once},
    writer::Writer,
};

/// Delivers 20 000 lines while request `n` meets `plan(n)`: all arrive, and nothing but what was in doubt twice.
#[track_caller]
fn check(plan: impl FnMut(u64) -> Fault + Send + 'static) -> Kinesis {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    Writer::new(&site.log("app.log"), "e").lines(20_000);
    kinesis.plan(plan);
    Agent::once(&site, SOON * 2);
    kinesis.see(|l| {
        let doubtful = l.doubtful.len() as u64;
        assert_all_once(&l.data(), "e", 20_000, doubtful);
        // Each record that came again was in doubt: without the doubtful ones nothing is repeated.
        let mut sure = l.data();
        for record in &l.doubtful {
            let at = sure.iter().position(|r| r == record).expect("what is in doubt was taken");
            sure.swap_remove(at);
        }
        let sure = Tally::of(sure.iter().map(Vec::as_slice), "e", 20_000);
        assert_eq!(sure.repeated(), 0, "repeated without a doubt");
        assert!(l.violations.is_empty(), "{:?}", l.violations);
    });
    kinesis
}

/// `fault` for each third request, and for the first.
fn now_and_then(fault: Fault) -> impl FnMut(u64) -> Fault + Send {
    move |n| if n % 3 == 0 { fault.clone() } else { Fault::Pass }
}

#[test]
fn one_record_in_2000_throttled_is_sent_again_alone() {
    let kinesis = check(|_| Fault::ThrottleEach(2000));
    kinesis.see(|l| {
        assert!(l.refused >= 10);
        assert_eq!(l.attempts, 20_000 + l.refused, "only what was refused is offered again");
    });
}

#[test]
fn a_throttled_shard_holds_up_only_its_own_records() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    Writer::new(&site.log("app.log"), "e").lines(8000);
    kinesis.set(Fault::ThrottleShard(1));
    let agent = Agent::run(&site);
    expect("the other three shards to get theirs", SOON, || kinesis.count() > 5500);
    assert_eq!(kinesis.see(|l| l.accepted.iter().filter(|a| a.shard == 1).count()), 0);
    kinesis.set(Fault::Pass);
    expect("the fourth to get its share", SOON, || kinesis.count() >= 8000);
    agent.stop();
    kinesis.see(|l| assert_all_once(&l.data(), "e", 8000, 0));
}

#[test]
fn a_record_that_fails_inside_a_request_is_sent_again_and_the_others_are_not() {
    check(now_and_then(Fault::FailRecord(7)));
}

#[test]
fn answers_500_and_503_before_anything_is_taken_cost_and_repeat_nothing() {
    check(|n| match n % 4 {
        0 => Fault::INTERNAL_FAILURE,
        1 => Fault::UNAVAILABLE,
        _ => Fault::Pass,
    });
}

#[test]
fn answers_500_after_all_was_taken_repeat_only_that() {
    check(now_and_then(Fault::TakeButAnswer(500)));
}

#[test]
fn connections_reset_before_anything_is_taken_cost_and_repeat_nothing() {
    check(now_and_then(Fault::Reset));
}

#[test]
fn connections_closed_after_all_was_taken_repeat_only_that() {
    check(now_and_then(Fault::TakeButHangUp));
}

#[test]
fn answers_that_end_in_the_middle_repeat_only_what_they_answered() {
    check(now_and_then(Fault::TakeButTruncate));
}

#[test]
fn slow_answers_are_waited_for() {
    check(|_| Fault::Slow(Duration::from_millis(300)));
}

/// Everything is refused for a while: nothing is lost, the agent lives, says `word`, and recovers by itself.
#[track_caller]
fn check_held(fault: Fault, word: &str) {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    let mut writer = Writer::new(&site.log("app.log"), "h");
    writer.lines(2000);
    kinesis.set(fault);
    let mut agent = Agent::run(&site);
    expect("a first attempt", SOON, || kinesis.see(|l| l.requests > 0));
    assert!(agent.says(&[word], SOON), "{word} is not in the log: {}", agent.log());
    writer.lines(2000);
    expect("another attempt", SOON * 3, || kinesis.see(|l| l.requests > 1));
    assert!(agent.alive() && kinesis.count() == 0);
    kinesis.set(Fault::Pass);
    expect("every line", SOON * 3, || kinesis.count() >= 4000);
    agent.stop();
    kinesis.see(|l| assert_all_once(&l.data(), "h", 4000, 0));
    assert!(site.dead_letters().is_empty(), "nothing of this is the records' fault");
}

#[test]
fn an_expired_token_holds_the_flow_until_it_is_accepted_again() {
    check_held(Fault::EXPIRED_TOKEN, "ExpiredToken");
}

#[test]
fn a_missing_permission_holds_the_flow_until_it_is_given() {
    check_held(Fault::ACCESS_DENIED, "AccessDenied");
}

#[test]
fn a_stream_that_does_not_exist_holds_the_flow_until_it_does() {
    check_held(Fault::NO_SUCH_STREAM, "ResourceNotFound");
}

#[test]
fn a_poison_record_goes_to_the_dead_letters_alone_and_the_rest_is_delivered() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    let mut writer = Writer::new(&site.log("app.log"), "p");
    writer.lines(1234);
    let mut text = fs::read(site.log("app.log")).expect("the log");
    let start = text.len();
    text.extend_from_slice(b"this one is poison to the service\n");
    fs::write(site.log("app.log"), &text).expect("the log");
    writer.lines(1766);
    kinesis.set(Fault::Poison(b"poison".to_vec()));
    Agent::once(&site, SOON);
    kinesis.see(|l| assert_all_once(&l.data(), "p", 3000, 0));
    let letters = site.dead_letters();
    let [letter] = letters.as_slice() else { panic!("not one dead letter: {letters:?}") };
    assert_eq!(letter["file"], site.log("app.log").display().to_string());
    assert_eq!((&letter["start"], &letter["end"]), (&start.into(), &text.len().into()));
    assert!(letter["reason"].as_str().is_some_and(|r| r.contains("ValidationException")), "{letter}");
    assert!(letter["data"].as_str().is_some_and(|d| d.starts_with("this one is poison")), "{letter}");
    Agent::once(&site, SOON);
    assert_eq!(site.dead_letters().len(), 1, "a dead letter is settled");
}
