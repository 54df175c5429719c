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

const SCENARIOS: [Scenario; 16] = [
    Scenario { name: "SDK alone, HTTP", kind: Kind::Plain, tls: false, sender: Sender::Sdk { record: 0 } },
    raw("raw, HTTP", "", &[]),
    raw("raw, exactly once, HTTP", "", ONCE),
    Scenario {
        name: "SDK alone, records of 1 MB, HTTP",
        kind: Kind::Plain,
        tls: false,
        sender: Sender::Sdk { record: 1_000_000 },
    },
    raw("joined, HTTP", JOINED, &[]),
    raw("joined, exactly once, HTTP", JOINED, ONCE),
    raw("joined to 1 MiB, HTTP", LARGE, &[]),
    Scenario { name: "SDK alone, TLS", kind: Kind::Plain, tls: true, sender: Sender::Sdk { record: 0 } },
    Scenario { tls: true, ..raw("raw, TLS", "", &[]) },
    processed("regex to JSON, HTTP", Kind::Plain, &[REGEX, "emit: json"]),
    Scenario { tls: true, ..processed("regex to JSON, TLS", Kind::Plain, &[REGEX, "emit: json"]) },
    processed("combined to JSON, HTTP", Kind::Combined, &["parse: combined", "emit: json"]),
    processed("CSV to JSON, HTTP", Kind::Csv, &[CSV, "emit: json"]),
    processed("JSON plus a field, HTTP", Kind::Json, &["parse: json", "add: { host: '${host}' }", "emit: json"]),
    processed("syslog to JSON, HTTP", Kind::Syslog, &["parse: syslog_rfc3164", "emit: json"]),
    Scenario {
        name: "joined by key, HTTP",
        kind: Kind::Plain,
        tls: false,
        sender: Sender::Agent(Settings {
            process: &[REGEX, "emit: raw"],
            destination: ", aggregate: true, partition_key: { field: thread }",
            flow: &[],
        }),
    },
];

const fn raw(name: &'static str, destination: &'static str, flow: &'static [&'static str]) -> Scenario {
    let sender = Sender::Agent(Settings { process: &[], destination, flow });
    Scenario { name, kind: Kind::Plain, tls: false, sender }
}

const fn processed(name: &'static str, kind: Kind, process: &'static [&'static str]) -> Scenario {
    let sender = Sender::Agent(Settings { process, destination: "", flow: &[] });
    Scenario { name, kind, tls: false, sender }
}

/// Measures the scenarios that are wanted and prints their table.
pub(crate) fn run(binary: &Path, wanted: &dyn Fn(&str) -> bool) {
    let megabytes = std::env::var("HEADWATER_BENCH_MB").ok().and_then(|v| v.parse().ok()).unwrap_or(1000);
    let scenarios: Vec<_> = SCENARIOS.iter().filter(|s| wanted(s.name)).collect();
    if scenarios.is_empty() {
        return;
    }
    println!("{megabytes} MB of lines of 190 bytes, 500 records a request, default buffer\n");
    println!("| scenario | MB/s | CPU s/GB | of it to the SDK alone | peak RSS MB |\n|---|---|---|---|---|");
    let folder = folder();
    let mut alone = [None; 2];
    for kind in [Kind::Plain, Kind::Combined, Kind::Csv, Kind::Json, Kind::Syslog] {
        let log = folder.path().join("bench.log");
        let scenarios: Vec<_> = scenarios.iter().filter(|s| s.kind == kind).collect();
        if scenarios.is_empty() {
            continue;
        }
        let bytes = data::write(&log, kind, megabytes * 1_000_000).expect("the disk takes the log");
        for scenario in scenarios {
            let cost = measure(scenario, binary, folder.path(), &log);
            let per_gb = cost.cpu / (millions(bytes) / 1e3);
            let reference = &mut alone[usize::from(scenario.tls)];
            if matches!(scenario.sender, Sender::Sdk { .. }) {
                *reference = Some(per_gb);
            }
            let ratio = reference.map_or_else(|| "-".into(), |r: f64| format!("{:.2}", per_gb / r));
            let speed = millions(bytes) / cost.elapsed.as_secs_f64();
            println!("| {} | {speed:.0} | {per_gb:.2} | {ratio} | {:.1} |", scenario.name, millions(cost.peak));
        }
    }
    println!();
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
