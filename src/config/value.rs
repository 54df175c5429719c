//! Sizes, durations, numbers and names as people write them. Pure functions of text; knows no keys and no places.
//! Invariant: no error text holds the value itself, which may have come from the environment.

use std::{ops::RangeInclusive, time::Duration};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Units of sizes, the largest first.
const SIZES: [(&str, u64); 7] =
    [("GiB", GIB), ("GB", 1_000_000_000), ("MiB", MIB), ("MB", 1_000_000), ("KiB", KIB), ("KB", 1_000), ("B", 1)];

/// Units of time in milliseconds, the largest first.
const TIMES: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Reads a size in bytes; a bare number means bytes.
pub(super) fn size(text: &str, range: &RangeInclusive<usize>) -> Result<usize, String> {
    let wrong = || "is not a size; write a whole number and a unit: B, KiB, MiB, GiB, KB, MB or GB".to_owned();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    let scale = match SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)) {
        Some((_, scale)) => *scale,
        None if unit.is_empty() => 1,
        None => return Err(wrong()),
    };
    if number.is_empty() {
        return Err(wrong());
    }
    number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(scale))
        .and_then(|n| usize::try_from(n).ok())
        .filter(|n| range.contains(n))
        .ok_or_else(|| {
            format!("is out of range; it must be {} to {}", show_size(*range.start()), show_size(*range.end()))
        })
}

/// Reads a duration like `1h30m`; a bare number is refused, except 0.
pub(super) fn duration(text: &str, range: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let out_of_range =
        || format!("is out of range; it must be {} to {}", show_duration(*range.start()), show_duration(*range.end()));
    let time = Duration::from_millis(milliseconds(text)?.ok_or_else(out_of_range)?);
    if range.contains(&time) { Ok(time) } else { Err(out_of_range()) }
}

/// `None`: more than can be counted.
fn milliseconds(text: &str) -> Result<Option<u64>, String> {
    let wrong = || "is not a duration; write a whole number and a unit: ms, s, m or h, like 500ms or 1h30m".to_owned();
    if text.is_empty() {
        return Err(wrong());
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        let zero = text.bytes().all(|b| b == b'0');
        return if zero { Ok(Some(0)) } else { Err("has no unit; add one: ms, s, m or h".to_owned()) };
    }
    let (mut rest, mut units, mut total) = (text, &TIMES[..], Some(0u64));
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, after) = after.split_at(letters);
        let Some(index) = units.iter().position(|(name, _)| *name == unit) else {
            return Err(wrong());
        };
        if number.is_empty() {
            return Err(wrong());
        }
        let part = number.parse::<u64>().ok().and_then(|n| n.checked_mul(units[index].1));
        total = total.zip(part).and_then(|(total, part)| total.checked_add(part));
        units = &units[index + 1..];
        rest = after;
    }
    Ok(total)
}

/// Reads a whole number.
pub(super) fn integer(text: &str, range: &RangeInclusive<usize>) -> Result<usize, String> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err("is not a whole number; write digits alone".to_owned());
    }
    text.parse::<usize>()
        .ok()
        .filter(|n| range.contains(n))
        .ok_or_else(|| format!("is out of range; it must be {} to {}", range.start(), range.end()))
}

/// Reads `true` or `false`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err("is neither true nor false; write one of them".to_owned()),
    }
}

/// Reads a path that begins at the root.
pub(super) fn absolute_path(text: &str) -> Result<std::path::PathBuf, String> {
    if text.contains('\0') {
        return Err("holds a NUL character; no path may".to_owned());
    }
    if text.starts_with('/') { Ok(text.into()) } else { Err("is not an absolute path; begin it with `/`".to_owned()) }
}

/// The size in the largest unit that divides it.
pub(super) fn show_size(bytes: usize) -> String {
    let bytes = bytes as u64;
    let units = [("GiB", GIB), ("MiB", MIB), ("KiB", KIB), ("B", 1)];
    let found = units.iter().find(|(_, scale)| bytes >= *scale && bytes.is_multiple_of(*scale));
    found.map_or_else(|| format!("{bytes}B"), |(unit, scale)| format!("{}{unit}", bytes / scale))
}

/// The duration in the largest unit that divides it.
pub(super) fn show_duration(time: Duration) -> String {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let found = TIMES.iter().find(|(_, scale)| ms >= *scale && ms.is_multiple_of(*scale));
    found.map_or_else(|| "0s".to_owned(), |(unit, scale)| format!("{}{unit}", ms / scale))
}
