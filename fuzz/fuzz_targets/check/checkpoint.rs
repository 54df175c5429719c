//! What holds for every journal that is read.

use std::{collections::BTreeMap, path::Path};

use headwater::{
    checkpoint::{
        format::{self, FORMAT, Line},
        journal,
    },
    model::{Generation, Place},
};

const FLOW: &str = "web";

/// Reads `input` as it stands, and once more with the checksum that belongs to each line: guessing one takes too long.
pub fn check(input: &[u8]) {
    check_journal(input);
    check_journal(&with_checksums(input));
}

fn check_journal(bytes: &[u8]) {
    let Ok((places, torn)) = journal::read(Path::new("fuzz.journal"), FLOW, bytes) else { return };
    let good = bytes.len().checked_sub(torn).expect("no more is torn than there is");
    assert_eq!(read(&bytes[..good]), (places.clone(), 0), "a torn tail says nothing");
    if let Some(header) = bytes[..good].iter().position(|&byte| byte == b'\n') {
        let (_, torn) = read(&bytes[..header + 1 + (good - header - 1) / 2]);
        assert!(torn <= good, "torn anywhere after its first line, it is still a journal");
    }
    let anew = written(&places);
    let (again, torn) = read(&anew);
    assert_eq!((&again, torn), (&places, 0), "what was read survives being written");
    // Paths are equal if their components are: bytes tell more.
    assert_eq!(written(&again), anew);
}

fn read(bytes: &[u8]) -> (BTreeMap<Generation, Place>, usize) {
    journal::read(Path::new("fuzz.journal"), FLOW, bytes).expect("a journal")
}

/// A journal of these places and nothing else.
fn written(places: &BTreeMap<Generation, Place>) -> Vec<u8> {
    let header = Line::Headwater { format: FORMAT, flow: FLOW.to_owned() };
    std::iter::once(header).chain(places.values().map(Line::from)).flat_map(|line| format::line(&line)).collect()
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
