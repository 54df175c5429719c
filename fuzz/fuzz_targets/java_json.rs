//! JSON as the Java agent reads it.

#![no_main]

#[path = "check/java_json.rs"]
mod check;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| check::check(input));
