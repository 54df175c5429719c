//! How fast, and at what cost: one file from its first byte to its last.

use std::{fs, path::Path, process::Command};

use crate::{
    data::{self, Kind},
    folder,
    measure::{self, Cost, millions},
    sink, yaml,
};

/// One row of the table.
struct Scenario {
    name: &'static str,
    kind: Kind,
    tls: bool,
    /// Whose cost this one's is compared with.
    to: &'static str,
    sender: Sender,
}

/// Who sends.
#[derive(Clone, Copy)]
enum Sender {
    /// The SDK alone: each line a record, or as many as a record of this many bytes holds.
    Sdk {
        record: usize,
    },
    Agent(Settings),
}

/// What the agent's configuration says, besides where to read and where to send.
#[derive(Clone, Copy)]
pub(crate) struct Settings {
    /// The lines under `process:`.
    pub(crate) process: &'static [&'static str],
    /// More keys of `kinesis:`, each after a comma.
    pub(crate) destination: &'static str,
    /// More lines of the flow.
    pub(crate) flow: &'static [&'static str],
}

impl Settings {
    pub(crate) const PLAIN: Self = Self { process: &[], destination: "", flow: &[] };
}

const REGEX: &str = r"parse: { regex: '^(?P<time>\S+) (?P<level>\w+) (?P<thread>\S+) (?P<message>.*)$' }";

const CSV: &str = "parse: { csv: { fields: [time, host, method, path, status, bytes, took, user, note, rest] } }";

const ONCE: &[&str] = &["delivery: exactly_once"];
const JOINED: &str = ", aggregate: true";
/// As large as a record may be.
const LARGE: &str = ", aggregate: 1MiB";

/// Each line a record.
const ALONE: &str = "SDK alone, HTTP";
const ALONE_TLS: &str = "SDK alone, TLS";
/// Joined to records as large as they may be.
const ALONE_JOINED: &str = "SDK alone, records of 1 MB, HTTP";
const RAW: &str = "raw, HTTP";

const SCENARIOS: [Scenario; 16] = [
    alone(ALONE, 0),
    raw(RAW, ALONE, "", &[]),
    raw("raw, exactly once, HTTP", RAW, "", ONCE),
    alone(ALONE_JOINED, 1_000_000),
    raw("joined, HTTP", ALONE_JOINED, JOINED, &[]),
    raw("joined, exactly once, HTTP", ALONE_JOINED, JOINED, ONCE),
    raw("joined to 1 MiB, HTTP", ALONE_JOINED, LARGE, &[]),
    Scenario { tls: true, ..alone(ALONE_TLS, 0) },
    Scenario { tls: true, ..raw("raw, TLS", ALONE_TLS, "", &[]) },
    processed("regex to JSON, HTTP", Kind::Plain, &[REGEX, "emit: json"]),
    Scenario { tls: true, to: ALONE_TLS, ..processed("regex to JSON, TLS", Kind::Plain, &[REGEX, "emit: json"]) },
    processed("combined to JSON, HTTP", Kind::Combined, &["parse: combined", "emit: json"]),
    processed("CSV to JSON, HTTP", Kind::Csv, &[CSV, "emit: json"]),
    processed("JSON plus a field, HTTP", Kind::Json, &["parse: json", "add: { host: '${host}' }", "emit: json"]),
    processed("syslog to JSON, HTTP", Kind::Syslog, &["parse: syslog_rfc3164", "emit: json"]),
    Scenario {
        name: "joined by key, HTTP",
        kind: Kind::Plain,
        tls: false,
        to: ALONE_JOINED,
        sender: Sender::Agent(Settings {
            process: &[REGEX, "emit: raw"],
            destination: ", aggregate: true, partition_key: { field: thread }",
            flow: &[],
        }),
    },
];

const fn alone(name: &'static str, record: usize) -> Scenario {
    Scenario { name, kind: Kind::Plain, tls: false, to: name, sender: Sender::Sdk { record } }
}

const fn raw(
    name: &'static str,
    to: &'static str,
    destination: &'static str,
    flow: &'static [&'static str],
) -> Scenario {
    let sender = Sender::Agent(Settings { process: &[], destination, flow });
    Scenario { name, kind: Kind::Plain, tls: false, to, sender }
}

const fn processed(name: &'static str, kind: Kind, process: &'static [&'static str]) -> Scenario {
    let sender = Sender::Agent(Settings { process, destination: "", flow: &[] });
    Scenario { name, kind, tls: false, to: ALONE, sender }
}

/// Measures the scenarios that are wanted, in as many rounds as are wanted, and prints their medians: a slow spell of the
/// machine then falls on all of them alike.
pub(crate) fn run(binary: &Path, wanted: &dyn Fn(&str) -> bool) {
    let megabytes = setting("HEADWATER_BENCH_MB", 1000);
    let scenarios: Vec<_> = SCENARIOS.iter().filter(|s| wanted(s.name)).collect();
    if scenarios.is_empty() {
        return;
    }
    let rounds = setting("HEADWATER_BENCH_ROUNDS", 1);
    println!(
        "{megabytes} MB of lines of 190 bytes, 500 records a request, default buffer; medians of {rounds} rounds\n"
    );
    let folder = folder();
    let mut runs: Vec<Vec<Run>> = scenarios.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for kind in [Kind::Plain, Kind::Combined, Kind::Csv, Kind::Json, Kind::Syslog] {
            let log = folder.path().join("bench.log");
            let of_kind = || scenarios.iter().zip(0..).filter(|(s, _)| s.kind == kind);
            if of_kind().next().is_none() {
                continue;
            }
            let bytes = data::write(&log, kind, megabytes * 1_000_000).expect("the disk takes the log");
            for (scenario, i) in of_kind() {
                let cost = measure(scenario, binary, folder.path(), &log);
                runs[i].push(Run::new(&cost, bytes));
            }
        }
    }
    println!(
        "| scenario | MB/s | CPU s/GB | to | ratio: least, median, most | peak RSS MB |\n|---|---|---|---|---|---|"
    );
    for (scenario, own) in scenarios.iter().zip(&runs) {
        let reference = scenarios.iter().position(|s| s.name == scenario.to).map(|i| &runs[i]);
        let ratios = reference.map(|reference| {
            let of_round = own.iter().zip(reference).map(|(own, reference)| own.per_gb / reference.per_gb);
            let (least, median, most) = spread(of_round);
            format!("{least:.2}, {median:.2}, {most:.2}")
        });
        let middle = |figure: fn(&Run) -> f64| spread(own.iter().map(figure)).1;
        let (speed, per_gb, peak) = (middle(|r| r.speed), middle(|r| r.per_gb), middle(|r| r.peak));
        let (name, to, ratios) = (scenario.name, scenario.to, ratios.unwrap_or_else(|| "-".into()));
        println!("| {name} | {speed:.0} | {per_gb:.2} | {to} | {ratios} | {peak:.1} |");
    }
    println!();
}

/// What one run took.
struct Run {
    /// MB a second.
    speed: f64,
    /// CPU seconds for a GB.
    per_gb: f64,
    /// MB.
    peak: f64,
}

impl Run {
    fn new(cost: &Cost, bytes: u64) -> Self {
        let speed = millions(bytes) / cost.elapsed.as_secs_f64();
        Self { speed, per_gb: cost.cpu / (millions(bytes) / 1e3), peak: millions(cost.peak) }
    }
}

/// The least, the median and the largest of some figures.
fn spread(figures: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    (figures[0], figures[figures.len() / 2], figures[figures.len() - 1])
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(otherwise)
}

/// One run, with a sink and a state directory of its own.
fn measure(scenario: &Scenario, binary: &Path, folder: &Path, log: &Path) -> Cost {
    let ca = folder.join("ca.pem");
    let sink = sink::Process::start(scenario.tls, &ca);
    let command = match scenario.sender {
        Sender::Sdk { record } => {
            let mut command = Command::new(std::env::current_exe().expect("this program's own path"));
            command.arg("role-sdk").arg(log).arg(&sink.url).arg(record.to_string());
            command
        }
        Sender::Agent(settings) => {
            let config = folder.join("headwater.yaml");
            fs::write(&config, yaml(folder, log, &sink.url, "start_at: beginning", settings, "{}")).expect("a file");
            let mut command = crate::agent(binary, &config);
            command.arg("--once");
            command
        }
    };
    let cost = measure::run(with_authority(command, scenario.tls.then_some(&ca)));
    let _ = fs::remove_dir_all(folder.join("state"));
    cost
}

fn with_authority(mut command: Command, ca: Option<&std::path::PathBuf>) -> Command {
    if let Some(ca) = ca {
        command.env("AWS_CA_BUNDLE", ca);
    }
    command
}
