//! Chains of the Java agent's converters: entries of its configuration, an empty line, a record.

#![no_main]

#[path = "check/java_chain.rs"]
mod check;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| check::check(input));
