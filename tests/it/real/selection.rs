//! What is left out: excluded names, names that no longer match. And what a batch that cannot settle may cost.

use std::{fs, process::Command, time::Duration};

use crate::support::{
    SOON,
    agent::{Agent, bare, command},
    expect,
    faults::{Fault, Kinesis},
    ledger::Ledger,
    long,
    notify::Notifications,
    pause,
    site::{Site, Yaml},
    tally::{assert_all_once, assert_exactly},
    until,
    writer::{Writer, append},
};

fn rotate(site: &Site, name: &str) {
    for n in (1..9).rev() {
        let _ = fs::rename(site.log(&format!("{name}.{n}")), site.log(&format!("{name}.{}", n + 1)));
    }
    fs::rename(site.log(name), site.log(&format!("{name}.1"))).expect("a log can be renamed");
}

#[test]
fn an_excluded_file_is_not_delivered_and_neither_is_what_it_is_rotated_to() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("*.log", &kinesis.url()).source("exclude: [debug.log, '*.tmp.log']"));
    let agent = Agent::run(&site);
    let mut wanted = Vec::new();
    for round in 0..4 {
        append(&site.log("debug.log"), format!("debug {round}\n"));
        append(&site.log("a.tmp.log"), format!("scratch {round}\n"));
        wanted.push(format!("app {round}\n"));
        append(&site.log("app.log"), &wanted[wanted.len() - 1]);
        expect("the file that is not excluded", SOON, || kinesis.count() >= wanted.len());
        for name in ["debug.log", "a.tmp.log", "app.log"] {
            rotate(&site, name);
        }
    }
    agent.stop();
    Agent::once(&site, SOON);
    assert_exactly(&kinesis.see(Ledger::data), &wanted);
}

/// Follows `debug.log`, then runs with a configuration that leaves it out, then with the first one again. What happens
/// to the file meanwhile is to be as if the agent had been down.
#[track_caller]
fn check_left_out_later(later: impl Fn(Yaml) -> Yaml) {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let all = Yaml::new("*.log", &kinesis.url());
    let (mut wanted, mut left_out) = (Vec::new(), Vec::new());
    let add = |name: &str, text: &str, to: &mut Vec<String>| {
        append(&site.log(name), format!("{name} {text}\n"));
        to.push(format!("{name} {text}\n"));
    };
    site.configure(&all);
    add("app.log", "first", &mut wanted);
    add("debug.log", "first", &mut wanted);
    add("cut.log", "cut to nothing later, without being read until then", &mut wanted);
    let agent = Agent::run(&site);
    expect("all files", SOON, || kinesis.count() >= 3);
    agent.stop();
    site.configure(&later(all.clone()));
    add("debug.log", "left out", &mut left_out);
    for round in 0..3 {
        let agent = Agent::run(&site);
        add("debug.log", &format!("left out {round}"), &mut left_out);
        rotate(&site, "debug.log");
        add("debug.log", &format!("left out in a new file {round}"), &mut left_out);
        fs::write(site.log("cut.log"), "").expect("a log can be cut");
        add("app.log", &format!("later {round}"), &mut wanted);
        expect("the file that is not left out", SOON, || kinesis.count() >= wanted.len());
        agent.stop();
        Agent::once(&site, SOON);
    }
    assert_exactly(&kinesis.see(Ledger::data), &wanted);
    site.configure(&all);
    add("cut.log", "in a new life", &mut left_out);
    Agent::once(&site, SOON);
    Agent::once(&site, SOON);
    assert_exactly(&kinesis.see(Ledger::data), &[wanted, left_out].concat());
}

#[test]
fn a_file_that_is_excluded_later_is_not_followed_any_more() {
    check_left_out_later(|yaml| yaml.source("exclude: [debug.log, cut.log]"));
}

#[test]
fn a_file_that_no_pattern_matches_any_more_is_not_followed_any_more() {
    check_left_out_later(|yaml| yaml.paths("app.log"));
}

#[test]
fn an_excluded_name_is_left_out_although_it_looks_rotated_from_a_file_that_is_followed() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()).source("exclude: '*.old'"));
    append(&site.log("app.log"), "one\n");
    let agent = Agent::run(&site);
    expect("the file", SOON, || kinesis.count() >= 1);
    append(&site.log("app.log.old"), "left out\n");
    append(&site.log("app.log.1"), "rotated before it was seen\n");
    expect("the rotated file", SOON, || kinesis.count() >= 2);
    append(&site.log("app.log"), "two\n");
    expect("the file again", SOON, || kinesis.count() >= 3);
    agent.stop();
    Agent::once(&site, SOON);
    assert_exactly(&kinesis.see(Ledger::data), &["one\n", "two\n", "rotated before it was seen\n"]);
}

/// One shard refuses for ever: the batches that hold its records never settle, and nothing behind them commits.
#[test]
fn a_batch_that_cannot_settle_makes_a_stop_repeat_no_more_than_the_buffer() {
    const BUFFER: u64 = 1 << 20;
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let yaml = Yaml::new("app.log", &kinesis.url()).top("shutdown_timeout: 500ms").flow("buffer: 1MiB");
    site.configure(&yaml.batch("{ max_age: 50ms, max_bytes: 64KiB, max_records: 100 }"));
    let mut writer = Writer::new(&site.log("app.log"), "u");
    writer.lines(60_000);
    kinesis.set(Fault::ThrottleShard(0));
    let agent = Agent::run(&site);
    let mut last = 0;
    let mut still = || std::mem::replace(&mut last, kinesis.count()) == kinesis.count() && last > 0;
    expect("delivery to come to a halt", SOON, || {
        pause(Duration::from_millis(500));
        still()
    });
    let taken: u64 = kinesis.see(|l| l.accepted.iter().map(|a| a.data.len() as u64).sum());
    agent.stop();
    kinesis.set(Fault::Pass);
    Agent::once(&site, SOON);
    let (bytes, all) = kinesis.see(|l| (l.accepted.iter().map(|a| a.data.len() as u64).sum::<u64>(), l.data()));
    let written = fs::metadata(site.log("app.log")).expect("the log").len();
    let chunk = 256 << 10;
    assert!(bytes - written <= BUFFER + chunk, "{} bytes repeated, {taken} were taken before", bytes - written);
    assert_all_once(&all, "u", 60_000, 60_000);
}

/// Long with `HEADWATER_TEST_LONG=1`: longer than the watchdog's patience instead of three seconds.
#[test]
fn the_watchdog_is_fed_while_there_is_nothing_to_do_for_long() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let yaml = Yaml::new("app.log", &kinesis.url()).source("poll_interval: 1h");
    site.configure(&yaml.batch("{ max_age: 5m }"));
    append(&site.log("app.log"), "it waits for its batch to be full\n");
    let mut systemd = Notifications::listen(&site.path("notify.sock"));
    let run = command(&site, &["run"]);
    let mut shell: Command = bare(&site, "/bin/sh");
    shell.args(["-c", r#"WATCHDOG_PID=$$; export WATCHDOG_PID; exec "$0" "$@""#]);
    shell.arg(run.get_program()).args(run.get_args());
    shell.env("WATCHDOG_USEC", "400000").env("NOTIFY_SOCKET", systemd.path());
    let agent = Agent::start(&site, shell);
    let seconds = if long() { 200 } else { 3 };
    // Twice a second, on a machine that may be busy.
    let fed = || systemd.seen().iter().filter(|m| *m == "WATCHDOG=1").count() >= seconds;
    assert!(until(SOON + Duration::from_secs(seconds as u64 * 2), fed), "the watchdog starves");
    agent.stop();
}

#[test]
fn a_file_left_out_by_one_of_its_names_is_followed_by_the_other() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let yaml = Yaml::new("*.log", &kinesis.url());
    site.configure(&yaml);
    append(&site.log("a.log"), "one\n");
    fs::hard_link(site.log("a.log"), site.log("b.log")).expect("a second name");
    Agent::once(&site, SOON);
    site.configure(&yaml.source("exclude: a.log"));
    append(&site.log("a.log"), "two\n");
    let agent = Agent::run(&site);
    expect("the second line", SOON, || kinesis.count() >= 2);
    append(&site.log("a.log"), "three\n");
    expect("the third line", SOON, || kinesis.count() >= 3);
    agent.stop();
    Agent::once(&site, SOON);
    assert_exactly(&kinesis.see(Ledger::data), &["one\n", "two\n", "three\n"]);
}
#[test]
fn what_is_left_of_a_file_is_delivered_although_it_was_packed_to_an_excluded_name() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let yaml = Yaml::new("app.log*", &kinesis.url()).source("exclude: '*.gz'").top("shutdown_timeout: 200ms");
    site.configure(&yaml);
    let mut writer = Writer::new(&site.log("app.log"), "a");
    writer.lines(100);
    Agent::once(&site, SOON);
    writer.lines(5000);
    writer.rotate(crate::support::writer::Rotation::Rename);
    let packed = Command::new("gzip").arg(site.log("app.log.1")).status();
    assert!(packed.is_ok_and(|s| s.success()), "gzip failed");
    kinesis.set(Fault::UNAVAILABLE);
    let agent = Agent::run(&site);
    expect("an attempt", SOON, || kinesis.see(|l| l.requests > 3));
    agent.stop();
    kinesis.set(Fault::Pass);
    Agent::once(&site, SOON);
    kinesis.see(|l| assert_all_once(&l.data(), "a", 5100, 0));
}
