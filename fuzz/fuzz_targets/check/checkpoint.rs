//! What holds for every journal that is read.

use std::path::Path;

use headwater::checkpoint::{
    format::{self, FORMAT, Line},
    journal::{self, Contents},
};

const FLOW: &str = "web";

/// Reads `input` as it stands, and once more with the checksum that belongs to each line: guessing one takes too long.
pub fn check(input: &[u8]) {
    check_journal(input);
    check_journal(&with_checksums(input));
}

fn check_journal(bytes: &[u8]) {
    let Ok((contents, torn)) = journal::read(Path::new("fuzz.journal"), FLOW, bytes) else { return };
    let good = bytes.len().checked_sub(torn).expect("no more is torn than there is");
    assert_eq!(read(&bytes[..good]), (contents.clone(), 0), "a torn tail says nothing");
    if let Some(header) = bytes[..good].iter().position(|&byte| byte == b'\n') {
        let (_, torn) = read(&bytes[..header + 1 + (good - header - 1) / 2]);
        assert!(torn <= good, "torn anywhere after its first line, it is still a journal");
    }
    let anew = written(&contents);
    let (again, torn) = read(&anew);
    assert_eq!(
        (&again.places, again.doubts(1), torn),
        (&contents.places, contents.doubts(1), 0),
        "what was read survives being written"
    );
    // Paths are equal if their components are: bytes tell more.
    assert_eq!(written(&again), anew);
}

fn read(bytes: &[u8]) -> (Contents, usize) {
    journal::read(Path::new("fuzz.journal"), FLOW, bytes).expect("a journal")
}

/// A journal that says this and nothing else.
fn written(contents: &Contents) -> Vec<u8> {
    let mut bytes = format::line(&Line::Headwater { format: FORMAT, flow: FLOW.to_owned() });
    contents.write(&mut bytes);
    bytes
}

/// Each line with the right checksum before it, in the place of one that is there.
fn with_checksums(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for line in input.split_inclusive(|&byte| byte == b'\n') {
        let line = match line.split_at_checked(9) {
            Some((sum, json)) if sum[8] == b' ' && sum[..8].iter().all(u8::is_ascii_hexdigit) => json,
            _ => line,
        };
        let json = line.strip_suffix(b"\n").unwrap_or(line);
        out.extend_from_slice(format!("{:08x} ", crc32fast::hash(json)).as_bytes());
        out.extend_from_slice(line);
    }
    out
}
