//! What may be missing or wrong when a machine comes up: it is named, and what mends itself is waited for.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use crate::support::{
    SOON,
    agent::{Agent, command, unprivileged},
    disk::Mount,
    expect,
    faults::{Fault, Kinesis},
    notify::Notifications,
    site::{Site, Yaml},
    skipped,
    tally::assert_all_once,
    writer::Writer,
};

fn forbid(path: &std::path::Path) {
    std::os::unix::fs::chown(path, Some(0), Some(0)).expect("root may take");
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).expect("root may forbid");
}

/// A site whose agent runs as a user without privileges; `None`, and the test says so, where that cannot be.
fn of_a_service_user(test: &str, kinesis: &Kinesis) -> Option<(Site, Command)> {
    if !rustix::process::getuid().is_root() {
        skipped(test, "needs root, to take from another user what it has");
        return None;
    }
    let site = Site::new();
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    fs::create_dir(site.state_dir()).expect("a folder in a new folder");
    let command = unprivileged(&site, test, &["run"])?;
    Some((site, command))
}

#[test]
fn a_configuration_that_the_service_may_not_read_is_named_with_78() {
    let (kinesis, test) = (Kinesis::start(), "a_configuration_that_the_service_may_not_read_is_named_with_78");
    let Some((site, command)) = of_a_service_user(test, &kinesis) else { return };
    forbid(&site.config_file());
    let mut agent = Agent::start(&site, command);
    assert_eq!(agent.wait(SOON).code(), Some(78));
    let log = agent.log();
    assert!(log.contains("headwater.yaml: may not be read by this user; allow it to"), "{log}");
}

#[test]
fn a_state_directory_of_somebody_else_is_named_with_what_to_do() {
    let (kinesis, test) = (Kinesis::start(), "a_state_directory_of_somebody_else_is_named_with_what_to_do");
    let Some((site, command)) = of_a_service_user(test, &kinesis) else { return };
    Writer::new(&site.log("app.log"), "b").lines(10);
    forbid(&site.state_dir());
    let mut agent = Agent::start(&site, command);
    assert_eq!(agent.wait(SOON).code(), Some(1));
    let log = agent.log();
    assert!(log.contains(&site.state_dir().display().to_string()), "{log}");
    assert!(log.contains("give the agent's user access to it") && log.contains("Permission denied"), "{log}");
    assert_eq!(kinesis.count(), 0, "nothing is delivered of which no place can be kept");
}

#[test]
fn a_full_disk_at_the_start_stops_no_delivery_and_is_said_aloud() {
    let name = "a_full_disk_at_the_start_stops_no_delivery_and_is_said_aloud";
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let Some(mount) = Mount::tmpfs(&site.state_dir(), "256k") else {
        return skipped(name, "needs root, to mount a small tmpfs");
    };
    let ballast = mount.fill();
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    let mut writer = Writer::new(&site.log("app.log"), "f");
    writer.lines(100);
    let agent = Agent::run(&site);
    expect("the lines", SOON, || kinesis.count() == 100);
    assert!(agent.says(&["no space left on device"], SOON), "{}", agent.log());
    assert!(agent.log().contains("delivery goes on"), "{}", agent.log());
    fs::remove_file(ballast).expect("the ballast can go");
    assert!(agent.says(&["the checkpoint can be written again"], SOON), "{}", agent.log());
    writer.lines(100);
    expect("the rest", SOON, || kinesis.count() == 200);
    agent.stop();
    Agent::once(&site, SOON);
    kinesis.see(|l| assert_all_once(&l.data(), "f", 200, 0));
}

/// An agent that cannot deliver when it starts is ready all the same, says why in its status, and delivers once it can.
fn recovers(site: &Site, kinesis: &Kinesis, command: Command, word: &str, mend: impl FnOnce()) {
    let mut writer = Writer::new(&site.log("app.log"), "r");
    writer.lines(1_000);
    let mut heard = Notifications::listen(&site.path("notify"));
    let mut command = command;
    command.env("NOTIFY_SOCKET", heard.path());
    let mut agent = Agent::start(site, command);
    heard.expect("READY=1", 1);
    let told = |heard: &mut Notifications| heard.seen().iter().any(|m| m.starts_with("STATUS=") && m.contains(word));
    expect("the status to say why", SOON, || told(&mut heard));
    assert!(agent.says(&[word], SOON) && agent.alive() && kinesis.count() == 0, "{}", agent.log());
    mend();
    expect("every line", SOON * 3, || kinesis.count() >= 1_000);
    agent.stop();
    kinesis.see(|l| assert_all_once(&l.data(), "r", 1_000, 0));
}

#[test]
fn no_network_at_boot_is_waited_for() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    kinesis.down();
    recovers(&site, &kinesis, command(&site, &["run"]), "NotConnected", || kinesis.up());
}

#[test]
fn no_network_at_boot_is_waited_for_although_the_stream_would_have_to_be_read() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()).flow("delivery: exactly_once"));
    kinesis.down();
    recovers(&site, &kinesis, command(&site, &["run"]), "NotConnected", || kinesis.up());
}

#[test]
fn no_credentials_at_boot_are_waited_for() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    let mut command = command(&site, &["run"]);
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    recovers(&site, &kinesis, command, "NoCredentials", || {
        let folder = site.path("home/.aws");
        fs::create_dir(&folder).expect("a folder in a new home");
        let keys = "[default]\naws_access_key_id = late\naws_secret_access_key = late\n";
        fs::write(folder.join("credentials"), keys).expect("the profile can be written");
    });
}

#[test]
fn a_clock_that_is_not_set_at_boot_is_waited_for() {
    for code in ["InvalidSignatureException", "RequestTimeTooSkewed"] {
        let (site, kinesis) = (Site::new(), Kinesis::start());
        site.configure(&Yaml::new("app.log", &kinesis.url()));
        kinesis.set(Fault::Refuse(
            403,
            code,
            "Signature expired: 19700101T000102Z is now earlier than 20261125T095500Z",
        ));
        recovers(&site, &kinesis, command(&site, &["run"]), code, || kinesis.set(Fault::Pass));
    }
}
