//! See the agent work, with nothing to set up: `cargo run --release --example quickstart [FILE]`.
//!
//! Without a file: a Kinesis in this process, a program that logs to a file and rotates it every two seconds, and the
//! agent between them; what a consumer reads from the stream is shown as it arrives. Ends after ten seconds or Ctrl-C.
//! With a file: delivers that file, shows the first records, and counts.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    ffi::OsString,
    fs::{self, OpenOptions},
    io::Write as _,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    sync::mpsc::{self, RecvTimeoutError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use rustix::process::{Signal, getpid, kill_process};

#[path = "../tests/it/support/stand_in.rs"]
mod stand_in;

use stand_in::{Received, StandIn};

const LENGTH: Duration = Duration::from_secs(10);
const BETWEEN_LINES: Duration = Duration::from_millis(20);
const LINES_PER_FILE: u64 = 100;
const SHARDS: u32 = 2;

type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("quickstart: {e}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome {
    give_ourselves_credentials()?;
    let folder = tempfile::Builder::new().prefix("headwater-quickstart-").tempdir()?;
    let stream = StandIn::start("quickstart", SHARDS);
    match std::env::args_os().nth(1) {
        Some(file) => {
            let file = fs::canonicalize(&file).map_err(|e| format!("{}: {e}", Path::new(&file).display()))?;
            deliver(&file, folder.path(), &stream)
        }
        None => follow(folder.path(), &stream),
    }
}

/// The agent takes its credentials from the environment, as every AWS program does. The stand-in accepts any, and the
/// environment of a running program is best left alone: so this program starts itself again, once, with some set.
fn give_ourselves_credentials() -> Outcome {
    const SET: &str = "HEADWATER_QUICKSTART";
    if std::env::var_os(SET).is_some() {
        return Ok(());
    }
    let mut again = Command::new(std::env::current_exe()?);
    again.args(std::env::args_os().skip(1)).env(SET, "1");
    again.env("AWS_ACCESS_KEY_ID", "quickstart").env("AWS_SECRET_ACCESS_KEY", "quickstart");
    again.env_remove("AWS_PROFILE").env_remove("AWS_SESSION_TOKEN");
    Err(again.exec().into())
}

/// Writes the agent's configuration and returns its command line.
fn command_line(folder: &Path, log: &str, stream: &StandIn, once: bool) -> Outcome<Vec<OsString>> {
    let config = folder.join("headwater.yaml");
    let quoted = log.replace('\'', "''");
    let text = format!(
        "state_dir: {state}
aws: {{ region: us-east-1, endpoint_url: '{url}' }}
flows:
  - name: quickstart
    source: {{ paths: ['{quoted}'], start_at: beginning }}
    destination: {{ kinesis: {{ stream: quickstart }} }}
    batch: {{ max_age: 200ms }}
",
        state = folder.join("state").display(),
        url = stream.url(),
    );
    fs::write(&config, text)?;
    let mut line: Vec<OsString> = vec!["headwater".into(), "run".into(), "-c".into(), config.into()];
    line.extend(once.then(|| "--once".into()));
    Ok(line)
}

/// Starts the agent on a thread of its own. It ends by a signal, or with `--once` by itself.
fn start_agent(line: Vec<OsString>) -> JoinHandle<u8> {
    thread::spawn(move || headwater::cli::main_from(line))
}

fn join(agent: JoinHandle<u8>) -> Outcome {
    match agent.join() {
        Ok(0) => Ok(()),
        Ok(code) => Err(format!("the agent ended with exit code {code}").into()),
        Err(_) => Err("the agent panicked".into()),
    }
}

// ---- a file of the user's own ----

fn deliver(file: &Path, folder: &Path, stream: &StandIn) -> Outcome {
    let name = file.to_str().ok_or("the file's name is not UTF-8")?;
    let text = fs::read(file)?;
    println!("Delivering {name} ({} bytes) to a Kinesis stream of {SHARDS} shards in this process.\n", text.len());
    let started = Instant::now();
    join(start_agent(command_line(folder, &escaped(name), stream, true)?))?;
    let elapsed = started.elapsed();
    let received = stream.read_all();
    show_head();
    received.iter().take(10).for_each(show);
    if received.len() > 10 {
        println!("  ... and {} more", received.len() - 10);
    }
    let mut lines: HashMap<&[u8], i64> = count(text.split_inclusive(|b| *b == b'\n'));
    let records = count(received.iter().map(|r| r.data.as_slice()));
    let last = text.rsplit(|b| *b == b'\n').next().unwrap_or_default();
    if !last.is_empty() && !records.contains_key(last) {
        println!("\n(The last line has no newline, so it is not finished, and not a record yet. It is not counted.)");
        lines.remove(last);
    }
    let (wrote, holds) = (lines.values().sum::<i64>(), received.len());
    let (missing, repeated) = compare(&lines, &records);
    println!("\n{wrote} lines in the file; the stream holds {holds} records; missing {missing}; repeated {repeated}.");
    println!("Took {:.2} s.", elapsed.as_secs_f64());
    if missing + repeated == 0 { Ok(()) } else { Err("that is not what was in the file".into()) }
}

/// A file's name as a glob that matches it alone.
fn escaped(name: &str) -> String {
    let special = |c| matches!(c, '*' | '?' | '[' | ']' | '{' | '}' | '\\');
    name.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
}

fn count<'a>(items: impl Iterator<Item = &'a [u8]>) -> HashMap<&'a [u8], i64> {
    items.fold(HashMap::new(), |mut counts, item| {
        *counts.entry(item).or_default() += 1;
        counts
    })
}

/// How many of `wanted` are not in `got`, and how many of `got` are there too often.
fn compare(wanted: &HashMap<&[u8], i64>, got: &HashMap<&[u8], i64>) -> (i64, i64) {
    let more = |a: &HashMap<&[u8], i64>, b: &HashMap<&[u8], i64>| {
        a.iter().map(|(item, n)| (n - b.get(item).copied().unwrap_or(0)).max(0)).sum()
    };
    (more(wanted, got), more(got, wanted))
}

// ---- a file that is written and rotated while it is followed ----

fn follow(folder: &Path, stream: &StandIn) -> Outcome {
    let log = folder.join("app.log");
    println!("A program logs to {} and rotates it every {LINES_PER_FILE} lines.", log.display());
    println!("The agent follows it into a Kinesis stream of {SHARDS} shards in this process. Ctrl-C ends it early.\n");
    let glob = format!("{}*", log.display());
    let agent = start_agent(command_line(folder, &glob, stream, false)?);
    let (stop, stopped) = mpsc::channel();
    let writer = thread::spawn(move || write(&log, &stopped));
    show_head();
    let mut consumer = Consumer::default();
    let end = Instant::now() + LENGTH;
    while Instant::now() < end && !agent.is_finished() {
        consumer.look(stream);
        thread::sleep(Duration::from_millis(100));
    }
    drop(stop);
    let (lines, rotations) = writer.join().map_err(|_| "the writer panicked")??;
    let deadline = Instant::now() + Duration::from_secs(5);
    while consumer.lines.len() as u64 != lines && Instant::now() < deadline && !agent.is_finished() {
        consumer.look(stream);
        thread::sleep(Duration::from_millis(20));
    }
    let interrupted = agent.is_finished();
    if !interrupted {
        kill_process(getpid(), Signal::TERM)?; // the agent's handler takes it as a clean stop
    }
    join(agent)?;
    consumer.look(stream);
    let (holds, distinct) = (consumer.records, consumer.lines.len() as u64);
    let (missing, repeated) = (lines - distinct, holds - distinct);
    println!(
        "\nwrote {lines} lines across {rotations} rotations; the stream holds {holds}; missing {missing}; repeated {repeated}"
    );
    if interrupted && missing > 0 {
        println!("(the agent was stopped before the writer: what is missing would be delivered by its next start)");
    }
    Ok(())
}

/// Logs until told to stop; returns how many lines and how many rotations it was.
fn write(path: &Path, stopped: &mpsc::Receiver<()>) -> Outcome<(u64, u64)> {
    let open = || OpenOptions::new().append(true).create(true).open(path);
    let (mut file, mut rotations) = (open()?, 0);
    for number in 0.. {
        if stopped.recv_timeout(BETWEEN_LINES) != Err(RecvTimeoutError::Timeout) {
            return Ok((number, rotations));
        }
        if number > 0 && number % LINES_PER_FILE == 0 {
            rotations += 1;
            let mut old = path.as_os_str().to_owned();
            old.push(format!(".{rotations}"));
            fs::rename(path, PathBuf::from(old))?;
            file = open()?;
        }
        writeln!(file, "line {number:05} of file {:02}: {}", rotations + 1, "=".repeat((number % 23) as usize))?;
    }
    unreachable!("there is always another number")
}

/// Reads the stream and shows a record now and then: the first three of each file.
#[derive(Default)]
struct Consumer {
    /// How many records of each shard were seen.
    seen: HashMap<String, usize>,
    shown: HashMap<String, u32>,
    lines: HashSet<Vec<u8>>,
    records: u64,
}

impl Consumer {
    fn look(&mut self, stream: &StandIn) {
        let mut position: HashMap<String, usize> = HashMap::new();
        for record in stream.read_all() {
            let at = position.entry(record.shard.clone()).or_default();
            *at += 1;
            let seen = self.seen.entry(record.shard.clone()).or_default();
            if *at <= *seen {
                continue;
            }
            *seen = *at;
            self.records += 1;
            let text = String::from_utf8_lossy(&record.data);
            let file = text.split(':').next().unwrap_or_default().chars().skip(11).collect::<String>();
            let shown = self.shown.entry(file).or_default();
            *shown += 1;
            match *shown {
                1..=3 => show(&record),
                4 => println!("  ..."),
                _ => (),
            }
            self.lines.insert(record.data);
        }
    }
}

fn show_head() {
    println!("  {:<21} {:<12} data", "shard", "key");
}

fn show(record: &Received) {
    let text = String::from_utf8_lossy(&record.data);
    let line: String = text.trim_end().chars().take(80).collect();
    println!("  {:<21} {:<12} {line}", record.shard, record.partition_key);
}
