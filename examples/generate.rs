//! Writes what is made from the program's own definitions: `cargo run --example generate -- FOLDER`.
//!
//! `FOLDER/man`: a page for each command from the definition of the command line, and `headwater.yaml.5` from
//! `docs/CONFIGURATION.md`. `FOLDER/completions`: bash, zsh and fish. `FOLDER/headwater.schema.json`: the schema of the YAML.
//! Not part of the daemon, which needs none of it.

use std::{error::Error, fs, io, path::Path};

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;

#[path = "generate/roff.rs"]
mod roff;

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).ok_or("usage: generate FOLDER")?;
    let (man, completions) = (Path::new(&folder).join("man"), Path::new(&folder).join("completions"));
    fs::create_dir_all(&man)?;
    fs::create_dir_all(&completions)?;
    let mut command = headwater::cli::definition().bin_name("headwater").disable_help_subcommand(true);
    command.build();
    pages(&command, &man)?;
    let manual = include_str!("../docs/CONFIGURATION.md");
    fs::write(man.join("headwater.yaml.5"), roff::page("headwater.yaml", 5, "configuration of headwater", manual))?;
    fs::write(Path::new(&folder).join("headwater.schema.json"), format!("{:#}\n", headwater::config::schema()))?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "headwater", &completions)?;
    }
    Ok(())
}

/// `headwater.1`, and `headwater-NAME.1` for each subcommand. `command` is built: its subcommands know their whole names.
fn pages(command: &Command, folder: &Path) -> io::Result<()> {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        pages(sub, folder)?;
    }
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let source = concat!("headwater ", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).title(&name).source(source).manual("Headwater");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.get_subcommands().next().is_some() {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(text) = command.get_after_help() {
        page.extend(roff::verbatim("EXAMPLES", &text.to_string()).into_bytes());
    }
    fs::write(folder.join(format!("{name}.1")), page)
}
