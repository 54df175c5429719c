//! Any text is a configuration or a list of problems, never a panic.

#![no_main]

use headwater::config::parse_text;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = parse_text("fuzz.yaml", text, &|_| None);
});
