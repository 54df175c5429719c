//! `headwater migrate`: from where the Java agent stopped, with its own configuration and a database like its own,
//! nothing is lost and nothing comes twice.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Output,
    time::{Duration, SystemTime},
};

use rusqlite::Connection;

use crate::support::{
    SOON,
    agent::{Agent, bare, binary, output},
    expect,
    faults::Kinesis,
    ledger::Ledger,
    site::Site,
    skipped,
    tally::assert_exactly,
    writer::append,
};

/// A machine where the Java agent ran until now.
struct Machine {
    site: Site,
    kinesis: Kinesis,
    database: Connection,
}

impl Machine {
    /// One flow for each of these patterns below the logs' folder.
    fn new(patterns: &[&str]) -> Self {
        let (site, kinesis) = (Site::new(), Kinesis::start());
        let database = Connection::open(site.path("checkpoints")).expect("a new database");
        database
            .execute(
                "CREATE TABLE FILE_CHECKPOINTS (flow TEXT NOT NULL, path TEXT NOT NULL, fileId TEXT NOT NULL, \
                 lastModifiedTime BIGINT NOT NULL, size BIGINT NOT NULL, offset BIGINT NOT NULL, \
                 lastUpdated DATETIME NOT NULL, PRIMARY KEY (flow, path))",
                (),
            )
            .expect("a table");
        let machine = Self { site, kinesis, database };
        machine.configure(patterns, "");
        machine
    }

    fn configure(&self, patterns: &[&str], keys: &str) {
        let flow = |pattern: &&str| {
            let pattern = self.site.log(pattern).display().to_string();
            format!("{{ \"filePattern\": \"{pattern}\", \"kinesisStream\": \"logs\" {keys} }}")
        };
        let flows = patterns.iter().map(flow).collect::<Vec<_>>().join(",\n");
        let text = format!(
            "{{\n\"cloudwatch.emitMetrics\": false,\n\"headwater.stateDir\": \"{}\",\n\"checkpointFile\": \"{}\",\n\
             \"kinesis.endpoint\": \"{}\",\n\"kinesis.region\": \"eu-west-1\",\n\"flows\": [ {flows} ]\n}}",
            self.site.state_dir().display(),
            self.site.path("checkpoints").display(),
            self.kinesis.url(),
        );
        fs::write(self.from(), text).expect("the configuration can be written");
        // What `Agent` runs is the very same file.
        fs::write(self.site.config_file(), fs::read(self.from()).expect("just written")).expect("a second copy");
    }

    fn from(&self) -> PathBuf {
        self.site.path("agent.json")
    }

    fn id(&self, pattern: &str) -> String {
        format!("kinesis:logs:{}", self.site.log(pattern).display())
    }

    /// What the Java agent writes when it delivered a file up to an offset.
    fn checkpoint(&self, pattern: &str, path: &Path, offset: usize) {
        let stat = fs::metadata(path).expect("the file is there");
        self.database
            .execute(
                "INSERT OR REPLACE INTO FILE_CHECKPOINTS VALUES (?1, ?2, ?3, ?4, ?5, ?6, strftime('%Y-%m-%d %H:%M:%f', 'now'))",
                (
                    self.id(pattern),
                    path.to_str().expect("UTF-8"),
                    format!("(dev={:x},ino={})", stat.dev(), stat.ino()),
                    stat.mtime() * 1000 + stat.mtime_nsec() / 1_000_000,
                    i64::try_from(stat.size()).expect("small"),
                    i64::try_from(offset).expect("small"),
                ),
            )
            .expect("a row");
    }

    fn migrate(&self, arguments: &[&str]) -> Output {
        let mut command = bare(&self.site, binary());
        command.arg("migrate").arg("--from").arg(self.from()).args(arguments);
        output(command)
    }

    /// Takes the checkpoints over; then the first start has to deliver these lines, once.
    #[track_caller]
    fn check(&self, wanted: &[String]) {
        let said = self.migrate(&["--checkpoints", "--apply"]);
        assert!(said.status.success(), "{}", all(&said));
        Agent::once(&self.site, SOON);
        eprintln!("{}", all(&said));
        assert_exactly(&self.kinesis.see(Ledger::data), wanted);
        Agent::once(&self.site, SOON);
        assert_exactly(&self.kinesis.see(Ledger::data), wanted);
    }
}

fn all(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

/// Lines of one length, as most logs have: their ends tell nothing.
fn lines(tag: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{tag:10} {n:05}\n")).collect()
}

const LINE: usize = 17;

#[test]
fn a_half_read_file_goes_on_where_the_java_agent_stopped() {
    for pattern in ["app.log*", "app.log"] {
        let machine = Machine::new(&[pattern]);
        let (path, lines) = (machine.site.log("app.log"), lines("one", 100));
        append(&path, lines.concat());
        machine.checkpoint(pattern, &path, 40 * LINE);
        machine.check(&lines[40..]);
    }
}

#[test]
fn what_was_written_after_the_last_checkpoint_is_delivered() {
    let machine = Machine::new(&["app.log"]);
    let (path, mut lines) = (machine.site.log("app.log"), lines("one", 100));
    append(&path, lines[..50].concat());
    machine.checkpoint("app.log", &path, 50 * LINE);
    append(&path, lines[50..].concat());
    append(&path, "the beginning of ");
    let said = machine.migrate(&["--checkpoints", "--apply"]);
    assert!(said.status.success(), "{}", all(&said));
    let agent = Agent::run(&machine.site);
    append(&path, "a line\n");
    lines.push("the beginning of a line\n".to_owned());
    expect("the rest", SOON, || machine.kinesis.count() >= 51);
    agent.stop();
    assert_exactly(&machine.kinesis.see(Ledger::data), &lines[50..]);
}

#[test]
fn a_file_that_was_rotated_meanwhile_is_finished_and_newer_ones_are_read_from_their_beginning() {
    for pattern in ["app.log*", "app.log"] {
        let machine = Machine::new(&[pattern]);
        let at = |n: u32| machine.site.log(&if n == 0 { "app.log".to_owned() } else { format!("app.log.{n}") });
        let (old, read) = (lines("older", 30), lines("read", 100));
        append(&at(1), old.concat());
        append(&at(0), read.concat());
        machine.checkpoint(pattern, &at(0), 60 * LINE);
        let mut wanted = read[60..].to_vec();
        for round in 0..2 {
            for n in (0..4).rev().filter(|n| at(*n).exists()) {
                fs::rename(at(n), at(n + 1)).expect("a log can be renamed");
            }
            let newer = lines(&format!("newer {round}"), 20);
            append(&at(0), newer.concat());
            wanted.extend(newer);
        }
        machine.check(&wanted);
    }
}

#[test]
fn a_file_that_was_truncated_meanwhile_is_read_from_its_beginning() {
    let machine = Machine::new(&["app.log"]);
    let path = machine.site.log("app.log");
    append(&path, lines("old", 100).concat());
    machine.checkpoint("app.log", &path, 100 * LINE);
    fs::write(&path, lines("new", 10).concat()).expect("a log can be rewritten");
    machine.check(&lines("new", 10));
}

#[test]
fn what_copytruncate_copied_is_finished() {
    for pattern in ["app.log*", "app.log"] {
        let machine = Machine::new(&[pattern]);
        let (path, old) = (machine.site.log("app.log"), lines("old", 100));
        append(&path, old[..90].concat());
        machine.checkpoint(pattern, &path, 80 * LINE);
        append(&path, old[90..].concat());
        fs::copy(&path, machine.site.log("app.log.1")).expect("a log can be copied");
        fs::write(&path, lines("new", 30).concat()).expect("a log can be rewritten");
        machine.check(&[&old[80..], &lines("new", 30)].concat());
    }
}

/// Until a file made now is younger than whatever was written before, in the clock of the file system, which goes in steps
/// of some milliseconds, and in the database, which knows milliseconds alone.
fn a_millisecond_passes(scratch: &Path) {
    let before = SystemTime::now() + Duration::from_millis(1);
    expect("the clock of the file system to go on", SOON, || {
        let _ = fs::remove_file(scratch);
        fs::write(scratch, "").expect("a file can be made");
        fs::metadata(scratch).and_then(|m| m.created()).expect("it says when it was made") > before
    });
    fs::remove_file(scratch).expect("it can be deleted");
}

#[test]
fn a_new_file_with_the_old_number_is_read_from_its_beginning() {
    let machine = Machine::new(&["app.log"]);
    let path = machine.site.log("app.log");
    append(&path, lines("old", 100).concat());
    machine.checkpoint("app.log", &path, 100 * LINE);
    a_millisecond_passes(&machine.site.path("home/clock"));
    let number = fs::metadata(&path).expect("the file is there").ino();
    fs::remove_file(&path).expect("a log can be deleted");
    for try_number in 0..10_000 {
        append(&path, lines("new", 300).concat());
        if fs::metadata(&path).expect("the file is there").ino() == number {
            break;
        }
        if try_number == 9_999 {
            return skipped("a_new_file_with_the_old_number...", "this file system gives no number out again");
        }
        fs::rename(&path, machine.site.path("home/taken")).expect("a log can be renamed");
    }
    machine.check(&lines("new", 300));
}

#[test]
fn a_file_that_is_gone_leaves_newer_ones_to_be_read_from_their_beginning() {
    let machine = Machine::new(&["app.log*"]);
    let (path, old) = (machine.site.log("app.log"), machine.site.log("app.log.1"));
    append(&old, lines("older", 10).concat());
    append(&path, lines("gone", 10).concat());
    machine.checkpoint("app.log*", &path, 10 * LINE);
    // So that the new file has another number.
    fs::rename(&path, machine.site.path("home/gone")).expect("a log can be renamed");
    append(&path, lines("new", 20).concat());
    machine.check(&lines("new", 20));
}

#[test]
fn a_file_that_was_compressed_meanwhile_is_finished() {
    let machine = Machine::new(&["app.log*"]);
    let (path, old) = (machine.site.log("app.log"), lines("old", 100));
    append(&path, old.concat());
    machine.checkpoint("app.log*", &path, 70 * LINE);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    std::io::Write::write_all(&mut gzip, old.concat().as_bytes()).expect("memory takes it");
    append(&machine.site.log("app.log.1.gz"), gzip.finish().expect("memory takes it"));
    fs::rename(&path, machine.site.path("home/gone")).expect("a log can be renamed");
    append(&path, lines("new", 20).concat());
    machine.check(&[&old[70..], &lines("new", 20)].concat());
}

#[test]
fn several_flows_go_on_each_in_its_place_and_one_without_a_checkpoint_starts_as_it_says() {
    let patterns = ["a.log", "b*.log", "c.log"];
    let machine = Machine::new(&patterns);
    machine.configure(&patterns, ", \"initialPosition\": \"START_OF_FILE\"");
    let mut wanted = Vec::new();
    for (tag, offset) in [("a", 20), ("b1", 100), ("b2", 30)] {
        let (path, lines) = (machine.site.log(&format!("{tag}.log")), lines(tag, 100));
        append(&path, lines.concat());
        machine.checkpoint(if tag == "a" { "a.log" } else { "b*.log" }, &path, offset * LINE);
        wanted.extend_from_slice(&lines[offset..]);
    }
    append(&machine.site.log("c.log"), lines("c", 10).concat());
    wanted.extend(lines("c", 10));
    let said = all(&machine.migrate(&["--checkpoints"]));
    assert!(said.contains("no checkpoint of the Java agent"), "{said}");
    machine.check(&wanted);
}

#[test]
fn without_apply_nothing_is_written_and_what_is_there_is_not_replaced_unasked() {
    let machine = Machine::new(&["app.log"]);
    let path = machine.site.log("app.log");
    append(&path, lines("one", 100).concat());
    machine.checkpoint("app.log", &path, 40 * LINE);
    let said = machine.migrate(&["--checkpoints"]);
    assert!(said.status.success() && all(&said).contains("dry run"), "{}", all(&said));
    assert!(
        all(&said).contains(&format!("app.log: goes on at byte {} of {}", 40 * LINE, 100 * LINE)),
        "{}",
        all(&said)
    );
    assert!(!machine.site.state_dir().exists());
    assert!(machine.migrate(&["--checkpoints", "--apply"]).status.success());
    machine.checkpoint("app.log", &path, 50 * LINE);
    for arguments in [&["--checkpoints"][..], &["--checkpoints", "--apply"]] {
        let said = machine.migrate(arguments);
        assert_eq!(said.status.code(), Some(1), "{}", all(&said));
        assert!(all(&said).contains("--force"), "{}", all(&said));
    }
    assert!(machine.migrate(&["--checkpoints", "--apply", "--force"]).status.success());
    Agent::once(&machine.site, SOON);
    assert_exactly(&machine.kinesis.see(Ledger::data), &lines("one", 100)[50..]);
}

#[test]
fn nothing_is_written_beside_a_running_agent() {
    let machine = Machine::new(&["app.log"]);
    let path = machine.site.log("app.log");
    append(&path, lines("one", 10).concat());
    machine.checkpoint("app.log", &path, 5 * LINE);
    machine.configure(&["app.log"], ", \"initialPosition\": \"START_OF_FILE\"");
    let agent = Agent::run(&machine.site);
    expect("the agent to deliver", SOON, || machine.kinesis.count() > 0);
    let said = machine.migrate(&["--checkpoints", "--apply", "--force"]);
    assert_eq!(said.status.code(), Some(1), "{}", all(&said));
    assert!(all(&said).contains("another agent"), "{}", all(&said));
    agent.stop();
}

#[test]
fn a_missing_or_foreign_database_is_an_error_that_says_so() {
    let machine = Machine::new(&["app.log"]);
    let foreign = machine.site.path("foreign");
    fs::write(&foreign, "hello\n".repeat(1_000)).expect("a file");
    for (file, part) in
        [("/no/such/file", "there is no checkpoint database"), (foreign.to_str().expect("UTF-8"), "cannot read")]
    {
        let said = machine.migrate(&["--checkpoints", "--checkpoint-file", file]);
        assert_eq!(said.status.code(), Some(1), "{}", all(&said));
        assert!(all(&said).contains(part), "{}", all(&said));
    }
}
