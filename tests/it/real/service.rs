//! What a service manager is told.

use std::process::Command;

use rustix::process::Signal;

use crate::support::{
    SOON,
    agent::{Agent, bare, command, output},
    expect,
    faults::Kinesis,
    notify::Notifications,
    site::{Site, Yaml},
    writer::Writer,
};

/// `command` through a shell that sets `WATCHDOG_PID` to the id the agent will have.
fn watched(site: &Site, command: &Command) -> Command {
    let mut shell = bare(site, "/bin/sh");
    shell.args(["-c", r#"WATCHDOG_PID=$$; export WATCHDOG_PID; exec "$0" "$@""#]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.env("WATCHDOG_USEC", "400000");
    shell
}

#[test]
fn the_service_manager_hears_ready_status_watchdog_and_stopping() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    Writer::new(&site.log("app.log"), "a").lines(100);
    let mut heard = Notifications::listen(&site.path("notify"));
    let mut command = watched(&site, &command(&site, &["run"]));
    command.env("NOTIFY_SOCKET", heard.path());
    let mut agent = Agent::start(&site, command);
    heard.expect("READY=1", 1);
    heard.expect("STATUS=", 1);
    heard.expect("WATCHDOG=1", 4);
    expect("the lines", SOON, || kinesis.count() == 100);
    assert!(!heard.seen().contains(&"STOPPING=1".into()));
    agent.signal(Signal::TERM);
    heard.expect("STOPPING=1", 1);
    assert!(agent.wait(SOON).success());
    assert_eq!(heard.seen().iter().filter(|m| *m == "READY=1").count(), 1);
}

#[test]
fn the_watchdog_is_fed_while_the_destination_is_down() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    kinesis.down();
    site.configure(&Yaml::new("app.log", &kinesis.url()).top("shutdown_timeout: 200ms"));
    Writer::new(&site.log("app.log"), "a").lines(100);
    let mut heard = Notifications::listen(&site.path("notify"));
    let mut command = watched(&site, &command(&site, &["run"]));
    command.env("NOTIFY_SOCKET", heard.path());
    let agent = Agent::start(&site, command);
    heard.expect("WATCHDOG=1", 8);
    agent.stop();
}

#[test]
fn without_a_flow_the_service_is_ready_says_what_to_do_and_stays() {
    for text in ["flows: []", "flows:", "# nothing yet"] {
        let site = Site::new();
        site.configure_raw(&format!("state_dir: {}\n{text}\n", site.state_dir().display()));
        let mut heard = Notifications::listen(&site.path("notify"));
        let mut command = watched(&site, &command(&site, &["run"]));
        command.env("NOTIFY_SOCKET", heard.path());
        let mut agent = Agent::start(&site, command);
        heard.expect("READY=1", 1);
        heard.expect("STATUS=Nothing to do", 1);
        heard.expect("WATCHDOG=1", 2);
        assert!(agent.alive() && agent.log().contains("WARN") && agent.log().contains("write one, like `flows: [{"));
        agent.stop();
    }
}

#[test]
fn without_a_flow_once_is_done_at_once_and_validate_warns() {
    let site = Site::new();
    site.configure_raw(&format!("state_dir: {}\n", site.state_dir().display()));
    Agent::once(&site, SOON);
    let said = output(command(&site, &["validate"]));
    assert!(said.status.success());
    assert!(String::from_utf8_lossy(&said.stderr).starts_with("warning: "), "{said:?}");
    assert!(String::from_utf8_lossy(&said.stdout).ends_with(": valid, 0 flows\n"), "{said:?}");
}

/// What `run --once` over one line logs, with these arguments and environment.
fn logged(arguments: &[&str], prepare: impl FnOnce(&mut Command, &std::fs::File)) -> String {
    let site = Site::new();
    site.configure_raw(&format!(
        "state_dir: {}\nflows: [{{ name: test, source: {{ paths: {} }}, destination: {{ stdout: {{}} }} }}]\n",
        site.state_dir().display(),
        site.log("app.log").display(),
    ));
    Writer::new(&site.log("app.log"), "a").lines(1);
    let log = std::fs::File::create(site.path("stderr")).expect("a file for stderr");
    let mut command = command(&site, &["run", "--once"]);
    command.args(arguments).stdout(std::process::Stdio::null()).stderr(log.try_clone().expect("one more descriptor"));
    prepare(&mut command, &log);
    assert!(command.status().expect("the agent can be started").success());
    std::fs::read_to_string(site.path("stderr")).expect("the log is text")
}

#[test]
fn the_log_is_plain_text_without_colours_or_progress_where_no_terminal_is() {
    let log = logged(&[], |_, _| ());
    assert!(log.contains("INFO flow started flow=\"test\""), "{log}");
    assert!(!log.contains(['\x1b', '\r']), "{log:?}");
}

#[test]
fn the_log_is_json_on_request() {
    let log = logged(&["--log-format", "json"], |_, _| ());
    assert!(log.lines().count() > 0);
    for line in log.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("a log line is JSON");
        assert!(line["level"].is_string() && line["message"].is_string() && line["timestamp"].is_string(), "{line}");
    }
}

#[test]
fn the_journal_gets_priorities_and_keeps_the_time_itself() {
    use std::os::unix::fs::MetadataExt as _;
    let log = logged(&[], |command, log| {
        let stream = log.metadata().expect("an open file");
        command.env("JOURNAL_STREAM", format!("{}:{}", stream.dev(), stream.ino()));
    });
    assert!(log.starts_with("<6>flow started flow=\"test\""), "{log}");
}

#[test]
fn too_few_open_files_are_told_at_the_start_with_the_number_that_is_needed() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("*.log", &kinesis.url()));
    for n in 0..100 {
        Writer::new(&site.log(&format!("{n}.log")), "a").lines(1);
    }
    let command = command(&site, &["run"]);
    let limited = |limit: u32| {
        let mut shell = bare(&site, "/bin/sh");
        shell.args(["-c", &format!(r#"ulimit -n {limit}; exec "$0" "$@""#)]);
        shell.arg(command.get_program()).args(command.get_args());
        shell
    };
    // 100 files, 8 connections, and 48 descriptors beside them.
    let agent = Agent::start(&site, limited(100));
    assert!(agent.says(&["too few open files are allowed"], SOON));
    assert!(agent.log().contains("limit=100 needed=156 files=100"), "{}", agent.log());
    expect("every line although files and connections have to wait for each other", SOON, || kinesis.count() == 100);
    agent.stop();
    let agent = Agent::start(&site, limited(156));
    assert!(!agent.says(&["limit=156"], std::time::Duration::from_secs(1)));
    agent.stop();
}
