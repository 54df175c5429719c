//! What rotation does while the agent is down, and behind its back: renamed, compressed, truncated, rewritten, deleted.
//! Only `app.log` matches the flows here: everything else has to be found.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::{Command, Stdio},
};

use crate::support::{
    SOON,
    agent::Agent,
    expect,
    faults::Kinesis,
    ledger::Ledger,
    site::{Site, Yaml},
    skipped,
    tally::assert_all_once,
    writer::{Rotation, Writer},
};

/// A program that replaces a file by its compressed form.
#[derive(Clone, Copy)]
struct Packer {
    program: &'static str,
    arguments: &'static [&'static str],
}

const GZIP: Packer = Packer { program: "gzip", arguments: &["-f"] };
const ZSTD: Packer = Packer { program: "zstd", arguments: &["-q", "-f", "--rm"] };

impl Packer {
    fn is_there(self) -> bool {
        let found = Command::new(self.program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        found.is_ok_and(|s| s.success())
    }

    fn pack(self, path: &Path) {
        let done = Command::new(self.program).args(self.arguments).arg(path).stdout(Stdio::null()).status();
        assert!(done.is_ok_and(|s| s.success()), "{} failed", self.program);
    }
}

fn start() -> (Site, Kinesis, Writer) {
    let (site, kinesis) = (Site::new(), Kinesis::start());
    site.configure(&Yaml::new("app.log", &kinesis.url()));
    let writer = Writer::new(&site.log("app.log"), "a");
    (site, kinesis, writer)
}

/// Waits until every line came, ends the agent, looks once more for repeats, and wants each line once.
#[track_caller]
fn settle(site: &Site, agent: Agent, kinesis: &Kinesis, writer: &Writer) {
    expect("every line", SOON, || kinesis.count() as u64 >= writer.written());
    agent.stop();
    Agent::once(site, SOON);
    kinesis.see(|l| assert_all_once(&l.data(), "a", writer.written(), 0));
}

/// Delivers some lines, writes more while the agent is down, lets `rotate` do its work, and starts again.
#[track_caller]
fn check_down(rotate: impl Fn(&Site, &mut Writer)) {
    let (site, kinesis, mut writer) = start();
    for _ in 0..2 {
        writer.lines(300);
        let agent = Agent::run(&site);
        expect("what was there", SOON, || kinesis.count() as u64 >= writer.written());
        agent.stop();
        writer.lines(200);
        rotate(&site, &mut writer);
        writer.lines(100);
        let agent = Agent::run(&site);
        expect("what was written meanwhile", SOON, || kinesis.count() as u64 >= writer.written());
        writer.lines(100);
        settle(&site, agent, &kinesis, &writer);
    }
}

#[test]
fn a_file_renamed_while_the_agent_is_down_is_finished() {
    check_down(|_, writer| writer.rotate(Rotation::Rename));
}

#[test]
fn a_file_copied_and_truncated_while_the_agent_is_down_is_finished_in_its_copy() {
    check_down(|_, writer| writer.rotate(Rotation::CopyTruncate));
}

#[track_caller]
fn check_packed_down(test: &str, packer: Packer, rotations: u64) {
    if !packer.is_there() {
        return skipped(test, &format!("{} is not installed", packer.program));
    }
    check_down(|site, writer| {
        for _ in 0..rotations {
            writer.lines(150);
            // What was packed before moves on, as logrotate would have it.
            for n in (1..20).rev() {
                for end in ["gz", "zst"] {
                    let name = |n: u32| site.log(&format!("app.log.{n}.{end}"));
                    let _ = fs::rename(name(n), name(n + 1));
                }
            }
            writer.rotate(Rotation::Rename);
            packer.pack(&site.log("app.log.1"));
        }
    });
}

#[test]
fn a_file_renamed_and_gzipped_while_the_agent_is_down_is_finished() {
    check_packed_down("a_file_renamed_and_gzipped_while_the_agent_is_down_is_finished", GZIP, 1);
}

#[test]
fn a_file_renamed_and_packed_by_zstd_while_the_agent_is_down_is_finished() {
    check_packed_down("a_file_renamed_and_packed_by_zstd_while_the_agent_is_down_is_finished", ZSTD, 1);
}

#[test]
fn five_rotations_while_the_agent_is_down_lose_nothing() {
    check_down(|_, writer| {
        for _ in 0..5 {
            writer.lines(150);
            writer.rotate(Rotation::Rename);
        }
    });
}

#[test]
fn five_rotations_with_gzip_while_the_agent_is_down_lose_nothing() {
    check_packed_down("five_rotations_with_gzip_while_the_agent_is_down_lose_nothing", GZIP, 5);
}

#[test]
fn five_rotations_with_zstd_while_the_agent_is_down_lose_nothing() {
    check_packed_down("five_rotations_with_zstd_while_the_agent_is_down_lose_nothing", ZSTD, 5);
}

#[test]
fn what_is_written_to_a_renamed_file_while_the_agent_is_down_is_delivered() {
    check_down(|site, writer| {
        for n in (1..9).rev() {
            let name = |n: u32| site.log(&format!("app.log.{n}"));
            let _ = fs::rename(name(n), name(n + 1));
        }
        fs::rename(site.log("app.log"), site.log("app.log.1")).expect("a log can be renamed");
        writer.lines(150);
        writer.reopen();
    });
}

/// Packs each rotated file at once, with the agent at it or still behind.
#[track_caller]
fn check_packed_while_running(test: &str, packer: Packer) {
    if !packer.is_there() {
        return skipped(test, &format!("{} is not installed", packer.program));
    }
    let (site, kinesis, mut writer) = start();
    let agent = Agent::run(&site);
    for round in 0..8 {
        writer.lines(200);
        if round % 2 == 0 {
            expect("the live file to be taken up", SOON, || kinesis.count() as u64 > writer.written() - 200);
        }
        writer.lines(2000);
        for n in (1..20).rev() {
            for end in ["gz", "zst"] {
                let name = |n: u32| site.log(&format!("app.log.{n}.{end}"));
                let _ = fs::rename(name(n), name(n + 1));
            }
        }
        writer.rotate(Rotation::Rename);
        writer.lines(10);
        packer.pack(&site.log("app.log.1"));
    }
    settle(&site, agent, &kinesis, &writer);
}

#[test]
fn files_gzipped_right_after_their_rotation_come_once() {
    check_packed_while_running("files_gzipped_right_after_their_rotation_come_once", GZIP);
}

#[test]
fn files_packed_by_zstd_right_after_their_rotation_come_once() {
    check_packed_while_running("files_packed_by_zstd_right_after_their_rotation_come_once", ZSTD);
}

fn cut(site: &Site) {
    fs::OpenOptions::new().write(true).truncate(true).open(site.log("app.log")).expect("a log can be cut");
}

#[test]
fn a_file_truncated_in_place_is_read_from_its_beginning() {
    let (site, kinesis, mut writer) = start();
    let mut agent = Agent::run(&site);
    for round in 0..8 {
        writer.lines(100 + 100 * (round % 3));
        expect("every line so far", SOON, || kinesis.count() as u64 >= writer.written());
        agent = if round % 2 == 0 {
            agent.stop();
            cut(&site);
            writer.lines(50);
            Agent::run(&site)
        } else {
            cut(&site);
            agent
        };
    }
    writer.lines(1);
    settle(&site, agent, &kinesis, &writer);
}

/// The same file, rewritten with other lines: more bytes than before, so that its size tells nothing.
#[track_caller]
fn check_rewritten(down: bool) {
    let (site, kinesis, mut writer) = start();
    let mut agent = Agent::run(&site);
    for round in 1..=8 {
        writer.lines(100 * round);
        expect("every line so far", SOON, || kinesis.count() as u64 >= writer.written());
        agent = if down {
            agent.stop();
            cut(&site);
            writer.lines(100 * round + 50);
            Agent::run(&site)
        } else {
            cut(&site);
            writer.lines(100 * round + 50);
            agent
        };
        expect("every line of the new life", SOON, || kinesis.count() as u64 >= writer.written());
    }
    settle(&site, agent, &kinesis, &writer);
}

#[test]
fn a_file_rewritten_and_outgrown_is_read_from_its_beginning() {
    check_rewritten(false);
}

#[test]
fn a_file_rewritten_and_outgrown_while_the_agent_is_down_is_read_from_its_beginning() {
    check_rewritten(true);
}

/// Deleted and made anew at once, so that the file system gives the new file the old one's number.
#[test]
fn a_new_file_with_the_number_of_a_deleted_one_is_read_from_its_beginning() {
    let (site, kinesis, mut writer) = start();
    let number = || fs::metadata(site.log("app.log")).expect("the log").ino();
    let mut reused = 0;
    for round in 0..6 {
        writer.lines(200);
        let agent = Agent::run(&site);
        expect("every line so far", SOON, || kinesis.count() as u64 >= writer.written());
        agent.stop();
        let old = number();
        fs::remove_file(site.log("app.log")).expect("a log can be deleted");
        // Its last handle, so that the number is free.
        writer = writer.onto("/dev/null".as_ref());
        writer = writer.onto(&site.log("app.log"));
        reused += u32::from(number() == old);
        writer.lines([100, 200, 400][round % 3]);
        let agent = Agent::run(&site);
        settle(&site, agent, &kinesis, &writer);
        fs::remove_file(site.log("app.log")).expect("a log can be deleted");
        writer = writer.onto(&site.log("app.log"));
    }
    if reused == 0 {
        skipped(
            "a_new_file_with_the_number_of_a_deleted_one_is_read_from_its_beginning",
            "numbers are not reused here",
        );
    }
}

#[test]
fn a_file_deleted_and_made_anew_while_it_is_followed_is_read_from_its_beginning() {
    let (site, kinesis, mut writer) = start();
    let agent = Agent::run(&site);
    for _ in 0..10 {
        writer.lines(100);
        expect("every line so far", SOON, || kinesis.count() as u64 >= writer.written());
        fs::remove_file(site.log("app.log")).expect("a log can be deleted");
        writer.reopen();
    }
    writer.lines(100);
    settle(&site, agent, &kinesis, &writer);
}

/// Once a flow took up such an archive and gave it up without end, and delivered nothing more.
#[track_caller]
fn check_false_archive(test: &str, packer: Packer, end: &str) {
    if !packer.is_there() {
        return skipped(test, &format!("{} is not installed", packer.program));
    }
    let (site, kinesis, _) = start();
    let head = "the same first lines in every file\n".repeat(60);
    let lines = |what: &str| (0..500).map(|n| format!("{what} {n}\n")).collect::<Vec<_>>().concat();
    fs::write(site.log("app.log"), head.clone() + &lines("first")).expect("the disk takes it");
    let agent = Agent::run(&site);
    expect("the first file", SOON, || kinesis.count() >= 560);
    agent.stop();
    fs::remove_file(site.log("app.log")).expect("a log can be deleted");
    fs::write(site.log("app.log.1"), head.clone() + &lines("another")).expect("the disk takes it");
    packer.pack(&site.log("app.log.1"));
    fs::write(site.log("app.log"), "a new file\n").expect("the disk takes it");
    let agent = Agent::run(&site);
    let came = |text: &str| kinesis.see(|l| l.accepted.iter().filter(|a| a.data.starts_with(text.as_bytes())).count());
    expect("the new file to be followed", SOON, || came("a new file") == 1);
    let mut file = fs::OpenOptions::new().append(true).open(site.log("app.log")).expect("the log");
    file.write_all(b"and more of it\n").expect("the disk takes it");
    expect("the new file to be followed on", SOON, || came("and more of it") == 1);
    agent.stop();
    Agent::once(&site, SOON);
    assert_eq!((came("first"), came("a new file"), came("and more")), (500, 1, 1));
    // It was rotated before anybody saw it, so all of it is new.
    assert_eq!((came("another"), kinesis.see(Ledger::data).len()), (500, 560 + 560 + 2), "{end}");
}

#[test]
fn an_archive_that_begins_like_a_lost_file_and_is_another_holds_nothing_up() {
    check_false_archive("an_archive_that_begins_like_a_lost_file_and_is_another_holds_nothing_up", GZIP, "gz");
    check_false_archive("an_archive_that_begins_like_a_lost_file_and_is_another_holds_nothing_up", ZSTD, "zst");
}
