//! Framing: the first bytes choose the options, the rest is the file.

#![no_main]

#[path = "check/split.rs"]
mod check;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| check::check(input));
