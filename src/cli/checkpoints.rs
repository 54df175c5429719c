//! `headwater checkpoints`: how far each file is delivered. Reads the journals; takes no lock and changes nothing.

use std::{fmt::Write as _, path::Path};

use serde::Serialize;

use super::{Configuration, EXIT_FAILURE, EXIT_OK};
use crate::{
    checkpoint::{journal::Journal, storage::DiskStorage},
    flow::engine::journal_path,
    model::{Codec, Place},
    source::fs::{Disk, Fs},
};

pub(super) const EXAMPLES: &str = "\
Examples:
  headwater checkpoints
  headwater checkpoints --json | jq '.[] | select(.behind > 1000000)'

ACKED and BEHIND are bytes: delivered, and not yet delivered. May be called while the agent runs.";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    configuration: Configuration,
    /// As a JSON array, for programs.
    #[arg(long)]
    json: bool,
}

/// One file of one flow.
#[derive(Debug, Serialize)]
struct Row {
    flow: String,
    path: String,
    generation: String,
    /// Bytes in the file now; null if it is gone, or compressed.
    size: Option<u64>,
    acked: u64,
    /// Bytes not yet delivered; null if the size is not known.
    behind: Option<u64>,
}

pub(super) fn run(arguments: &Arguments) -> u8 {
    let config = match arguments.configuration.load() {
        Ok(config) => config,
        Err(code) => return code,
    };
    let mut rows = Vec::new();
    let mut code = EXIT_OK;
    for flow in &config.flows {
        match Journal::open(DiskStorage::new(journal_path(&config.state_dir, &flow.name)), &flow.name, 0) {
            Ok(opened) => rows.extend(opened.places.unwrap_or_default().iter().map(|p| row(&flow.name, p))),
            Err(error) => {
                eprintln!("{error}");
                code = EXIT_FAILURE;
            }
        }
    }
    rows.sort_by(|a: &Row, b| (&a.flow, &a.path).cmp(&(&b.flow, &b.path)));
    let text = if arguments.json {
        serde_json::to_string_pretty(&rows).expect("rows are plain JSON") + "\n"
    } else {
        table(&rows)
    };
    // A reader that has seen enough (`| head`) is no failure.
    let _ = std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes());
    code
}

fn row(flow: &str, place: &Place) -> Row {
    let size = size(&place.path, place);
    Row {
        flow: flow.to_owned(),
        path: place.path.display().to_string(),
        generation: place.generation.to_string(),
        size,
        acked: place.acked,
        behind: if place.done { Some(0) } else { size.map(|s| s.saturating_sub(place.acked)) },
    }
}

fn size(path: &Path, place: &Place) -> Option<u64> {
    let stat = Disk.stat(path).ok().filter(|s| s.id == place.id)?;
    (place.codec == Codec::Plain).then_some(stat.size)
}

fn table(rows: &[Row]) -> String {
    let number = |n: Option<u64>| n.map_or_else(|| "-".to_owned(), |n| n.to_string());
    let header = ["FLOW", "ACKED", "SIZE", "BEHIND", "GENERATION", "PATH"].map(str::to_owned);
    let cells = rows.iter().map(|r| {
        let acked = r.acked.to_string();
        [r.flow.clone(), acked, number(r.size), number(r.behind), r.generation.clone(), r.path.clone()]
    });
    let all: Vec<[String; 6]> = std::iter::once(header).chain(cells).collect();
    let width = |column: usize| all.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..5).map(width).collect();
    let mut text = String::new();
    for r in &all {
        let [flow, acked, size, behind, generation, path] = r;
        let _ = writeln!(
            text,
            "{flow:<0$}  {acked:>1$}  {size:>2$}  {behind:>3$}  {generation:<4$}  {path}",
            widths[0], widths[1], widths[2], widths[3], widths[4]
        );
    }
    text
}
