//! A Kinesis for scripts: `cargo run --example stand_in -- STREAM`. Used by `tests/system/run.sh`.
//!
//! Prints its address. For each line of its input, the path of a file, it writes there the data of all records that the
//! stream holds, and prints their number. Ends with its input.

use std::{
    error::Error,
    fs,
    io::{self, BufRead as _, Write as _},
};

#[path = "../tests/it/support/stand_in.rs"]
mod stand_in;

use stand_in::{Received, StandIn};

fn main() -> Result<(), Box<dyn Error>> {
    let stream = std::env::args().nth(1).ok_or("usage: stand_in STREAM")?;
    let service = StandIn::start(&stream, 2);
    println!("{}", service.url());
    for path in io::stdin().lock().lines() {
        let records = service.read_all();
        fs::write(path?, records.iter().map(line).collect::<String>())?;
        println!("{}", records.len());
        io::stdout().flush()?;
    }
    Ok(())
}

/// The data as text, ended by a newline.
fn line(record: &Received) -> String {
    debug_assert!(!record.shard.is_empty() && !record.partition_key.is_empty());
    let text = String::from_utf8_lossy(&record.data);
    if text.ends_with('\n') { text.into_owned() } else { format!("{text}\n") }
}
