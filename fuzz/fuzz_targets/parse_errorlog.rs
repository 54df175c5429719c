//! No line is of both servers.

#![no_main]

mod check;

use headwater::record::parse::Format;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|record: &[u8]| {
    let apache = check::check(Format::ApacheError, &["module", "client", "port", "message"], record);
    let nginx = check::check(Format::NginxError, &["cid", "message", "request", "host"], record);
    assert!(!apache || !nginx);
});
