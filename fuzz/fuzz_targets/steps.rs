//! The steps between `parse` and `emit`: the input is the record, the chains are fixed.

#![no_main]

#[path = "check/steps.rs"]
mod check;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|record: &[u8]| check::check(record));
