//! What a service manager is told.

use std::process::Command;

use rustix::process::Signal;

use crate::support::{
    SOON,
    agent::{Agent, bare, command},
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
