//! What a process cost: CPU seconds and peak memory, read from `/proc` while it runs and after it has ended but
//! before it is reaped.

use std::{
    fs,
    process::{Child, Command},
    time::{Duration, Instant},
};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// Clock ticks a second in `/proc/PID/stat`: 100 on every Linux that Rust's standard library knows.
const TICKS: f64 = 100.0;

/// What a run cost.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) elapsed: Duration,
    /// User and system time, every thread.
    pub(crate) cpu: f64,
    /// `VmHWM`, in bytes.
    pub(crate) peak: u64,
}

/// Runs a command to its end. Panics when it fails: a figure of a failed run is worth nothing.
pub(crate) fn run(mut command: Command) -> Cost {
    let start = Instant::now();
    let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let pid = Pid::from_child(&child);
    let mut peak = 0;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    while waitid(WaitId::Pid(pid), options).expect("a child can be waited for").is_none() {
        peak = peak.max(memory(&child, "VmHWM:").unwrap_or(0));
        std::thread::sleep(Duration::from_millis(10));
    }
    let cost = Cost { elapsed: start.elapsed(), cpu: cpu(&child), peak };
    let status = child.wait().expect("a child can be waited for");
    assert!(status.success(), "{command:?}: {status}");
    cost
}

/// CPU seconds so far; also of a process that has ended, until it is reaped.
pub(crate) fn cpu(child: &Child) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", child.id())).expect("a child that is not reaped");
    // The name, in brackets, may hold anything; after it utime and stime are the 12th and 13th words.
    let words = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    words.skip(11).take(2).map(|w| w.parse::<f64>().expect("a number of ticks")).sum::<f64>() / TICKS
}

/// A line of `/proc/PID/status`, in bytes; `None` once the process has ended.
pub(crate) fn memory(child: &Child, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let kb = status.lines().find_map(|l| l.strip_prefix(name))?;
    kb.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kb| kb * 1024)
}

/// A number of bytes in MB.
#[expect(clippy::cast_precision_loss, reason = "sizes here are far below 2^52")]
pub(crate) fn millions(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
