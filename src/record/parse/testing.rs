//! For tests of parsers: a line's fields in one text.

use std::{path::Path, sync::LazyLock, time::Instant};

use super::{
    super::{
        ec2,
        fields::{Fields, Value},
        pipeline::Context,
    },
    Format, Found, Parser, Refine,
};
use crate::model::{Generation, Now, Span};

/// 2024-03-05 12:00:00 UTC.
pub(super) const WALL: i64 = 1_709_640_000_000_000_000;

pub(super) fn context(line: &[u8]) -> Context<'static> {
    static EC2: LazyLock<ec2::Shared> = LazyLock::new(ec2::Shared::default);
    Context {
        host: "web-1",
        ec2: &EC2,
        path: Path::new("/var/log/app.log"),
        generation: Generation(7),
        span: Span { start: 100, end: 101 + line.len() as u64 },
        now: Now { mono: Instant::now(), wall: WALL },
    }
}

/// `name=value|...`, a text as it is, null and JSON as they are written; or why the line does not match.
pub(super) fn fields(parser: &mut Parser, fields: &mut Fields, context: &Context<'_>, line: &[u8]) -> String {
    fields.clear();
    match parser.parse(context, line, fields) {
        Err(mismatch) => return mismatch.to_string(),
        Ok(Found::Header) => return "header".to_owned(),
        Ok(Found::Fields) => {}
    }
    let shown = |text| String::from_utf8_lossy(fields.bytes(line, text)).into_owned();
    let field = |field: &super::super::fields::Field| {
        let value = match field.value {
            Value::Null => "null".to_owned(),
            Value::Text(text) => shown(text),
            Value::Json(json) => format!("`{}`", shown(json)),
        };
        let name = shown(field.name.text);
        format!("{}={value}", &name[1..name.len() - 1])
    };
    fields.iter().map(field).collect::<Vec<_>>().join("|")
}

pub(super) fn parsed_with(format: Format, refine: Refine, line: &[u8]) -> String {
    let mut buffers = Fields::default();
    let mut parser = Parser::new(format, refine, &mut buffers);
    fields(&mut parser, &mut buffers, &context(line), line)
}

pub(super) fn parsed(format: Format, line: &[u8]) -> String {
    parsed_with(format, Refine::default(), line)
}

/// Compares what is found in `line`, or why it does not match, with `expected`.
#[track_caller]
pub(super) fn check(format: Format, line: &str, expected: &str) {
    assert_eq!(parsed(format, line.as_bytes()), expected);
}

/// What any parser must take without a panic, and within its bounds.
pub(super) fn hostile() -> Vec<Vec<u8>> {
    let many = |piece: &str| piece.repeat(10_001).into_bytes();
    let mut list: Vec<Vec<u8>> =
        [&b""[..], b" ", b"\0", b"\0\0\0=\0", b"\xff\xfe\xfd", b"=", b"\"", b"\\", b"[", b"<", b"{", b"\n"]
            .map(<[u8]>::to_vec)
            .to_vec();
    list.extend([many("a=b "), many("\"a\","), many("[x]"), many("k=\"\\\" "), many(", client: \"")]);
    list.extend([b'"', b'[', b'<', b'=', b',', b'\\', 0].map(|byte| vec![byte; 1 << 20]));
    list.extend([b'x', b' '].map(|byte| vec![byte; 10 << 20]));
    list
}
