//! Files to a `Config`: reads the main file and the folder beside it, puts their flows together.
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
    flow, keys,
    read::{Reader, Value},
    tree::{self, Kind, Node},
    value,
};
use crate::aws::Aws;

/// The file that is read if none is named.
pub const DEFAULT_PATH: &str = "/etc/headwater/headwater.yaml";

/// Largest file.
const MAX_FILE: u64 = 1 << 20;
/// Most files in `conf.d`.
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
    let name = loader.open(path);
    match read_file(path) {
        Ok(text) => loader.main(&name, &text),
        Err(why) => loader.whole_file(&name, why),
    }
    if let Some(folder) = folder {
        loader.folder(folder);
    }
    loader.finish()
}

/// Reads a configuration from text; `file` is the name shown in problems.
pub fn parse_text(file: &str, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Config, Problems> {
    let mut loader = Loader::new(env);
    let name = loader.open(Path::new(file));
    if text.len() as u64 > MAX_FILE {
        loader.whole_file(&name, too_large());
    } else {
        loader.main(&name, text);
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
    flows: Vec<crate::flow::Options>,
    /// Where each name was first given.
    names: HashMap<String, (Arc<str>, Location)>,
    /// Items of all `flows` lists, good or bad.
    written: usize,
    /// Where to say that there is no flow at all.
    no_flow: Option<(Arc<str>, Location)>,
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
            flows: Vec::new(),
            names: HashMap::new(),
            written: 0,
            no_flow: None,
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

    fn main(&mut self, file: &Arc<str>, text: &str) {
        let Some(root) = self.tree(file, text) else { return };
        if let Some(at) = java_agent(&root) {
            let text = "this is a configuration of the Java agent, which this version cannot read; \
                        write the flow in YAML (docs/CONFIGURATION.md)";
            let (file, key) = (Arc::clone(file), String::new());
            self.problems.push(Problem { file, at: Some(at), key, text: text.to_owned() });
            return;
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

    fn folder(&mut self, folder: &Path) {
        let files = yaml_files(folder).unwrap_or_else(|why| {
            let name = self.open(folder);
            self.whole_file(&name, why);
            Vec::new()
        });
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
            let text = format!("there is no flow; write at least one, like `{}`", flow::MINIMAL);
            self.problems.push(Problem { file, at: Some(at), key: "flows".to_owned(), text });
        }
        if !self.problems.is_empty() {
            return Err(Problems::new(self.problems, &self.files));
        }
        Ok(Config {
            state_dir: self.state_dir,
            flows: self.flows,
            shutdown_timeout: self.shutdown_timeout,
            warnings: self.warnings.iter().map(ToString::to_string).collect(),
        })
    }
}

/// Whether the tree is the Java agent's `agent.json`, and where that shows.
fn java_agent(root: &Node) -> Option<Location> {
    let Kind::Map(top) = &root.kind else { return None };
    let Kind::Seq(flows) = &top.iter().find(|(key, _)| &*key.name == "flows")?.1.kind else { return None };
    let Kind::Map(flow) = &flows.first()?.kind else { return None };
    flow.iter().find(|(key, _)| &*key.name == "filePattern").map(|(key, _)| key.at)
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
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(explain(&error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| explain(&error))?.path();
        let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if !hidden && path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
        if files.len() > MAX_FILES {
            return Err(format!("holds more than {MAX_FILES} files; put several flows into one"));
        }
    }
    files.sort();
    Ok(files)
}
