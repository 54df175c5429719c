//! Folders and permissions: what may not be entered or read for a while, what comes late, what goes away and comes back.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
};

use crate::support::{
    SOON,
    agent::{Agent, unprivileged},
    expect,
    faults::Kinesis,
    ledger::Ledger,
    site::{Site, Yaml},
    tally::{assert_all_once, assert_exactly},
    writer::{Writer, append},
};

/// Waits until `written` lines came, ends the agent, looks once more for repeats, and wants each line once.
#[track_caller]
fn settle(site: &Site, agent: Agent, kinesis: &Kinesis, tag: &str, written: u64) {
    expect("every line", SOON, || kinesis.count() as u64 >= written);
    agent.stop();
    Agent::once(site, SOON);
    kinesis.see(|l| assert_all_once(&l.data(), tag, written, 0));
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("its mode can be set");
}

fn both_written(a: &mut Writer, b: &mut Writer) {
    a.lines(100);
    b.lines(100);
}

#[track_caller]
fn end_well(mut agent: Agent) {
    let status = agent.wait(SOON);
    assert!(status.success(), "run --once ended with {status}");
}

#[test]
fn a_file_whose_permission_is_taken_away_and_given_back_loses_no_line_and_disturbs_no_other() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("*.log", &kinesis.url()));
    let test = "a_file_whose_permission_is_taken_away_and_given_back_loses_no_line_and_disturbs_no_other";
    let run = || unprivileged(&site, test, &["run"]);
    let (secret, open) = (site.log("secret.log"), site.log("open.log"));
    let mut secrets = Writer::new(&secret, "s");
    let mut others = Writer::new(&open, "o");
    let of = |tag: &str| kinesis.see(|l| l.data().iter().filter(|r| r.starts_with(tag.as_bytes())).count() as u64);
    let both = |secrets: &mut Writer, others: &mut Writer| {
        secrets.lines(100);
        others.lines(100);
        let written = others.written();
        expect("the other file to go on", SOON, || of("o") >= written);
    };
    set_mode(&secret, 0);
    let Some(command) = run() else { return };
    let agent = Agent::start(&site, command);
    both(&mut secrets, &mut others);
    assert!(agent.says(&["secret.log"], SOON), "the file is not named: {}", agent.log());
    assert_eq!(of("s"), 0, "the test's agent may read everything");
    set_mode(&secret, 0o644);
    expect("the file to be read", SOON, || of("s") >= 100);
    // It stays open: what is taken away is missed by the next start.
    set_mode(&secret, 0);
    both(&mut secrets, &mut others);
    agent.stop();
    both_written(&mut secrets, &mut others);
    let Some(command) = run() else { return };
    let agent = Agent::start(&site, command);
    both(&mut secrets, &mut others);
    set_mode(&secret, 0o644);
    expect("the file to be read again", SOON, || of("s") >= secrets.written());
    agent.stop();
    let once = Agent::start(&site, unprivileged(&site, test, &["run", "--once"]).expect("it could run before"));
    end_well(once);
    let data = kinesis.see(Ledger::data);
    for writer in [("s", secrets.written()), ("o", others.written())] {
        let of: Vec<_> = data.iter().filter(|r| r.starts_with(writer.0.as_bytes())).collect();
        assert_all_once(&of, writer.0, writer.1, 0);
    }
}

#[test]
fn a_folder_that_may_not_be_entered_for_a_while_loses_and_repeats_nothing() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("*/app.log", &kinesis.url()));
    let test = "a_folder_that_may_not_be_entered_for_a_while_loses_and_repeats_nothing";
    let run = || unprivileged(&site, test, &["run"]);
    for folder in ["closed", "open"] {
        fs::create_dir(site.log(folder)).expect("a new folder");
    }
    let mut closed = Writer::new(&site.log("closed/app.log"), "c");
    let mut open = Writer::new(&site.log("open/app.log"), "o");
    let of = |tag: &str| kinesis.see(|l| l.data().iter().filter(|r| r.starts_with(tag.as_bytes())).count() as u64);
    both_written(&mut closed, &mut open);
    let Some(command) = run() else { return };
    let mut agent = Agent::start(&site, command);
    expect("both files", SOON, || of("c") >= 100 && of("o") >= 100);
    for down in [false, true] {
        set_mode(&site.log("closed"), 0);
        agent = if down {
            agent.stop();
            Agent::start(&site, run().expect("it could run before"))
        } else {
            agent
        };
        both_written(&mut closed, &mut open);
        expect("the other file to go on", SOON, || of("o") >= open.written());
        set_mode(&site.log("closed"), 0o755);
        closed.lines(1);
        expect("the file of the folder to go on", SOON, || of("c") >= closed.written());
    }
    agent.stop();
    end_well(Agent::start(&site, unprivileged(&site, test, &["run", "--once"]).expect("it could run before")));
    let data = kinesis.see(Ledger::data);
    for (tag, written) in [("c", closed.written()), ("o", open.written())] {
        let of: Vec<_> = data.iter().filter(|r| r.starts_with(tag.as_bytes())).collect();
        assert_all_once(&of, tag, written, 0);
    }
}

#[test]
fn once_fails_when_a_file_could_never_be_opened() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("*.log", &kinesis.url()));
    Writer::new(&site.log("app.log"), "a").lines(10);
    append(&site.log("secret.log"), "nobody reads this\n");
    set_mode(&site.log("secret.log"), 0);
    let Some(command) = unprivileged(&site, "once_fails_when_a_file_could_never_be_opened", &["run", "--once"]) else {
        return;
    };
    let mut agent = Agent::start(&site, command);
    assert_eq!(agent.wait(SOON).code(), Some(1), "{}", agent.log());
    assert!(agent.log().contains("secret.log"), "the file is not named: {}", agent.log());
    kinesis.see(|l| assert_all_once(&l.data(), "a", 10, 0));
}

#[test]
fn a_folder_that_is_not_there_at_the_start_is_followed_when_it_comes() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("later/still/app.log", &kinesis.url()).source("start_at: end"));
    let agent = Agent::run(&site);
    assert!(agent.says(&["flow started"], SOON));
    fs::create_dir_all(site.log("later/still")).expect("a new folder");
    let mut writer = Writer::new(&site.log("later/still/app.log"), "a");
    writer.lines(100);
    expect("the first lines", SOON, || kinesis.count() >= 100);
    writer.lines(100);
    settle(&site, agent, &kinesis, "a", 200);
}

/// The folder of the logs goes away and comes back with the same files, in which was written meanwhile.
#[track_caller]
fn check_folder_away(start_without_it: bool) {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app/*.log", &kinesis.url()));
    fs::create_dir(site.log("app")).expect("a new folder");
    let mut writer = Writer::new(&site.log("app/a.log"), "a");
    writer.lines(100);
    let mut agent = Agent::run(&site);
    for round in 1..=3 {
        expect("what was written", SOON, || kinesis.count() as u64 >= writer.written());
        fs::rename(site.log("app"), site.path("away")).expect("a folder can be renamed");
        agent = if start_without_it {
            agent.stop();
            Agent::run(&site)
        } else {
            agent
        };
        assert!(agent.says(&["file is gone"], SOON), "nobody noticed");
        writer.lines(round * 10);
        fs::rename(site.path("away"), site.log("app")).expect("a folder can be renamed");
        writer.lines(100);
    }
    settle(&site, agent, &kinesis, "a", writer.written());
}

#[test]
fn a_folder_that_goes_away_and_comes_back_loses_and_repeats_nothing() {
    check_folder_away(false);
}

#[test]
fn a_folder_that_is_away_when_the_agent_starts_loses_and_repeats_nothing() {
    check_folder_away(true);
}

#[test]
fn two_patterns_that_reach_a_folder_under_two_names_both_find_their_files() {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("real/*.log", &kinesis.url()).also("link/*.txt").also("other/*/*.csv"));
    fs::create_dir_all(site.log("real")).expect("a new folder");
    fs::create_dir_all(site.log("other")).expect("a new folder");
    symlink("real", site.log("link")).expect("a new link");
    symlink("../real", site.log("other/link")).expect("a new link");
    for name in ["a.log", "a.txt", "a.csv"] {
        append(&site.log("real").join(name), format!("{name}\n"));
    }
    let agent = Agent::run(&site);
    expect("a line of each", SOON, || kinesis.count() >= 3);
    agent.stop();
    Agent::once(&site, SOON);
    assert_exactly(&kinesis.see(Ledger::data), &["a.log\n", "a.txt\n", "a.csv\n"]);
}
