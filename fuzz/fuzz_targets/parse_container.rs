//! What Docker writes is JSON.

#![no_main]

mod check;

use headwater::record::parse::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|record: &[u8]| {
    let docker = check::check(Format::Docker, &["message", "stream"], record);
    let json = check::check(Format::Json, &["log"], record);
    assert!(json || !docker);
    check::check(Format::Cri, &["logtag", "message"], record);
});
