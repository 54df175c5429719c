//! Regular expressions: the input's first line is the pattern, the rest is the record.

#![no_main]

mod check;

use headwater::record::{parse::Format, regex::Regex};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some(end) = input.iter().position(|&byte| byte == b'\n') else { return };
    let Ok(pattern) = std::str::from_utf8(&input[..end]) else { return };
    let Ok(regex) = Regex::new(pattern) else { return };
    check::check(Format::Regex(regex), &["a", "b"], &input[end + 1..]);
});
