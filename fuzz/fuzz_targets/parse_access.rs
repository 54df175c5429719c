//! Access logs: no panic, and every `combined` line is a `common` line.

#![no_main]

mod check;

use headwater::record::parse::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|record: &[u8]| {
    let combined = check::check(Format::Combined, &["host", "request", "agent"], record);
    let common = check::check(Format::Common, &["host", "request", "bytes"], record);
    assert!(common || !combined);
});
