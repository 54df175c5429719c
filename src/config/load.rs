//! Files to a `Config`: reads the main file, ours or the Java agent's, and the folder beside it, puts their flows together.
//! Invariant: what is read is bounded in size and number before it is parsed.

use std::{
    collections::{HashMap, hash_map::Entry},
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    Config, Location, Problem, Problems, aws,
    env::Env,
    flow,
    java::{self, Agent},
    keys, metrics,
    read::{Reader, Value},
    tree::{self, Kind, Node},
    value,
};
use crate::{aws::Aws, telemetry::cloudwatch};

/// The file that is read if none is named.
pub const DEFAULT_PATH: &str = "/etc/headwater/headwater.yaml";

/// Largest file.
const MAX_FILE: u64 = 1 << 20;
/// Most files in `conf.d` or `agent.d`.
const MAX_FILES: usize = 1_000;

/// Reads a configuration. The default path brings the flows of `conf.d/*.yaml` beside it; any other file stands alone.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Problems> {
    let folder = (path == Path::new(DEFAULT_PATH)).then(|| path.with_file_name("conf.d"));
    load_with_folder(path, folder.as_deref(), env)
}

/// Reads a main file and the flows of a folder's `*.yaml` files in the order of their names. A missing folder is empty.
pub fn load_with_folder(
    path: &Path,
    folder: Option<&Path>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Config, Problems> {
    let mut loader = Loader::new(env);
    loader.files(path, folder);
    loader.finish()
}

/// Reads a Java agent's configuration, `agent.d` beside it included: what it says, and what that means here.
pub fn load_java(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<(Agent, Config), Problems> {
    let mut loader = Loader::new(env);
    loader.files(path, None);
    if loader.java.is_none() && loader.problems.is_empty() {
        let name = Arc::clone(&loader.files[0]);
        loader.whole_file(&name, "is no configuration of the Java agent; it has flows with a `filePattern`".to_owned());
    }
    let agent = loader.java.take().unwrap_or_default();
    loader.finish().map(|config| (agent, config))
}

/// Reads a configuration from text; `file` is the name shown in problems.
pub fn parse_text(file: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Problems> {
    let mut loader = Loader::new(env);
    let name = loader.open(Path::new(file));
    if text.len() as u64 > MAX_FILE {
        loader.whole_file(&name, too_large());
    } else {
        loader.main(&name, text, None);
    }
    loader.finish()
}

struct Loader<'e> {
    env: Env<'e>,
    files: Vec<Arc<str>>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    aws: Aws,
    state_dir: PathBuf,
    shutdown_timeout: Duration,
    metrics: Option<cloudwatch::Options>,
    flows: Vec<crate::flow::Options>,
    /// Where each name was first given.
    names: HashMap<String, (Arc<str>, Location)>,
    /// Items of all `flows` lists, good or bad.
    written: usize,
    /// Where to say that there is no flow at all.
    no_flow: Option<(Arc<str>, Location)>,
    /// What the main file says, if it is the Java agent's.
    java: Option<Agent>,
}

impl<'e> Loader<'e> {
    fn new(env: Env<'e>) -> Self {
        Self {
            env,
            files: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
            aws: Aws::default(),
            state_dir: PathBuf::from("/var/lib/headwater"),
            shutdown_timeout: Duration::from_secs(30),
            metrics: None,
            flows: Vec::new(),
            names: HashMap::new(),
            written: 0,
            no_flow: None,
            java: None,
        }
    }

    /// The main file and a folder of others.
    fn files(&mut self, path: &Path, folder: Option<&Path>) {
        let name = self.open(path);
        match read_file(path) {
            Ok(text) => self.main(&name, &text, Some(path)),
            Err(why) => self.whole_file(&name, why),
        }
        if let Some(folder) = folder {
            self.folder(folder);
        }
    }

    fn open(&mut self, path: &Path) -> Arc<str> {
        let name: Arc<str> = path.display().to_string().into();
        self.files.push(Arc::clone(&name));
        name
    }

    fn whole_file(&mut self, file: &Arc<str>, text: String) {
        self.problems.push(Problem { file: Arc::clone(file), at: None, key: String::new(), text });
    }

    /// The tree, if the text is YAML.
    fn tree(&mut self, file: &Arc<str>, text: &str) -> Option<Node> {
        match tree::parse(text) {
            Ok(root) => Some(root),
            Err(fault) => {
                let (file, at) = (Arc::clone(file), Some(fault.at));
                self.problems.push(Problem { file, at, key: String::new(), text: fault.text });
                None
            }
        }
    }

    /// The main file; `path` is where it stands, if it is a file at all.
    fn main(&mut self, file: &Arc<str>, text: &str, path: Option<&Path>) {
        if java::is_java(file, text) {
            return self.java(file, text, path);
        }
        let Some(root) = self.tree(file, text) else { return };
        // YAML takes JSON with many a mistake in it.
        if is_java_tree(&root) {
            return self.java(file, text, path);
        }
        let mut r = Reader::new(Arc::clone(file), self.env);
        if let Some(map) = r.map(&Value { key: String::new(), node: &root }, &keys::TOP) {
            if let Some(dir) = r.key(&map, "state_dir", value::absolute_path) {
                self.state_dir = dir;
            }
            let hour = Duration::from_hours(1);
            if let Some(time) = r.key(&map, "shutdown_timeout", |text| value::duration(text, &(Duration::ZERO..=hour)))
            {
                self.shutdown_timeout = time;
            }
            self.aws = map.get("aws").map(|value| aws::aws(&mut r, &value)).unwrap_or_default();
            self.metrics = map.get("metrics").and_then(|value| metrics::metrics(&mut r, &value, &self.aws));
            let flows = map.get("flows");
            let list = flows.as_ref().map(|value| r.list(value));
            // A list of the wrong type was reported already.
            if !matches!(list, Some(None)) {
                let at = flows.as_ref().map_or(map.at, |value| value.node.at);
                self.no_flow = Some((Arc::clone(file), at));
            }
            self.flows(&mut r, list.flatten().unwrap_or_default());
        }
        self.take(r);
    }

    /// A main file of the Java agent, and the flows of every file in `agent.d` beside it.
    fn java(&mut self, file: &Arc<str>, text: &str, path: Option<&Path>) {
        let (mut agent, found) = java::main(Arc::clone(file), text);
        self.take_java(found);
        self.metrics = java::metrics(&agent);
        let folder = path.map(|path| path.with_file_name("agent.d"));
        let files = folder.as_ref().map_or(Ok(Vec::new()), |folder| java_files(folder));
        for path in files.unwrap_or_else(|why| self.no_folder(folder.as_deref().unwrap_or(Path::new("")), why)) {
            let name = self.open(&path);
            match read_file(&path) {
                Ok(text) => {
                    let found = java::more(&mut agent, name, &text);
                    self.take_java(found);
                }
                Err(why) => {
                    let text = format!("{why}; the file is left out, as in the Java agent");
                    self.warnings.push(Problem { file: name, at: None, key: String::new(), text });
                }
            }
        }
        if agent.flows.is_empty() && self.problems.is_empty() {
            self.problems.push(java::no_flow(Arc::clone(file), text));
        }
        let from_env = || (self.env)(java::STATE_DIR_VARIABLE).filter(|dir| !dir.is_empty()).map(PathBuf::from);
        self.state_dir = agent.state_dir.clone().or_else(from_env).unwrap_or_else(|| self.state_dir.clone());
        if !self.state_dir.is_absolute() {
            let text = format!("{} is not an absolute path; begin it with `/`", java::STATE_DIR_VARIABLE);
            self.whole_file(file, text);
        }
        let most = Duration::from_hours(1);
        self.shutdown_timeout = agent.shutdown_timeout.map_or(self.shutdown_timeout, |time| time.min(most));
        self.java = Some(agent);
    }

    fn take_java(&mut self, found: java::Found) {
        self.flows.extend(found.options);
        self.problems.extend(found.problems);
        self.warnings.extend(found.warnings);
    }

    /// Reports that a folder cannot be read, and goes on without its files.
    fn no_folder(&mut self, folder: &Path, why: String) -> Vec<PathBuf> {
        let name = self.open(folder);
        self.whole_file(&name, why);
        Vec::new()
    }

    fn folder(&mut self, folder: &Path) {
        let files = yaml_files(folder).unwrap_or_else(|why| self.no_folder(folder, why));
        for path in files {
            let name = self.open(&path);
            match read_file(&path) {
                Ok(text) => self.flows_only(&name, &text),
                Err(why) => self.whole_file(&name, why),
            }
        }
    }

    fn flows_only(&mut self, file: &Arc<str>, text: &str) {
        let Some(root) = self.tree(file, text) else { return };
        let mut r = Reader::new(Arc::clone(file), self.env);
        if let Some(map) = r.map(&Value { key: String::new(), node: &root }, &keys::CONF_D)
            && let Some(list) = map.get("flows").and_then(|value| r.list(&value))
        {
            self.flows(&mut r, list);
        }
        self.take(r);
    }

    fn flows(&mut self, r: &mut Reader<'e>, items: Vec<Value<'_>>) {
        self.written += items.len();
        for item in items {
            let (name, flow) = flow::flow(r, &item, &self.aws);
            if let Some((name, at)) = name {
                self.name(r, name, at, &item.key);
            }
            self.flows.extend(flow);
        }
    }

    /// Holds that names are unique across files.
    fn name(&mut self, r: &mut Reader<'e>, name: String, at: Location, key: &str) {
        match self.names.entry(name) {
            Entry::Occupied(first) => {
                let (file, Location { line, column }) = first.get();
                let text = format!(
                    "another flow has this name: {file}:{line}:{column}; it is the checkpoint's key, so give each its own"
                );
                r.problem_at(at, &format!("{key}.name"), text);
            }
            Entry::Vacant(place) => {
                place.insert((Arc::clone(&r.file), at));
            }
        }
    }

    fn take(&mut self, r: Reader<'_>) {
        self.problems.extend(r.problems);
        self.warnings.extend(r.warnings);
    }

    fn finish(mut self) -> Result<Config, Problems> {
        if self.written == 0
            && let Some((file, at)) = self.no_flow.take()
        {
            let text =
                format!("there is no flow, so nothing is delivered; write one, like `{}`, and reload", flow::MINIMAL);
            self.warnings.push(Problem { file, at: Some(at), key: "flows".to_owned(), text });
        }
        if !self.problems.is_empty() {
            return Err(Problems::new(self.problems, &self.files));
        }
        Ok(Config {
            state_dir: self.state_dir,
            flows: self.flows,
            shutdown_timeout: self.shutdown_timeout,
            metrics: self.metrics,
            warnings: self.warnings.iter().map(ToString::to_string).collect(),
        })
    }
}

/// Whether the tree is what the Java agent's `agent.json` makes.
fn is_java_tree(root: &Node) -> bool {
    let value = |map: &Node, name: &str| match &map.kind {
        Kind::Map(entries) => entries.iter().find(|(key, _)| &*key.name == name).map(|(_, value)| value.clone()),
        _ => None,
    };
    let Some(Kind::Seq(flows)) = value(root, "flows").map(|flows| flows.kind) else { return false };
    flows.first().is_some_and(|flow| value(flow, "filePattern").is_some())
}

fn too_large() -> String {
    "is larger than 1 MiB; no configuration needs that, so this is probably another file".to_owned()
}

/// A file's text, or what is wrong with it.
fn read_file(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes))
        .map_err(|error| explain(&error))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(too_large());
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + memchr::memchr_iter(b'\n', good).count();
        format!("is not UTF-8 text: line {line} holds a byte that is none; save it as UTF-8")
    })
}

fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "does not exist; create it, or name another with --config".to_owned(),
        io::ErrorKind::PermissionDenied => {
            "may not be read by this user; allow it to, or run as one who may".to_owned()
        }
        io::ErrorKind::IsADirectory => "is a folder; name a file".to_owned(),
        _ => format!("cannot be read: {error}"),
    }
}

/// The `*.yaml` files of a folder by name; none if there is no folder.
fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    files_of(folder, |path| {
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        !hidden && path.extension().is_some_and(|extension| extension == "yaml")
    })
}

/// The regular files of a folder by name, whatever they are called; none if there is no folder.
fn java_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    files_of(folder, Path::is_file)
}

fn files_of(folder: &Path, wanted: impl Fn(&Path) -> bool) -> Result<Vec<PathBuf>, String> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(explain(&error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| explain(&error))?.path();
        if wanted(&path) {
            files.push(path);
        }
        if files.len() > MAX_FILES {
            return Err(format!("holds more than {MAX_FILES} files; put several flows into one"));
        }
    }
    files.sort();
    Ok(files)
}
