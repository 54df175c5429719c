//! A line is a JSON object here exactly if it is one for serde_json.

#![no_main]

mod check;

use headwater::record::parse::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|record: &[u8]| {
    let accepted = check::check(Format::Json, &["a", "message"], record);
    let object = std::str::from_utf8(record).is_ok()
        && record.trim_ascii_start().starts_with(b"{")
        && serde_json::from_slice::<serde::de::IgnoredAny>(record).is_ok();
    assert!(object || !accepted, "accepted what is no JSON object");
    // Deeper nesting and more members than our bounds need at least this many of these bytes.
    let may_be_out_of_bounds = record.iter().filter(|&&byte| b"{[,".contains(&byte)).count() >= 128;
    assert!(accepted || !object || may_be_out_of_bounds, "refused a JSON object");
});
