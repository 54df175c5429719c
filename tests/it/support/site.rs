//! The machine a test runs on: a folder with logs, state and configuration, gone when the test is over.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

/// A folder of its own for one test.
pub(crate) struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("headwater-").tempdir().expect("a temporary folder");
        for name in ["logs", "home"] {
            fs::create_dir(folder.path().join(name)).expect("a folder in a new folder");
        }
        Self { folder }
    }

    /// A path inside the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A path among the logs.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.path("logs").join(name)
    }

    pub(crate) fn state_dir(&self) -> PathBuf {
        self.path("state")
    }

    /// Where `configure` puts what the agent reads.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.path("headwater.yaml")
    }

    /// Writes the configuration.
    pub(crate) fn configure(&self, yaml: &Yaml) {
        self.configure_raw(&yaml.text(self.folder.path()));
    }

    /// Writes a configuration of the test's own, so that an agent that reads it meanwhile sees the old one or the new one.
    pub(crate) fn configure_raw(&self, text: &str) {
        let beside = self.path("headwater.yaml.new");
        fs::write(&beside, text).expect("the configuration can be written");
        fs::rename(beside, self.config_file()).expect("a file can be renamed");
    }

    /// Makes everything so far belong to a user; what the test makes later is the test's.
    pub(crate) fn give_to(&self, user: u32) {
        let give = |path: &Path| std::os::unix::fs::chown(path, Some(user), Some(user)).expect("root may give away");
        give(self.folder.path());
        for entry in fs::read_dir(self.folder.path()).expect("the site can be listed") {
            give(&entry.expect("an entry of the site").path());
        }
    }

    /// The dead letters of the flow, parsed.
    pub(crate) fn dead_letters(&self) -> Vec<serde_json::Value> {
        let text = fs::read_to_string(self.state_dir().join("dead-letters/test.jsonl")).unwrap_or_default();
        text.lines().map(|l| serde_json::from_str(l).expect("a dead letter is a line of JSON")).collect()
    }
}

/// A configuration with one flow called `test`. Times are short, so that tests are.
#[derive(Clone)]
pub(crate) struct Yaml {
    top: Vec<String>,
    aws: Vec<String>,
    paths: Vec<String>,
    source: Vec<String>,
    process: Vec<String>,
    destination: String,
    batch: String,
    flow: Vec<String>,
}

impl Yaml {
    /// Everything under `logs/` that matches `glob`, from its beginning, into the stream at `endpoint`.
    pub(crate) fn new(glob: &str, endpoint: &str) -> Self {
        Self {
            top: Vec::new(),
            aws: vec!["region: eu-west-1".into(), format!("endpoint_url: {endpoint}")],
            paths: vec![glob.to_owned()],
            source: vec!["start_at: beginning".into(), "poll_interval: 50ms".into()],
            process: Vec::new(),
            destination: "kinesis: { stream: logs }".into(),
            batch: "{ max_age: 50ms }".into(),
            flow: Vec::new(),
        }
    }

    /// Other paths under `logs/`, instead of those so far.
    pub(crate) fn paths(mut self, glob: &str) -> Self {
        self.paths = vec![glob.into()];
        self
    }

    /// More paths under `logs/`.
    pub(crate) fn also(mut self, glob: &str) -> Self {
        self.paths.push(glob.into());
        self
    }

    /// A line under `source:`; it takes the place of an earlier one with the same key.
    pub(crate) fn source(mut self, line: &str) -> Self {
        let key = |l: &str| l.split(':').next().map(str::to_owned);
        self.source.retain(|l| key(l) != key(line));
        self.source.push(line.into());
        self
    }

    /// A line at the top level.
    pub(crate) fn top(mut self, line: &str) -> Self {
        self.top.push(line.into());
        self
    }

    /// A line under `aws:`.
    pub(crate) fn aws(mut self, line: &str) -> Self {
        self.aws.push(line.into());
        self
    }

    /// A step of `process:`.
    pub(crate) fn step(mut self, step: &str) -> Self {
        self.process.push(step.into());
        self
    }

    /// Another destination.
    pub(crate) fn destination(mut self, line: &str) -> Self {
        self.destination = line.into();
        self
    }

    /// Other limits for a batch.
    pub(crate) fn batch(mut self, limits: &str) -> Self {
        self.batch = limits.into();
        self
    }

    /// A line of the flow, such as `buffer: 1MiB`.
    pub(crate) fn flow(mut self, line: &str) -> Self {
        self.flow.push(line.into());
        self
    }

    /// The YAML, for a site in `folder`.
    fn text(&self, folder: &Path) -> String {
        let mut text = format!("state_dir: {}\n", folder.join("state").display());
        let mut put = |indent: usize, line: &str| {
            let _ = writeln!(text, "{:indent$}{line}", "");
        };
        self.top.iter().for_each(|l| put(0, l));
        put(0, "aws:");
        self.aws.iter().for_each(|l| put(2, l));
        put(0, "flows:");
        put(2, "- name: test");
        put(4, "source:");
        put(6, "paths:");
        self.paths.iter().for_each(|p| put(8, &format!("- \"{}\"", folder.join("logs").join(p).display())));
        self.source.iter().for_each(|l| put(6, l));
        if !self.process.is_empty() {
            put(4, "process:");
            self.process.iter().for_each(|l| put(6, &format!("- {l}")));
        }
        put(4, "destination:");
        put(6, &self.destination);
        put(4, &format!("batch: {}", self.batch));
        self.flow.iter().for_each(|l| put(4, l));
        text
    }
}
