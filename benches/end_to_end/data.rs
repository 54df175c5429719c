//! The logs that are delivered: made from a counter, so that each run has the same bytes.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
};

/// Bytes of one line, its newline included.
const LINE: usize = 190;

/// What kind of lines a file holds.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// Time, level, thread, message: 190 bytes each.
    Plain,
    /// The combined format of web servers: 190 bytes each too.
    Combined,
    /// Ten cells, 190 bytes each.
    Csv,
    /// Objects with eight members, 190 bytes each.
    Json,
    /// RFC 3164 as servers write it to files: 190 bytes each.
    Syslog,
}

/// Writes at least `bytes` bytes of lines and returns how many it was.
pub(crate) fn write(path: &Path, kind: Kind, bytes: u64) -> io::Result<u64> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut written = 0;
    let mut line = Vec::with_capacity(LINE);
    for number in 0.. {
        if written >= bytes {
            break;
        }
        fill(&mut line, kind, number)?;
        file.write_all(&line)?;
        written += line.len() as u64;
    }
    file.flush()?;
    file.get_ref().sync_all()?; // so that writing back does not run beside what is measured
    Ok(written)
}

/// Puts line `number` into `line`.
pub(crate) fn fill(line: &mut Vec<u8>, kind: Kind, number: u64) -> io::Result<()> {
    line.clear();
    let (ms, second, minute) = (number % 1000, number / 1000 % 60, number / 60_000 % 60);
    let (user, size) = (number.wrapping_mul(2_654_435_761) % 100_000, number.wrapping_mul(40_503) % 65_536);
    match kind {
        Kind::Plain => {
            let level = ["INFO", "WARN", "DEBUG"][(number % 3) as usize];
            write!(line, "2026-11-20T10:{minute:02}:{second:02}.{ms:03}Z {level} worker-{} ", number % 16)?;
            write!(line, "request {number:010} of user {user} took {size} us and went ")?;
            pad(line, LINE - 1, number);
        }
        Kind::Combined => {
            write!(line, "203.0.113.{} - user{user} [20/Nov/2026:10:{minute:02}:{second:02} +0000] ", number % 254)?;
            write!(line, "\"GET /shop/item/{number:010}?q=")?;
            pad(line, LINE - 62, number);
            write!(line, " HTTP/1.1\" 200 {size:05} \"-\" \"Mozilla/5.0 (X11; Linux)\"")?;
            pad(line, LINE - 1, number);
        }
        Kind::Csv => {
            write!(line, "2026-11-20T10:{minute:02}:{second:02}.{ms:03}Z,web-{},GET,/shop/item/", number % 16)?;
            write!(line, "{number:010},200,{size},0.{ms:03},user{user},\"a, b\",")?;
            pad(line, LINE - 1, number);
        }
        Kind::Json => {
            write!(line, "{{\"time\":\"2026-11-20T10:{minute:02}:{second:02}.{ms:03}Z\",\"level\":\"info\",")?;
            write!(line, "\"request\":1{number:09},\"user\":\"user{user}\",\"bytes\":{size},\"took\":1.{ms:03},")?;
            write!(line, "\"ok\":true,\"message\":\"")?;
            pad(line, LINE - 3, number);
            line.extend_from_slice(b"\"}");
        }
        Kind::Syslog => {
            write!(line, "Nov 20 10:{minute:02}:{second:02} web-{} sshd[{}]: ", number % 16, 1000 + user)?;
            write!(line, "request {number:010} of user {user} took {size} us and went ")?;
            pad(line, LINE - 1, number);
        }
    }
    line.push(b'\n');
    Ok(())
}

fn pad(line: &mut Vec<u8>, to: usize, number: u64) {
    while line.len() < to {
        line.push(b'a' + ((number + line.len() as u64 * 7) % 26) as u8);
    }
}
