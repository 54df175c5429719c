//! Grok: the input's first line is the pattern, the rest is the record.

#![no_main]

mod check;

use headwater::record::parse::{Format, Grok};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some(end) = input.iter().position(|&byte| byte == b'\n') else { return };
    let Ok(pattern) = std::str::from_utf8(&input[..end]) else { return };
    let own = [("A".to_owned(), "%{B:b}".to_owned()), ("B".to_owned(), "[a-z]+%{INT}?".to_owned())];
    let Ok(grok) = Grok::new(pattern, &own) else { return };
    check::check(Format::Grok(Box::new(grok)), &["a", "b"], &input[end + 1..]);
});
