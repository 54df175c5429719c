//! Java patterns: the input's first line is the pattern, the rest is text.

#![no_main]

#[path = "check/java_pattern.rs"]
mod check;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| check::check(input));
