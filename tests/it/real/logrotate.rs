//! The real logrotate, in each of its modes: some rotations while the agent runs, one while it is down.
//! The writer rests while logrotate works, so that what logrotate itself loses (copytruncate) is nothing.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use crate::support::{
    SOON,
    agent::Agent,
    expect,
    faults::Kinesis,
    site::{Site, Yaml},
    skipped,
    tally::assert_all_once,
    until,
    writer::Writer,
};

/// Runs logrotate over `name` with `options`, whether it is due or not.
fn rotate(site: &Site, name: &str, options: &str) {
    let conf = site.path("logrotate.conf");
    let text = format!("{} {{\n  rotate 20\n  {}\n}}\n", site.log(name).display(), options.replace("; ", "\n  "));
    fs::write(&conf, text).expect("a configuration for logrotate");
    fs::set_permissions(&conf, fs::Permissions::from_mode(0o644)).expect("its mode can be set");
    let run = Command::new("logrotate").args(["-f", "-s"]).arg(site.path("logrotate.state")).arg(&conf).output();
    let run = run.expect("logrotate was there a moment ago");
    assert!(run.status.success(), "logrotate: {}", String::from_utf8_lossy(&run.stderr));
}

fn second() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_secs()
}

/// Follows `name` through five rotations under these options. Only the live name matches the flow's glob.
#[track_caller]
fn check(test: &str, name: &str, options: &str) {
    check_while(test, name, options, true);
}

/// The same; whether one of the rotations comes while the agent is down.
#[track_caller]
fn check_while(test: &str, name: &str, options: &str, down_once: bool) {
    let found = Command::new("logrotate").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|s| s.success()) {
        return skipped(test, "logrotate is not installed");
    }
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new(name, &kinesis.url()));
    let mut writer = Writer::new(&site.log(name), "l");
    let mut agent = Some(Agent::run(&site));
    for round in 0..5 {
        let before = writer.written();
        writer.lines(400);
        expect("the live file to be taken up", SOON, || kinesis.count() as u64 > before);
        if down_once && round == 2 {
            agent.take().expect("the agent runs").stop();
            writer.lines(400);
        }
        let last = second();
        rotate(&site, name, options);
        writer.reopen();
        writer.lines(200);
        if down_once && round == 2 {
            agent = Some(Agent::run(&site));
        }
        expect("the new file to be taken up", SOON, || kinesis.count() as u64 > writer.written() - 200);
        if options.contains("dateext") {
            assert!(until(SOON, || second() > last), "the clock stands still");
        }
    }
    expect("every line", SOON, || kinesis.count() as u64 >= writer.written());
    agent.take().expect("the agent runs").stop();
    Agent::once(&site, SOON);
    kinesis.see(|l| assert_all_once(&l.data(), "l", writer.written(), 0));
}

#[test]
fn logrotate_create() {
    check("logrotate_create", "app.log", "create");
}

#[test]
fn logrotate_nocreate() {
    check("logrotate_nocreate", "app.log", "nocreate");
}

#[test]
fn logrotate_copytruncate() {
    check("logrotate_copytruncate", "app.log", "copytruncate");
}

#[test]
fn logrotate_copy() {
    check("logrotate_copy", "app.log", "copy");
}

#[test]
fn logrotate_create_compress() {
    check("logrotate_create_compress", "app.log", "create; compress");
}

#[test]
fn logrotate_create_compress_delaycompress() {
    check("logrotate_create_compress_delaycompress", "app.log", "create; compress; delaycompress");
}

#[test]
fn logrotate_dateext() {
    check("logrotate_dateext", "app.log", "create; dateext; dateformat -%Y%m%d-%s");
}

#[test]
fn logrotate_extension() {
    check("logrotate_extension", "app.log", "create; extension .log");
}

/// While the agent is down a file moved to another folder is not found: a named limit.
#[test]
fn logrotate_olddir_while_the_agent_runs() {
    check_while("logrotate_olddir_while_the_agent_runs", "app.log", "create; olddir old; createolddir 750", false);
}

/// The rotated file is deleted at once: only the open handle leads to what is left of it.
#[test]
fn logrotate_rotate_0_while_the_agent_runs() {
    check_while("logrotate_rotate_0_while_the_agent_runs", "app.log", "create; rotate 0", false);
}
