//! Following files while the agent runs.

use std::{fs, io::Write as _, time::Duration};

use crate::support::{
    SOON,
    agent::Agent,
    expect,
    faults::Kinesis,
    site::{Site, Yaml},
    tally::assert_all_once,
    writer::{Load, Pace, Rotation, Writer},
};

/// Under load, with a rotation every 100 ms or so, every line arrives once.
#[track_caller]
fn check_rotation(rotation: Rotation) {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log*", &kinesis.url()));
    let agent = Agent::run(&site);
    let pace = Pace { burst: 40, every: Duration::from_millis(5), rotate_after: 20, rotation };
    let load = Load::start(Writer::new(&site.log("app.log"), "a"), pace);
    expect("20 000 lines", SOON, || kinesis.count() > 20_000);
    let writer = load.stop();
    assert!(writer.rotations() > 10, "only {} rotations", writer.rotations());
    expect("the rest", SOON, || kinesis.count() as u64 >= writer.written());
    agent.stop();
    kinesis.see(|l| assert_all_once(&l.data(), "a", writer.written(), 0));
}

#[test]
fn a_file_renamed_and_made_anew_under_load_is_delivered_whole_and_once() {
    check_rotation(Rotation::Rename);
}

#[test]
fn a_file_copied_and_truncated_under_load_is_delivered_whole_and_once() {
    check_rotation(Rotation::CopyTruncate);
}

#[test]
fn what_a_program_still_writes_to_a_renamed_file_is_delivered_although_only_the_live_name_matches() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    let mut writer = Writer::new(&site.log("app.log"), "a");
    let agent = Agent::run(&site);
    for round in 1..=5 {
        writer.lines(300);
        expect("the live file to be taken up", SOON, || kinesis.count() as u64 > writer.written() - 300);
        fs::rename(site.log("app.log"), site.log(&format!("app.log.{round}"))).expect("a log can be renamed");
        writer.lines(300);
        writer.reopen();
    }
    expect("every line", SOON, || kinesis.count() as u64 >= writer.written());
    agent.stop();
    kinesis.see(|l| assert_all_once(&l.data(), "a", writer.written(), 0));
}

#[test]
fn a_file_in_a_folder_made_later_is_followed_from_its_first_line() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("**/*.log", &kinesis.url()));
    let agent = Agent::run(&site);
    fs::create_dir_all(site.log("deep/er")).expect("a new folder");
    Writer::new(&site.log("deep/er/app.log"), "a").lines(500);
    expect("every line", SOON, || kinesis.count() >= 500);
    agent.stop();
    kinesis.see(|l| assert_all_once(&l.data(), "a", 500, 0));
}

#[test]
fn a_line_is_delivered_when_its_newline_comes_and_not_before() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("*.log", &kinesis.url()));
    let mut half = fs::File::create(site.log("half.log")).expect("a log");
    half.write_all(b"the first ha").expect("the disk takes it");
    let agent = Agent::run(&site);
    // The other file shows that the agent has looked since.
    Writer::new(&site.log("whole.log"), "a").lines(10);
    expect("the whole lines", SOON, || kinesis.count() >= 10);
    assert_eq!(kinesis.count(), 10);
    half.write_all(b"lf and the second\n").expect("the disk takes it");
    expect("the completed line", SOON, || kinesis.count() >= 11);
    agent.stop();
    kinesis.see(|l| assert!(l.data().contains(&b"the first half and the second\n".to_vec())));
}
