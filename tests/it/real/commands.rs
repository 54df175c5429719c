//! The command line: what each call prints, and its exit code.

use std::{
    fs,
    process::{Command, Output},
};

use rustix::process::Signal;

use crate::support::{
    SOON,
    agent::{Agent, bare, binary, command, output},
    expect,
    faults::Kinesis,
    site::{Site, Yaml},
    tally::assert_all_once,
    writer::Writer,
};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Both streams of an output: where a message goes is the command's own matter.
fn all(output: &Output) -> String {
    text(&output.stdout) + &text(&output.stderr)
}

fn headwater(site: &Site, arguments: &[&str]) -> Output {
    let mut command: Command = bare(site, binary());
    command.args(arguments);
    output(command)
}

#[test]
fn a_second_agent_on_the_same_state_directory_refuses_and_names_it() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    let mut writer = Writer::new(&site.log("app.log"), "a");
    writer.lines(10);
    let mut first = Agent::run(&site);
    expect("the first agent to deliver", SOON, || kinesis.count() == 10);
    let second = output(command(&site, &["run"]));
    assert_eq!(second.status.code(), Some(1), "{}", all(&second));
    assert!(text(&second.stderr).contains(&site.state_dir().display().to_string()), "{}", all(&second));
    writer.lines(10);
    expect("the first to go on", SOON, || kinesis.count() == 20);
    assert!(first.alive());
    first.stop();
}

#[test]
fn a_bad_configuration_ends_with_78_and_every_mistake_in_its_place() {
    let site = Site::new();
    let bad = "state_dir: relative\nflows:\n  - name: a\n    source: { pats: x }\n    destination: { stdout: {} }\n    buffer: big\n";
    site.configure_raw(bad);
    for arguments in [&["run"][..], &["run", "--once"], &["validate"], &["checkpoints"]] {
        let output = output(command(&site, arguments));
        assert_eq!(output.status.code(), Some(78), "{arguments:?}: {}", all(&output));
        for place in ["headwater.yaml:1:", "headwater.yaml:4:", "headwater.yaml:6:", "pats", "paths"] {
            assert!(all(&output).contains(place), "{arguments:?}: {place} is not in {}", all(&output));
        }
    }
    assert!(!site.state_dir().exists());
}

#[test]
fn a_configuration_file_that_is_not_there_ends_with_78_and_its_name() {
    let site = Site::new();
    let output = output(command(&site, &["run"]));
    assert_eq!(output.status.code(), Some(78), "{}", all(&output));
    assert!(text(&output.stderr).contains("headwater.yaml"), "{}", all(&output));
}

#[test]
fn validate_says_yes_with_0_and_touches_nothing() {
    let site = Site::new();
    site.configure(&Yaml::new("app.log", "http://127.0.0.1:1"));
    let output = output(command(&site, &["validate"]));
    assert_eq!(output.status.code(), Some(0), "{}", all(&output));
    assert!(!site.state_dir().exists());
}

#[test]
fn checkpoints_shows_how_far_each_file_is() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("*.log", &kinesis.url()));
    let mut writers = ["a", "b"].map(|tag| Writer::new(&site.log(&format!("{tag}.log")), tag));
    for writer in &mut writers {
        writer.lines(100);
    }
    Agent::once(&site, SOON);
    let read = fs::metadata(site.log("a.log")).expect("the log").len();
    writers[0].lines(50);
    let length = fs::metadata(site.log("a.log")).expect("the log").len();

    let plain = output(command(&site, &["checkpoints"]));
    assert!(plain.status.success(), "{}", all(&plain));
    let listing = text(&plain.stdout);
    let row = listing.lines().find(|l| l.contains("a.log")).expect("a row for a.log");
    assert!(row.contains(&read.to_string()) && row.contains(&(length - read).to_string()), "{row}");

    let json = output(command(&site, &["checkpoints", "--json"]));
    assert!(json.status.success(), "{}", all(&json));
    let value: serde_json::Value = serde_json::from_slice(&json.stdout)
        .or_else(|_| text(&json.stdout).lines().map(serde_json::from_str::<serde_json::Value>).collect())
        .expect("one JSON value, or one a line");
    for part in [site.log("a.log").display().to_string(), site.log("b.log").display().to_string()] {
        assert!(value.to_string().contains(&part), "{part} is not in {value}");
    }
    assert!(value.to_string().contains(&read.to_string()), "{value}");
}

#[test]
fn checkpoints_can_be_read_while_the_agent_runs() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    Writer::new(&site.log("app.log"), "a").lines(10);
    let agent = Agent::run(&site);
    expect("the agent to deliver and to say so", SOON, || {
        let output = output(command(&site, &["checkpoints"]));
        output.status.success() && text(&output.stdout).contains("app.log")
    });
    agent.stop();
}

#[test]
fn a_call_that_is_not_understood_ends_with_a_usage_message_and_help_with_0() {
    let site = Site::new();
    let wrong = headwater(&site, &["rum"]);
    assert!(!wrong.status.success() && text(&wrong.stderr).contains("run"), "{}", all(&wrong));
    for arguments in [["--help"], ["--version"]] {
        assert!(headwater(&site, &arguments).status.success());
    }
}

#[test]
fn the_version_names_the_target_and_every_help_fits_on_one_screen_with_examples() {
    let site = Site::new();
    let version = text(&headwater(&site, &["--version"]).stdout);
    assert!(version.starts_with(concat!("headwater ", env!("CARGO_PKG_VERSION"), " (")), "{version}");
    assert!(version.contains("-linux-") && version.ends_with(")\n"), "{version}");
    for arguments in [
        &["-h"][..],
        &["run", "-h"],
        &["validate", "-h"],
        &["checkpoints", "-h"],
        &["config", "-h"],
        &["config", "schema", "-h"],
        &["migrate", "-h"],
    ] {
        let help = text(&headwater(&site, arguments).stdout);
        assert!(help.contains("Examples:\n"), "{arguments:?}: {help}");
        assert!(help.lines().count() <= 24 && help.lines().all(|l| l.chars().count() <= 100), "{arguments:?}:\n{help}");
    }
}

#[test]
fn sighup_and_sigpipe_do_not_end_the_agent() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    let mut writer = Writer::new(&site.log("app.log"), "a");
    let mut agent = Agent::run(&site);
    for round in 1..=3 {
        writer.lines(100);
        expect("the lines", SOON, || kinesis.count() == round * 100);
        agent.signal(if round == 2 { Signal::PIPE } else { Signal::HUP });
    }
    writer.lines(100);
    expect("the last lines", SOON, || kinesis.count() == 400);
    assert!(agent.alive());
    agent.stop();
    kinesis.see(|l| assert_all_once(&l.data(), "a", 400, 0));
}

#[test]
fn sigint_is_a_clean_stop() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    Writer::new(&site.log("app.log"), "a").lines(100);
    let mut agent = Agent::run(&site);
    expect("the lines", SOON, || kinesis.count() == 100);
    agent.signal(Signal::INT);
    assert_eq!(agent.wait(SOON).code(), Some(0));
    Agent::once(&site, SOON);
    assert_eq!(kinesis.count(), 100);
}
