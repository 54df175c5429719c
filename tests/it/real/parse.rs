//! Parsers at work: the first line of a file as names, and what the log says of lines that do not match.

use std::{
    fs::{self, File},
    io::Write as _,
};

use flate2::{Compression, write::GzEncoder};

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

#[test]
fn the_first_line_of_each_file_names_its_cells_after_a_restart_too() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("*.csv*", &kinesis.url()).step("parse: { csv: { header: true } }"));
    append(&site.log("a.csv"), "\u{feff}x,y\r\n1,2\r\n");
    append(&site.log("b.csv"), "one");
    let mut packed = GzEncoder::new(File::create(site.log("c.csv.gz")).expect("a new file"), Compression::fast());
    packed.write_all(b"z\n7\n8\n").expect("the disk takes it");
    packed.finish().expect("the disk takes it");
    let agent = Agent::run(&site);
    expect("what was there", SOON, || kinesis.count() >= 3);
    agent.stop();
    // The rest of a header, and rows of a file that was begun; then a new file in its place.
    append(&site.log("b.csv"), ",two\n");
    append(&site.log("a.csv"), "3,\"4\r\n5,6,7\r\n8\r\n");
    let agent = Agent::run(&site);
    expect("the rows after the restart", SOON, || kinesis.count() >= 6);
    fs::rename(site.log("a.csv"), site.log("a.csv.1")).expect("a log can be renamed");
    append(&site.log("a.csv"), "y,x\n9,10\n");
    append(&site.log("b.csv"), "11\n");
    expect("the rows after the rotation", SOON, || kinesis.count() >= 8);
    agent.stop();
    Agent::once(&site, SOON);
    assert_exactly(
        &kinesis.see(Ledger::data),
        &[
            "{\"x\":\"1\",\"y\":\"2\"}\n",
            "{\"z\":\"7\"}\n",
            "{\"z\":\"8\"}\n",
            "3,\"4\r\n",
            "5,6,7\r\n",
            "{\"x\":\"8\",\"y\":null}\n",
            "{\"y\":\"9\",\"x\":\"10\"}\n",
            "{\"one\":\"11\",\"two\":null}\n",
        ],
    );
}

#[test]
fn a_file_read_from_its_end_has_the_names_of_its_first_line() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let yaml = Yaml::new("a.csv", &kinesis.url()).source("start_at: end").source("skip_header_lines: 1");
    site.configure(&yaml.step("parse: { csv: { header: true, delimiter: \";\" } }"));
    append(&site.log("a.csv"), "# made by hand\na;b\n1;2\n");
    Agent::once(&site, SOON);
    append(&site.log("a.csv"), "3;4\n");
    Agent::once(&site, SOON);
    assert_exactly(&kinesis.see(Ledger::data), &["{\"a\":\"3\",\"b\":\"4\"}\n"]);
}

#[test]
fn the_log_shows_one_of_the_lines_that_do_not_match_and_where() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()).step("parse: { logfmt: {}, on_mismatch: drop }"));
    append(&site.log("app.log"), "a=1\nb=\"open\u{1b}\n");
    append(&site.log("app.log"), "no pair\n".repeat(100));
    append(&site.log("app.log"), "c=3\n");
    let agent = Agent::run(&site);
    expect("both that match", SOON, || kinesis.count() >= 2);
    assert!(agent.says(&["a record does not match"], SOON), "{}", agent.log());
    let log = agent.log();
    assert_eq!(log.matches("a record does not match").count(), 1, "{log}");
    for word in ["flow=\"test\"", "app.log", "offset=4", "logfmt: expected `\"` that ends the value at byte 8"] {
        assert!(log.contains(word), "{word} in {log}");
    }
    assert!(!log.contains('\u{1b}'), "{log}");
    agent.stop();
    assert_exactly(&kinesis.see(Ledger::data), &["{\"a\":\"1\"}\n", "{\"c\":\"3\"}\n"]);
}
