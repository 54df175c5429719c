//! End to end against a load sink that stores nothing: `cargo build --release && cargo bench --bench end_to_end`.
//!
//! Prints Markdown tables for `docs/PERFORMANCE.md`. Arguments choose scenarios by a part of their names. Settings:
//! `HEADWATER_BENCH_MB` (default 1000), `HEADWATER_BENCH_ROUNDS` (default 1), `HEADWATER_BENCH_DIR` (default the system's temporary folder),
//! `HEADWATER_BENCH_BINARY` (default `target/release/headwater`, seen from this program).
//!
//! The sink, the SDK client and the agent are processes of their own, so that each one's CPU is counted apart.

mod data;
mod measure;
mod quiet;
mod sdk;
mod sink;
mod throughput;

use throughput::Settings;

use std::{
    env,
    fs::File,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).filter(|a| a != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["role-sink", tls] => sink::main(*tls == "tls"),
        ["role-sdk", file, url, record] => sdk::main(file.as_ref(), url, record.parse().expect("bytes")),
        chosen => {
            let Some(binary) = binary() else {
                eprintln!("no release binary: run `cargo build --release` first, or set HEADWATER_BENCH_BINARY");
                return ExitCode::FAILURE;
            };
            let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|part| name.contains(part));
            throughput::run(&binary, &wanted);
            quiet::run(&binary, &wanted);
        }
    }
    ExitCode::SUCCESS
}

/// The agent to measure. This program is in `target/release/deps`, the agent one folder above.
fn binary() -> Option<PathBuf> {
    let beside = || Some(env::current_exe().ok()?.parent()?.parent()?.join("headwater"));
    env::var_os("HEADWATER_BENCH_BINARY").map(PathBuf::from).or_else(beside).filter(|path| path.is_file())
}

/// A folder of its own for one scenario.
fn folder() -> tempfile::TempDir {
    let parent = env::var_os("HEADWATER_BENCH_DIR").map_or_else(env::temp_dir, PathBuf::from);
    tempfile::Builder::new().prefix("headwater-bench-").tempdir_in(parent).expect("a temporary folder")
}

/// The agent's configuration: one flow from `log` (a glob) to the sink.
fn yaml(folder: &Path, log: &Path, url: &str, source: &str, settings: Settings, batch: &str) -> String {
    let Settings { process, destination, flow } = settings;
    let mut text = format!(
        "state_dir: {}\naws: {{ region: eu-west-1, endpoint_url: '{url}' }}\nflows:\n  - name: bench\n    \
         source:\n      paths: '{}'\n      {source}\n    destination: {{ kinesis: {{ stream: bench{destination} }} }}\n    \
         batch: {batch}\n",
        folder.join("state").display(),
        log.display()
    );
    if !process.is_empty() {
        text.push_str("    process:\n");
        text.extend(process.iter().flat_map(|step| ["      - ", step, "\n"]));
    }
    text.extend(flow.iter().flat_map(|line| ["    ", line, "\n"]));
    text
}

/// `headwater run` with this configuration; what it says goes to a file beside it.
fn agent(binary: &Path, config: &Path) -> Command {
    let mut command = Command::new(binary);
    let log = File::create(config.with_extension("log")).expect("a file for the agent's log");
    command.args(["run", "-c"]).arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    command
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_EC2_METADATA_DISABLED", "true");
    for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"] {
        command.env_remove(proxy);
    }
    command
}
