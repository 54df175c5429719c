//! Cells: a column more takes nothing away, whatever the delimiter.

#![no_main]

mod check;

use headwater::record::parse::{csv, Format};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&choice, record)) = input.split_first() else { return };
    let delimiter = [b',', b';', b'\t', b' '][usize::from(choice % 4)];
    let accepted = ["a", "b", "c"].map(|last| {
        let names = ["a", "b", "c"].iter().take_while(|name| **name <= last).map(|&name| name.to_owned()).collect();
        let columns = csv::Columns::Named(names);
        let options = csv::Options { columns, delimiter, quote: b'"', trim: choice >= 128 };
        check::check(Format::Csv(options), &["a", "b"], record)
    });
    assert!(accepted.is_sorted());
});
