//! A full disk under the checkpoint.

use std::{fs, process::Command, time::Duration};

use crate::support::{
    SOON,
    agent::Agent,
    disk::Mount,
    expect,
    faults::Kinesis,
    site::{Site, Yaml},
    skipped,
    tally::assert_all_once,
    until,
    writer::Writer,
};

#[test]
fn a_full_disk_under_the_checkpoint_stops_no_delivery_and_is_said_aloud() {
    let name = "a_full_disk_under_the_checkpoint_stops_no_delivery_and_is_said_aloud";
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let Some(mount) = Mount::tmpfs(&site.state_dir(), "256k") else {
        return skipped(name, "needs root, to mount a small tmpfs");
    };
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    let mut writer = Writer::new(&site.log("app.log"), "f");
    let agent = Agent::run(&site);
    writer.lines(100);
    expect("the first lines", SOON, || kinesis.count() == 100);
    let ballast = mount.fill();
    // Each round is a commit; what is left of the journal's last page is soon used up.
    let aloud = until(SOON, || {
        writer.lines(10);
        expect("delivery to go on", SOON, || kinesis.count() as u64 == writer.written());
        agent.says(&["no space left", "ENOSPC", "os error 28"], Duration::ZERO)
    });
    assert!(aloud, "the log does not say that the disk is full: {}", agent.log());
    fs::remove_file(ballast).expect("the ballast can go");
    writer.lines(100);
    expect("the last lines", SOON, || kinesis.count() as u64 == writer.written());
    agent.stop();
    Agent::once(&site, SOON);
    kinesis.see(|l| assert_all_once(&l.data(), "f", writer.written(), 0));
}

#[test]
fn a_state_directory_on_a_read_only_disk_is_refused_by_name() {
    let name = "a_state_directory_on_a_read_only_disk_is_refused_by_name";
    let (site, kinesis) = (Site::new(), Kinesis::start());
    let Some(mount) = Mount::tmpfs(&site.state_dir(), "256k") else {
        return skipped(name, "needs root, to mount a small tmpfs");
    };
    let remounted = Command::new("mount").args(["-o", "remount,ro"]).arg(mount.path()).status();
    assert!(remounted.is_ok_and(|s| s.success()), "the small disk can be made read-only");
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    let mut writer = Writer::new(&site.log("app.log"), "r");
    writer.lines(100);
    let mut agent = Agent::run(&site);
    assert_eq!(agent.wait(SOON).code(), Some(1));
    assert!(agent.log().contains(&mount.path().display().to_string()), "{}", agent.log());
    assert!(agent.log().to_lowercase().contains("read-only file system"), "{}", agent.log());
    assert_eq!(kinesis.count(), 0, "nothing is delivered of which no place can be kept");
    let remounted = Command::new("mount").args(["-o", "remount,rw"]).arg(mount.path()).status();
    assert!(remounted.is_ok_and(|s| s.success()), "the small disk can be made writable again");
    Agent::once(&site, SOON);
    kinesis.see(|l| assert_all_once(&l.data(), "r", writer.written(), 0));
}
