//! `headwater migrate`: from the Java agent's configuration and checkpoints to ours. Knows no syntax of either.
//! Invariant: without `--apply` and `--output` nothing is written.

mod database;
mod plan;

use std::{
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};

use super::{EXIT_CONFIG, EXIT_FAILURE, EXIT_OK, lines};
use crate::{
    agent::lock,
    checkpoint::{journal::Journal, storage::DiskStorage},
    config::{
        self, Config,
        java::{Agent, agent::CHECKPOINT_FILE},
    },
    flow::engine::journal_path,
};
use database::Row;

const DEFAULT_FROM: &str = "/etc/aws-kinesis/agent.json";

pub(super) const EXAMPLES: &str = "\
Examples:
  headwater migrate --output new.yaml        what agent.json means, as YAML
  headwater migrate --checkpoints            which checkpoints would be taken over
  headwater migrate --checkpoints --apply    takes them over; stop both agents first

Without --from, /etc/aws-kinesis/agent.json is read.";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The Java agent's configuration, `agent.d` included.
    #[arg(long, value_name = "FILE", default_value = DEFAULT_FROM, hide_default_value = true)]
    from: PathBuf,
    /// Write the YAML here instead of to stdout.
    #[arg(long, value_name = "FILE", conflicts_with = "checkpoints")]
    output: Option<PathBuf>,
    /// Its checkpoints instead: show what would be taken over.
    #[arg(long)]
    checkpoints: bool,
    /// Its checkpoint database, if not where its configuration says.
    #[arg(long, value_name = "FILE", requires = "checkpoints")]
    checkpoint_file: Option<PathBuf>,
    /// Where our checkpoints go, if not where the configuration says.
    #[arg(long, value_name = "DIR", requires = "checkpoints")]
    state_dir: Option<PathBuf>,
    /// Write the checkpoints.
    #[arg(long, requires = "checkpoints")]
    apply: bool,
    /// Replace checkpoints of ours that are there already.
    #[arg(long, requires = "apply")]
    force: bool,
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    let (agent, config) = match config::load_java(&arguments.from, &|name| std::env::var(name).ok()) {
        Ok(found) => found,
        Err(problems) => {
            eprint!("{}", lines(&problems.to_string()));
            return EXIT_CONFIG;
        }
    };
    for warning in &config.warnings {
        eprintln!("warning: {warning}");
    }
    let done = if arguments.checkpoints { checkpoints(arguments, &agent, &config) } else { yaml(arguments, &agent) };
    done.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        EXIT_FAILURE
    })
}

fn yaml(arguments: &Arguments, agent: &Agent) -> anyhow::Result<u8> {
    let text = config::java::yaml(agent, &arguments.from.display().to_string());
    match &arguments.output {
        // Never over a configuration that somebody wrote.
        Some(path) => std::fs::File::create_new(path)
            .and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()))
            .with_context(|| format!("{}: cannot write the configuration", path.display()))?,
        None => print(&text),
    }
    Ok(EXIT_OK)
}

/// A reader that has seen enough (`| head`) is no failure.
fn print(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
}

fn checkpoints(arguments: &Arguments, agent: &Agent, config: &Config) -> anyhow::Result<u8> {
    let database = arguments.checkpoint_file.clone().or_else(|| agent.checkpoint_file.clone());
    let rows = database::read(&database.unwrap_or_else(|| CHECKPOINT_FILE.into()))?;
    let state_dir = arguments.state_dir.as_ref().unwrap_or(&config.state_dir);
    // Held to the end: an agent that runs would write its own places over these.
    let _lock = if arguments.apply { Some(lock::take(state_dir)?) } else { None };
    let mut code = EXIT_OK;
    for (flow, options) in agent.flows.iter().zip(&config.flows) {
        let own: Vec<&Row> = rows.iter().filter(|row| row.flow == flow.id()).collect();
        let plan = plan::plan(&options.source, Path::new(&flow.files.folder), &own);
        print(&format!("flow {}\n", options.name));
        if plan.places.is_none() {
            print("  no checkpoint of the Java agent: starts as initialPosition says\n");
        }
        plan.notes.iter().for_each(|note| print(&format!("  {note}\n")));
        let Some(places) = plan.places else { continue };
        match write(arguments, state_dir, &options.name, places) {
            Ok(path) if arguments.apply => print(&format!("  written to {}\n", path.display())),
            Ok(_) => {}
            Err(error) => {
                print(&format!("  nothing is written: {error:#}\n"));
                code = EXIT_FAILURE;
            }
        }
    }
    for row in orphans(&rows, agent) {
        print(&format!("not used: {row}, which is no flow of {}\n", arguments.from.display()));
    }
    print(if arguments.apply { "" } else { "dry run: nothing was written; --apply writes it\n" });
    Ok(code)
}

/// Flows that have checkpoints and are not configured.
fn orphans<'r>(rows: &'r [Row], agent: &Agent) -> std::collections::BTreeSet<&'r str> {
    let known: Vec<String> = agent.flows.iter().map(config::java::agent::Flow::id).collect();
    rows.iter().map(|row| &*row.flow).filter(|flow| !known.iter().any(|id| id == flow)).collect()
}

/// Writes a flow's places, or only says why they could not be written; and where.
fn write(
    arguments: &Arguments,
    state_dir: &Path,
    flow: &str,
    places: Vec<crate::model::Place>,
) -> anyhow::Result<PathBuf> {
    let path = journal_path(state_dir, flow);
    let mut opened = Journal::open(DiskStorage::new(path.clone()), flow, 0)?;
    if let Some(old) = opened.places.take() {
        if !arguments.force {
            bail!("{}: the flow has a checkpoint of ours already; --apply --force replaces it", path.display());
        }
        for place in old {
            opened.journal.forget(place.generation);
        }
    }
    if !arguments.apply {
        return Ok(path);
    }
    for place in places {
        opened.journal.bind(place);
    }
    opened.journal.write().with_context(|| format!("{}: cannot write the checkpoint", path.display()))?;
    give_to_owner(state_dir, &path)?;
    Ok(path)
}

/// Root may have made what the agent's user must write: it belongs to whom the state directory belongs.
fn give_to_owner(state_dir: &Path, journal: &Path) -> anyhow::Result<()> {
    let owner = std::fs::metadata(state_dir)?;
    for path in [state_dir.join("lock"), state_dir.join("checkpoints"), journal.to_owned()] {
        if std::fs::metadata(&path)?.uid() != owner.uid() {
            chown(&path, Some(owner.uid()), Some(owner.gid()))
                .with_context(|| format!("{}: cannot give it to the owner of the state directory", path.display()))?;
        }
    }
    Ok(())
}
