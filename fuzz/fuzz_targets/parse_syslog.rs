//! No line is of both RFCs.

#![no_main]

mod check;

use headwater::record::parse::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|record: &[u8]| {
    let columns = ["severity", "hostname", "structured_data", "message"];
    let old = check::check(Format::SyslogRfc3164, &columns, record);
    let new = check::check(Format::SyslogRfc5424, &columns, record);
    assert!(!old || !new);
});
