//! Names with values, and what their types and times make of them.

#![no_main]

mod check;

use headwater::record::parse::{pairs, zone, Format, Refine, TimeFormat, TimestampOptions, Type};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|record: &[u8]| {
    let types = [("a", Type::Int), ("b", Type::Float), ("c", Type::Bool)].map(|(name, kind)| (name.to_owned(), kind));
    for format in ["rfc3339", "httpdate", "syslog", "unix", "%d %B %y %I %p"] {
        let timestamp = TimestampOptions {
            field: "t".to_owned(),
            to: None,
            format: TimeFormat::new(format).expect("a format"),
            zone: zone("UTC").expect("a zone"),
        };
        let refine =
            Refine { types: types.to_vec(), timestamp: Some(Box::new(timestamp)), null_if: vec!["-".to_owned()] };
        check::check_refined(Format::Logfmt, &refine, &["a", "b", "t"], record);
    }
    for (field, value, trim) in [(" ", "=", true), ("; ", ":", false)] {
        let options = pairs::Options { field_delimiter: field.to_owned(), value_delimiter: value.to_owned(), trim };
        check::check(Format::KeyValue(options), &["a", "b"], record);
    }
});
