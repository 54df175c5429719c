//! The real binary as a process: started, signalled, waited for, ended by its own id when the test is over.
//! Its environment is made from nothing, so that no proxy, profile or region of the machine reaches it.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{SOON, expect, site::Site, skipped, until};

/// A running agent.
pub(crate) struct Agent {
    child: Child,
    log: PathBuf,
}

impl Agent {
    /// `headwater run`.
    pub(crate) fn run(site: &Site) -> Self {
        Self::start(site, command(site, &["run"]))
    }

    /// `headwater run --once`, waited for; it has to succeed.
    #[track_caller]
    pub(crate) fn once(site: &Site, limit: Duration) {
        let mut agent = Self::start(site, command(site, &["run", "--once"]));
        let status = agent.wait(limit);
        assert!(status.success(), "run --once ended with {status}");
    }

    /// Any command, its stderr appended to a file of the site.
    pub(crate) fn start(site: &Site, mut command: Command) -> Self {
        let log = site.path("agent.log");
        let stderr = OpenOptions::new().append(true).create(true).open(&log).expect("a file for the agent's log");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        Self { child: command.spawn().expect("the agent can be started"), log }
    }

    fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the agent is there to be signalled");
    }

    pub(crate) fn alive(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// SIGKILL, at once and without a farewell.
    pub(crate) fn kill(mut self) {
        assert!(self.alive(), "the agent ended before it was killed");
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// SIGTERM, and the exit code has to be 0.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        assert!(self.alive(), "the agent ended before it was told to");
        self.signal(Signal::TERM);
        let status = self.wait(Duration::from_secs(40));
        assert!(status.success(), "a clean stop ended with {status}");
    }

    /// Waits for it to end by itself.
    #[track_caller]
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        expect("the agent to end", limit, || !self.alive());
        self.child.wait().expect("a child can be waited for")
    }

    /// Its threads' numbers by their names.
    pub(crate) fn threads(&self) -> BTreeMap<String, u32> {
        let folder = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("a running process");
        let number = |entry: fs::DirEntry| entry.file_name().to_str().and_then(|n| n.parse().ok());
        let threads = folder.filter_map(|entry| {
            let entry = entry.ok()?;
            // A thread may end between the two looks.
            let name = fs::read_to_string(entry.path().join("comm")).ok()?;
            Some((name.trim().to_owned(), number(entry)?))
        });
        threads.collect()
    }

    /// Whether it has this file open.
    pub(crate) fn holds(&self, file: &Path) -> bool {
        let folder = fs::read_dir(format!("/proc/{}/fd", self.child.id())).into_iter().flatten().flatten();
        folder.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|open| open == file)
    }

    /// Bytes of memory it holds now.
    pub(crate) fn resident(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// Most bytes of memory it ever held.
    pub(crate) fn most_resident(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, key: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("a running process");
        let line = status.lines().find_map(|l| l.strip_prefix(key)).expect("it is always there");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number of kB") * 1024
    }

    /// What it and the agents before it at this site wrote to stderr.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether the log comes to hold one of these words within `limit`, letter case aside.
    pub(crate) fn says(&self, words: &[&str], limit: Duration) -> bool {
        until(limit, || {
            let log = self.log().to_lowercase();
            words.iter().any(|w| log.contains(&w.to_lowercase()))
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.alive() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            eprintln!("--- the agent's last words\n{}", lines[lines.len().saturating_sub(30)..].join("\n"));
        }
    }
}

/// The binary under test: the one just built, or an installed one that `HEADWATER_TEST_BINARY` names.
pub(crate) fn binary() -> OsString {
    std::env::var_os("HEADWATER_TEST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_headwater").into())
}

/// The same as a user without privileges, to whom the site belongs from now on: nothing is forbidden to root.
/// `None`, and the test says so, where that user cannot even run the binary.
pub(crate) fn unprivileged(site: &Site, test: &str, arguments: &[&str]) -> Option<Command> {
    const NOBODY: u32 = 65534;
    let mut command = command(site, arguments);
    if !rustix::process::getuid().is_root() {
        return Some(command);
    }
    site.give_to(NOBODY);
    command.uid(NOBODY).gid(NOBODY);
    let mut version = bare(site, binary());
    version.uid(NOBODY).gid(NOBODY).arg("--version").stdout(Stdio::null());
    if version.status().is_ok_and(|s| s.success()) {
        return Some(command);
    }
    skipped(test, "the binary is out of reach for other users");
    None
}

/// The binary with `-c` the site's configuration.
pub(crate) fn command(site: &Site, arguments: &[&str]) -> Command {
    let mut command = bare(site, binary());
    command.args(arguments).arg("-c").arg(site.config_file());
    command
}

/// Any program in the agent's environment.
pub(crate) fn bare(site: &Site, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", site.path("home"))
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .current_dir(site.path("home"));
    command
}

/// Runs a command to its end, which has to come soon, and hands back all it said.
#[track_caller]
pub(crate) fn output(mut command: Command) -> Output {
    let capture = || tempfile::tempfile().expect("a temporary file");
    let (mut stdout, mut stderr) = (capture(), capture());
    let own = |file: &File| file.try_clone().expect("one more descriptor");
    command.stdin(Stdio::null()).stdout(own(&stdout)).stderr(own(&stderr));
    let mut child = command.spawn().expect("the agent can be started");
    let ended = || child.try_wait().expect("a child can be waited for").is_some();
    if !until(SOON, ended) {
        let _ = child.kill();
    }
    let status = child.wait().expect("a child can be waited for");
    assert_ne!(status.signal(), Some(9), "{command:?} did not end within {SOON:?}");
    let all = |file: &mut File| {
        let mut bytes = Vec::new();
        file.rewind().and_then(|()| file.read_to_end(&mut bytes)).expect("a file just written");
        bytes
    };
    Output { status, stdout: all(&mut stdout), stderr: all(&mut stderr) }
}
