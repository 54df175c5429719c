//! Any bytes are a journal or refused; what is accepted survives being written anew.

#![no_main]

#[path = "check/checkpoint.rs"]
mod check;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| check::check(input));
