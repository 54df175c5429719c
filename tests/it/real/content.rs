//! What stands in the files: line ends, holes, long lines, records of several lines, headers.

use std::{
    fs::{self, File, OpenOptions},
    io::{Seek as _, Write as _},
};

use crate::support::{
    SOON,
    agent::Agent,
    expect,
    faults::Kinesis,
    ledger::Ledger,
    site::{Site, Yaml},
    tally::assert_exactly,
    writer::append,
};

/// Waits for as many records, ends the agent, looks once more for repeats, and wants exactly these.
#[track_caller]
fn settle(site: &Site, agent: Agent, kinesis: &Kinesis, wanted: &[&str]) {
    expect("every record", SOON, || kinesis.count() >= wanted.len());
    agent.stop();
    Agent::once(site, SOON);
    assert_exactly(&kinesis.see(Ledger::data), wanted);
}

#[test]
fn line_ends_are_kept_and_a_byte_order_mark_is_left_out() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("*.log", &kinesis.url()));
    append(&site.log("mark.log"), "\u{feff}first\n\u{feff}second\n");
    append(&site.log("windows.log"), "\u{feff}one\r\n\r\ntwo\rhalf\r\n");
    let agent = Agent::run(&site);
    expect("what was there", SOON, || kinesis.count() >= 5);
    agent.stop();
    append(&site.log("windows.log"), "three\r\n");
    let wanted = ["first\n", "\u{feff}second\n", "one\r\n", "\r\n", "two\rhalf\r\n", "three\r\n"];
    let agent = Agent::run(&site);
    settle(&site, agent, &kinesis, &wanted);
}

#[test]
fn json_after_a_byte_order_mark_and_before_a_carriage_return_is_parsed() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("*.log", &kinesis.url()).step("parse: json").step("emit: { csv: { fields: [a] } }"));
    append(&site.log("a.log"), "\u{feff}{\"a\":1}\r\n{\"a\":2}\r\n");
    Agent::once(&site, SOON);
    let got: Vec<_> = kinesis.see(Ledger::data).iter().map(|r| r.trim_ascii_end().to_vec()).collect();
    assert_exactly(&got, &["1", "2"]);
}

#[test]
fn the_last_line_of_a_rotated_file_is_delivered_without_its_newline() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    append(&site.log("app.log"), "one\ntwo");
    let agent = Agent::run(&site);
    expect("the first line", SOON, || kinesis.count() >= 1);
    fs::rename(site.log("app.log"), site.log("app.log.1")).expect("a log can be renamed");
    append(&site.log("app.log"), "three\nfour");
    expect("three lines", SOON, || kinesis.count() >= 3);
    assert_exactly(&kinesis.see(Ledger::data), &["one\n", "two", "three\n"]);
    agent.stop();
    // While nobody looks.
    fs::rename(site.log("app.log.1"), site.log("app.log.2")).expect("a log can be renamed");
    fs::rename(site.log("app.log"), site.log("app.log.1")).expect("a log can be renamed");
    append(&site.log("app.log"), "five\n");
    let agent = Agent::run(&site);
    settle(&site, agent, &kinesis, &["one\n", "two", "three\n", "four", "five\n"]);
}

#[test]
fn the_hole_that_a_writer_leaves_after_a_truncation_is_skipped() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    // Without O_APPEND: it goes on writing where it was.
    let mut file = File::create(site.log("app.log")).expect("a new file");
    let mut wanted: Vec<String> = (0..3000).map(|n| format!("line {n} of the first life\n")).collect();
    file.write_all(wanted.concat().as_bytes()).expect("the disk takes it");
    let agent = Agent::run(&site);
    for life in 0..3 {
        expect("every line so far", SOON, || kinesis.count() >= wanted.len());
        file.set_len(0).expect("a file can be cut");
        for n in 0..100 {
            wanted.push(format!("line {n} after truncation {life}\n"));
            file.write_all(wanted[wanted.len() - 1].as_bytes()).expect("the disk takes it");
        }
        assert!(file.stream_position().expect("a position") > 60_000);
    }
    let wanted: Vec<&str> = wanted.iter().map(String::as_str).collect();
    settle(&site, agent, &kinesis, &wanted);
}

const HUGE: u64 = 300_000_000;

/// A file with a line of 300 MB between two short ones; `read` judges what came of the long one.
#[track_caller]
fn check_huge(policy: &str, read: impl FnOnce(&Site, Vec<Vec<u8>>)) {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let yaml = Yaml::new("app.log", &kinesis.url()).source(&format!("oversize: {policy}"));
    site.configure(&yaml.flow("buffer: 4MiB").batch("{ max_age: 50ms, max_bytes: 2MiB }"));
    // Before it: ordinary work, so that what that takes is no part of the growth.
    append(&site.log("app.log"), "an ordinary line of some length\n".repeat(100_000));
    let agent = Agent::run(&site);
    expect("ordinary lines", SOON, || kinesis.count() >= 100_000);
    let before = agent.most_resident();
    let block = vec![b'x'; 1_000_000];
    let mut file = OpenOptions::new().append(true).open(site.log("app.log")).expect("the log");
    (0..HUGE / 1_000_000).for_each(|_| file.write_all(&block).expect("the disk takes it"));
    file.write_all(b"\nthe line after it\n").expect("the disk takes it");
    let last = || kinesis.see(|l| l.accepted.iter().rev().take(200).any(|a| a.data == b"the line after it\n"));
    expect("the line after the long one", SOON * 2, last);
    let grown = agent.most_resident().saturating_sub(before);
    assert!(grown < 32 << 20, "{policy}: a line of 300 MB takes {grown} bytes of memory");
    agent.stop();
    Agent::once(&site, SOON);
    let mut rest = kinesis.see(|l| l.accepted.iter().map(|a| a.data.clone()).collect::<Vec<_>>());
    let ordinary = rest.len();
    rest.retain(|r| r != b"an ordinary line of some length\n");
    assert_eq!(ordinary - rest.len(), 100_000);
    rest.retain(|r| r != b"the line after it\n");
    read(&site, rest);
}

#[test]
fn a_line_of_300_mb_is_truncated_in_bounded_memory() {
    check_huge("truncate", |site, rest| {
        let [line] = rest.as_slice() else { panic!("{} records of the long line", rest.len()) };
        assert!((1_000_000..=1 << 20).contains(&line.len()), "{} bytes are left of it", line.len());
        assert!(line.ends_with(b"x\n") && line[..line.len() - 1].iter().all(|b| *b == b'x'));
        assert!(site.dead_letters().is_empty());
    });
}

#[test]
fn a_line_of_300_mb_is_split_in_bounded_memory() {
    check_huge("split", |site, rest| {
        assert_eq!(rest.iter().map(Vec::len).sum::<usize>() as u64, HUGE + 1);
        assert!(rest.iter().flatten().filter(|b| **b != b'x').eq(b"\n"));
        assert!(site.dead_letters().is_empty());
    });
}

#[test]
fn a_line_of_300_mb_is_dropped_in_bounded_memory_and_its_place_kept_among_the_dead_letters() {
    check_huge("drop", |site, rest| {
        assert_eq!(rest.len(), 0);
        let letters = site.dead_letters();
        let [letter] = letters.as_slice() else { panic!("{} dead letters", letters.len()) };
        let start = 32 * 100_000u64;
        assert_eq!((&letter["start"], &letter["end"]), (&start.into(), &(start + HUGE + 1).into()));
        assert!(letter["reason"].as_str().is_some_and(|r| r.contains("300000001 bytes")), "{}", letter["reason"]);
        assert!(letter["data"].as_str().is_some_and(|d| (1_000_000..=1 << 20).contains(&d.len())));
    });
}

/// Once ended the process: a batch filled but for one record, then a line that no buffer holds.
#[track_caller]
fn check_long_after_full(policy: &str, dead: bool) {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let yaml = Yaml::new("app.log", &kinesis.url()).source("max_record: 1KiB").source(&format!("oversize: {policy}"));
    site.configure(&yaml.batch("{ max_age: 1s, max_records: 10 }"));
    let mut wanted = Vec::new();
    for short in 7..=11 {
        for length in [2000, 100_000, 600_000, 1_100_000] {
            for n in 0..short {
                wanted.push(format!("{short} short lines, number {n}, before one of {length} bytes\n"));
                append(&site.log("app.log"), &wanted[wanted.len() - 1]);
            }
            append(&site.log("app.log"), "x".repeat(length) + "\n");
            if !dead {
                wanted.push("x".repeat(1023) + "\n");
            }
        }
    }
    Agent::once(&site, SOON);
    assert_exactly(&kinesis.see(Ledger::data), &wanted);
    assert_eq!(site.dead_letters().len(), if dead { 20 } else { 0 });
}

#[test]
fn a_long_line_after_a_batch_that_is_full_but_for_one_is_truncated() {
    check_long_after_full("truncate", false);
}

#[test]
fn a_long_line_after_a_batch_that_is_full_but_for_one_is_dropped() {
    check_long_after_full("drop", true);
}

#[test]
fn a_record_of_several_lines_waits_for_the_line_that_begins_the_next() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let yaml = Yaml::new("*.log", &kinesis.url());
    site.configure(&yaml.source("multiline: { start: '^\\d{4}-', timeout: 1h, max_lines: 4 }"));
    let log = site.log("app.log");
    append(&log, "an orphan\n2026-11-20 one\n  at a\n");
    let agent = Agent::run(&site);
    expect("what stands before the first start", SOON, || kinesis.count() >= 1);
    // The other file shows that the agent has looked since.
    append(&site.log("other.log"), "2026-11-20 x\n2026-11-20 y\n");
    expect("the other file's first", SOON, || kinesis.count() >= 2);
    append(&log, "  at b");
    append(&site.log("other.log"), "2026-11-20 z\n");
    expect("the other file's second", SOON, || kinesis.count() >= 3);
    agent.stop();
    append(&log, "\n2026-11-20 two\n 2\n 3\n 4\n 5\n");
    let agent = Agent::run(&site);
    let (one, two) = ("2026-11-20 one\n  at a\n  at b\n", "2026-11-20 two\n 2\n 3\n 4\n");
    expect("both records", SOON, || kinesis.count() >= 5);
    assert_exactly(&kinesis.see(Ledger::data), &["an orphan\n", "2026-11-20 x\n", "2026-11-20 y\n", one, two]);
    agent.stop();
    Agent::once(&site, SOON);
    assert_exactly(
        &kinesis.see(Ledger::data),
        &["an orphan\n", "2026-11-20 x\n", "2026-11-20 y\n", "2026-11-20 z\n", one, two, " 5\n"],
    );
}

#[test]
fn a_record_of_several_lines_is_closed_when_its_file_is_quiet_or_rotated() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()).source("multiline: { start: '^\\d{4}-', timeout: 100ms }"));
    append(&site.log("app.log"), "2026-11-20 one\n  at a\n  at b\n");
    let agent = Agent::run(&site);
    expect("the record", SOON, || kinesis.count() >= 1);
    agent.stop();
    // Nothing but rotation ends these.
    site.configure(&Yaml::new("app.log", &kinesis.url()).source("multiline: { start: '^\\d{4}-', timeout: 1h }"));
    append(&site.log("app.log"), "2026-11-20 two\n  at c\n  at d");
    let agent = Agent::run(&site);
    fs::rename(site.log("app.log"), site.log("app.log.1")).expect("a log can be renamed");
    append(&site.log("app.log"), "2026-11-20 three\n");
    expect("the record of the rotated file", SOON, || kinesis.count() >= 2);
    agent.stop();
    Agent::once(&site, SOON);
    let wanted = ["2026-11-20 one\n  at a\n  at b\n", "2026-11-20 two\n  at c\n  at d", "2026-11-20 three\n"];
    assert_exactly(&kinesis.see(Ledger::data), &wanted);
}

#[test]
fn header_lines_are_skipped_in_each_new_file_and_only_there() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.csv", &kinesis.url()).source("skip_header_lines: 2"));
    let log = site.log("app.csv");
    let rotate = || {
        for n in (1..9).rev() {
            let _ = fs::rename(site.log(&format!("app.csv.{n}")), site.log(&format!("app.csv.{}", n + 1)));
        }
        fs::rename(&log, site.log("app.csv.1")).expect("a log can be renamed");
    };
    append(&log, "# made by hand\na,b\n1,1\n");
    let agent = Agent::run(&site);
    expect("the first row", SOON, || kinesis.count() >= 1);
    append(&log, "1,2\n");
    expect("the second row", SOON, || kinesis.count() >= 2);
    agent.stop();
    append(&log, "1,3\n");
    let agent = Agent::run(&site);
    expect("the third row", SOON, || kinesis.count() >= 3);
    rotate();
    // Half a header, and a restart.
    append(&log, "# made by hand\n");
    append(&site.log("app.csv.1"), "1,4\n");
    expect("what was added to the rotated file", SOON, || kinesis.count() >= 4);
    agent.stop();
    append(&log, "a,b\n2,1\n");
    let agent = Agent::run(&site);
    expect("the first row of the second file", SOON, || kinesis.count() >= 5);
    agent.stop();
    append(&log, "2,2\n");
    rotate();
    append(&log, "# made by hand\na,b\n3,1\n");
    rotate();
    append(&log, "# made by hand\na,b\n4,1\n");
    let agent = Agent::run(&site);
    settle(&site, agent, &kinesis, &["1,1\n", "1,2\n", "1,3\n", "1,4\n", "2,1\n", "2,2\n", "3,1\n", "4,1\n"]);
}

#[test]
fn a_footer_and_what_was_read_behind_it_are_left_out_and_a_cut_record_ends_as_it_shall() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let yaml = Yaml::new("app.log", &kinesis.url()).source("footer: '-+|EOF'").source("max_record: 64B");
    site.configure(&yaml.source("truncated_record_terminator: \"<CUT>\\n\""));
    let long = "0123456789".repeat(7);
    append(&site.log("app.log"), format!("a\nEOF?\n{long}\nb\n  EOF\r\nc\npart"));
    let agent = Agent::run(&site);
    expect("what stands before the footer", SOON, || kinesis.count() >= 4);
    append(&site.log("app.log"), "ly\nd\n");
    let cut = format!("{}<CUT>\n", &long[..58]);
    settle(&site, agent, &kinesis, &["a\n", "EOF?\n", &cut, "b\n", "ly\n", "d\n"]);
}
