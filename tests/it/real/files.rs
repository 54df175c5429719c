//! Which names are followed, and as how many files: links, names of any bytes, things that are no files, ten thousand files.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::symlink, net::UnixListener},
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use crate::support::{
    SOON,
    agent::{Agent, command, output},
    expect,
    faults::Kinesis,
    ledger::Ledger,
    site::{Site, Yaml},
    skipped,
    tally::{assert_all_once, assert_exactly},
    until,
    writer::{Writer, append, line},
};

/// Waits until `written` lines came, ends the agent, looks once more for repeats, and wants each line once.
#[track_caller]
fn settle(site: &Site, agent: Agent, kinesis: &Kinesis, tag: &str, written: u64) {
    expect("every line", SOON, || kinesis.count() as u64 >= written);
    agent.stop();
    Agent::once(site, SOON);
    kinesis.see(|l| assert_all_once(&l.data(), tag, written, 0));
}

#[test]
fn a_chain_of_links_to_a_log_outside_is_followed_once() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("*.log", &kinesis.url()));
    for folder in ["links", "real"] {
        fs::create_dir(site.path(folder)).expect("a new folder");
    }
    let mut writer = Writer::new(&site.path("real/app"), "a");
    symlink("../real/app", site.path("links/two")).expect("a new link");
    symlink("../links/two", site.log("one.log")).expect("a new link");
    symlink("one.log", site.log("zero.log")).expect("a new link");
    writer.lines(100);
    let agent = Agent::run(&site);
    expect("what was there", SOON, || kinesis.count() >= 100);
    writer.lines(100);
    expect("what was added", SOON, || kinesis.count() >= 200);
    agent.stop();
    writer.lines(100);
    let agent = Agent::run(&site);
    settle(&site, agent, &kinesis, "a", 300);
}

#[test]
fn a_file_with_a_link_to_it_and_a_second_name_is_one_file() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("*.log", &kinesis.url()));
    let mut writer = Writer::new(&site.log("b.log"), "a");
    writer.lines(100);
    symlink("b.log", site.log("a.log")).expect("a new link");
    fs::hard_link(site.log("b.log"), site.log("c.log")).expect("a second name");
    let agent = Agent::run(&site);
    expect("what was there", SOON, || kinesis.count() >= 100);
    symlink("c.log", site.log("d.log")).expect("a new link");
    fs::hard_link(site.log("b.log"), site.log("0.log")).expect("a third name");
    writer.lines(100);
    expect("what was added", SOON, || kinesis.count() >= 200);
    agent.stop();
    // The name that was followed goes, the file stays.
    fs::remove_file(site.log("b.log")).expect("a name can be removed");
    writer.lines(100);
    let agent = Agent::run(&site);
    expect("what was written meanwhile", SOON, || kinesis.count() >= 300);
    fs::remove_file(site.log("0.log")).expect("a name can be removed");
    writer.lines(100);
    settle(&site, agent, &kinesis, "a", 400);
}

/// A program changes to a new file by changing where a link leads, while the agent runs or is down.
#[track_caller]
fn check_retarget(down: bool) {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    fs::create_dir(site.path("real")).expect("a new folder");
    let point = |target: &str| {
        symlink(Path::new("../real").join(target), site.log("new")).expect("a new link");
        fs::rename(site.log("new"), site.log("app.log")).expect("a link can be renamed");
    };
    let tags = ["r0", "r1", "r2", "r3"];
    let mut writers = tags.map(|tag| Writer::new(&site.path(&format!("real/{tag}")), tag));
    point("r0");
    let mut agent = Agent::run(&site);
    for round in 0..4 {
        writers[round].lines(200);
        let delivered = || kinesis.see(|l| l.data().iter().filter(|r| r.starts_with(tags[round].as_bytes())).count());
        expect("the target to be followed", SOON, || delivered() >= 200);
        if round == 3 {
            break;
        }
        agent = if down {
            agent.stop();
            writers[round].lines(50);
            point(tags[round + 1]);
            Agent::run(&site)
        } else {
            point(tags[round + 1]);
            // Its program has not noticed yet.
            writers[round].lines(50);
            agent
        };
    }
    expect("every line", SOON, || kinesis.count() >= 950);
    agent.stop();
    Agent::once(&site, SOON);
    let data = kinesis.see(Ledger::data);
    for (round, tag) in tags.iter().enumerate() {
        let of: Vec<_> = data.iter().filter(|r| r.starts_with(tag.as_bytes())).collect();
        assert_all_once(&of, tag, if round == 3 { 200 } else { 250 }, 0);
    }
    assert_eq!(data.len(), 950);
}

#[test]
fn a_link_that_is_pointed_at_a_new_file_leads_through_both() {
    check_retarget(false);
}

#[test]
fn a_link_that_is_pointed_at_a_new_file_while_the_agent_is_down_leads_through_both() {
    check_retarget(true);
}

#[test]
fn ten_thousand_files_are_followed_and_each_line_comes_once() {
    const FILES: u64 = 10_000;
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("*.log", &kinesis.url()));
    let add = |round: u64| {
        for n in 0..FILES {
            let text = line("m", round * FILES + n);
            append(&site.log(&format!("{n}.log")), &text);
        }
    };
    add(0);
    let agent = Agent::run(&site);
    expect("a line of each", SOON, || kinesis.count() as u64 >= FILES);
    add(1);
    expect("another line of each", SOON, || kinesis.count() as u64 >= 2 * FILES);
    agent.stop();
    add(2);
    let agent = Agent::run(&site);
    settle(&site, agent, &kinesis, "m", 3 * FILES);
}

#[test]
fn a_pipe_a_socket_and_a_folder_that_match_are_skipped_and_named() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("*.log", &kinesis.url()));
    let made = Command::new("mkfifo").arg(site.log("pipe.log")).status();
    if !made.is_ok_and(|s| s.success()) {
        return skipped("a_pipe_a_socket_and_a_folder_that_match_are_skipped_and_named", "mkfifo is not installed");
    }
    let _socket = UnixListener::bind(site.log("socket.log")).expect("a new socket");
    symlink("/dev/null", site.log("device.log")).expect("a new link");
    symlink("nowhere", site.log("dangling.log")).expect("a new link");
    fs::create_dir(site.log("folder.log")).expect("a new folder");
    let mut writer = Writer::new(&site.log("z.log"), "a");
    writer.lines(100);
    let agent = Agent::run(&site);
    expect("the file", SOON, || kinesis.count() >= 100);
    for name in ["pipe.log", "socket.log", "device.log"] {
        assert!(agent.says(&[name], SOON), "{name} is not named: {}", agent.log());
    }
    writer.lines(100);
    settle(&site, agent, &kinesis, "a", 200);
}

#[test]
fn file_names_of_any_bytes_are_followed_across_a_restart_and_shown() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("*.log", &kinesis.url()));
    let names: [&[u8]; 4] =
        [b"\xff\xfe.log", b"caf\xe9.log", b"two\nlines \"quoted\" \\.log", "\u{65e5}\u{672c}.log".as_bytes()];
    let path = |name: &[u8]| site.path("logs").join(OsStr::from_bytes(name));
    let mut wanted = Vec::new();
    let mut add = |text: &str| {
        for (i, name) in names.iter().enumerate() {
            wanted.push(format!("{i} {text}\n"));
            append(&path(name), &wanted[wanted.len() - 1]);
        }
        wanted.len()
    };
    let all = add("first");
    let agent = Agent::run(&site);
    expect("a line of each", SOON, || kinesis.count() >= all);
    let all = add("second");
    expect("another line of each", SOON, || kinesis.count() >= all);
    agent.stop();
    let all = add("while it was down");
    let agent = Agent::run(&site);
    expect("a third line of each", SOON, || kinesis.count() >= all);
    // Rotated, too.
    for name in names {
        fs::rename(path(name), path(&[name, b".1"].concat())).expect("a log can be renamed");
    }
    let all = add("in a new file");
    expect("a line of each new file", SOON, || kinesis.count() >= all);
    agent.stop();
    Agent::once(&site, SOON);
    assert_exactly(&kinesis.see(Ledger::data), &wanted);
    let shown = output(command(&site, &["checkpoints", "--json"]));
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    let rows: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    let rows = rows.as_array().expect("an array");
    assert_eq!(rows.len(), 8, "{rows:?}");
    assert!(rows.iter().all(|r| r["behind"] == 0), "{rows:?}");
    assert!(output(command(&site, &["checkpoints"])).status.success());
}

/// The poll comes after an hour: only the kernel's hints can bring these lines.
#[test]
fn no_hint_is_lost_in_a_hundred_appends_to_two_hundred_quiet_files() {
    const MAX_AGE: Duration = Duration::from_millis(50);
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("*.log", &kinesis.url()).source("poll_interval: 1h"));
    let path = |n: usize| site.log(&format!("{n}.log"));
    (0..200).for_each(|n| append(&path(n), "first\n"));
    let agent = Agent::run(&site);
    expect("a line of each", SOON, || kinesis.count() >= 200);
    let mut late = Vec::new();
    for n in 0..100 {
        append(&path(n * 7 % 200), "another\n");
        let start = Instant::now();
        assert!(until(SOON, || kinesis.count() > 200 + n), "append {n} was not noticed");
        late.extend(Some(start.elapsed()).filter(|took| *took > MAX_AGE + Duration::from_secs(1)));
    }
    assert!(late.is_empty(), "{} of 100 came late: {late:?}", late.len());
    agent.stop();
    assert_eq!(kinesis.count(), 300);
}
