//! What watching costs when nothing happens, and how soon a line is seen when something does.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::Child,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use crate::{
    Settings, agent,
    data::{self, Kind},
    folder,
    measure::{cpu, memory, millions},
    sink, yaml,
};

const FILES: usize = 10_000;
const APPENDS: usize = 100;
const MAX_AGE: Duration = Duration::from_millis(100);
const IDLE: Duration = Duration::from_secs(30);

/// A running agent, ended when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Measures both, if wanted, and prints their table.
pub(crate) fn run(binary: &Path, wanted: &dyn Fn(&str) -> bool) {
    if !wanted("quiet files") {
        return;
    }
    let folder = folder();
    let files = make_files(&folder.path().join("logs"));
    let (arrived, arrivals) = mpsc::channel();
    let port = sink::serve(None, Arc::new(move |body| _ = arrived.send((Instant::now(), count(body)))));
    let config = folder.path().join("headwater.yaml");
    let glob = folder.path().join("logs/**/*.log");
    let batch = format!("{{ max_age: {}ms }}", MAX_AGE.as_millis());
    let text =
        yaml(folder.path(), &glob, &format!("http://127.0.0.1:{port}"), "start_at: end", Settings::PLAIN, &batch);
    fs::write(&config, text).expect("the configuration can be written");
    let agent = Running(agent(binary, &config).spawn().expect("the agent can be started"));

    let taken_up = settle(&agent.0);
    let before = cpu(&agent.0);
    std::thread::sleep(IDLE);
    let idle = (cpu(&agent.0) - before) / IDLE.as_secs_f64();
    println!("| {FILES} quiet files | |\n|---|---|");
    println!("| CPU to take them up | {taken_up:.2} s |");
    println!("| CPU of one core while idle, over {} s | {:.3} % |", IDLE.as_secs(), idle * 100.0);
    println!("| RSS | {:.1} MB |", megabytes(&agent.0, "VmRSS:"));
    println!("| peak RSS | {:.1} MB |", megabytes(&agent.0, "VmHWM:"));
    let late = latencies(&files, &arrivals).unwrap_or_else(|| {
        let log = fs::read_to_string(config.with_extension("log")).unwrap_or_default();
        panic!("a line did not arrive within 10 s; the agent says:\n{log}")
    });
    println!("| a line appended arrives after `max_age` + (p50) | {:.1} ms |", late[late.len() / 2]);
    println!("| the same (p99) | {:.1} ms |\n", late[late.len() * 99 / 100]);
}

/// Quiet files of ten lines, a hundred to a folder.
fn make_files(root: &Path) -> Vec<PathBuf> {
    let mut line = Vec::new();
    (0..FILES)
        .map(|number| {
            let parent = root.join(format!("{:02}", number / 100));
            fs::create_dir_all(&parent).expect("a folder");
            let path = parent.join(format!("{number:05}.log"));
            let mut file = File::create(&path).expect("a file");
            for row in 0..10 {
                data::fill(&mut line, Kind::Plain, number as u64 * 10 + row).expect("memory takes it");
                file.write_all(&line).expect("the disk takes the log");
            }
            path
        })
        .collect()
}

/// Waits until the agent is idle: three seconds in a row with next to no CPU. Returns the CPU seconds it took.
fn settle(agent: &Child) -> f64 {
    let (mut calm, mut last) = (0, cpu(agent));
    for _ in 0..120 {
        std::thread::sleep(Duration::from_secs(1));
        let now = cpu(agent);
        calm = if now > 0.0 && now - last < 0.025 { calm + 1 } else { 0 };
        last = now;
        if calm == 3 {
            break;
        }
    }
    last
}

/// Milliseconds beyond `max_age` from a line's append to its arrival, sorted. `None`: one did not arrive.
fn latencies(files: &[PathBuf], arrivals: &mpsc::Receiver<(Instant, usize)>) -> Option<Vec<f64>> {
    let mut late = Vec::with_capacity(APPENDS);
    let mut line = Vec::new();
    for number in 0..APPENDS {
        let path = &files[number * 97 % files.len()];
        let mut file = OpenOptions::new().append(true).open(path).expect("the file is there");
        data::fill(&mut line, Kind::Plain, number as u64).expect("memory takes it");
        while arrivals.try_recv().is_ok() {}
        let appended = Instant::now();
        file.write_all(&line).expect("the disk takes the line");
        let arrival = loop {
            let (at, records) = arrivals.recv_timeout(Duration::from_secs(10)).ok()?;
            if records > 0 {
                break at;
            }
        };
        late.push((arrival.duration_since(appended).as_secs_f64() - MAX_AGE.as_secs_f64()) * 1e3);
        // Some quiet between two appends, of a different length each time, so that they meet no rhythm of the agent's.
        std::thread::sleep(Duration::from_millis(37 + number as u64 * 13 % 101));
    }
    late.sort_by(f64::total_cmp);
    Some(late)
}

fn count(body: &[u8]) -> usize {
    memchr::memmem::find_iter(body, b"\"Data\"").count()
}

fn megabytes(agent: &Child, name: &str) -> f64 {
    memory(agent, name).map_or(f64::NAN, millions)
}
