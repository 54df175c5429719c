//! `source:` to options of files and of framing. Knows the ranges the option types state, and nothing of how files are read.

use std::{ops::RangeInclusive, time::Duration};

use super::{
    keys, pattern,
    read::{Map, Reader, Value},
    value,
};
use crate::{
    deliver::Destination,
    record::{
        regex::Regex,
        split::{self, Multiline, Oversize, Start},
    },
    source::{self, Pattern, StartAt},
};

/// Reads `source:`; the destination bounds the size of a record.
pub(super) fn source(
    r: &mut Reader<'_>,
    value: &Value<'_>,
    destination: Option<&Destination>,
) -> Option<(source::Options, split::Options)> {
    let map = r.map(value, &keys::SOURCE)?;
    let framing = framing(r, &map, destination);
    let start_at = r.choice(&map, "start_at", &[("end", StartAt::End), ("beginning", StartAt::Beginning)]);
    let poll = |text: &str| value::duration(text, &(Duration::from_millis(10)..=HOUR));
    let poll_interval = r.key(&map, "poll_interval", poll).unwrap_or(Duration::from_secs(1));
    let exclude = map.get("exclude").map(|value| patterns(r, &value, exclude)).unwrap_or_default();
    let written = r.required(&map, "paths", "write the files to follow, like `paths: /var/log/app/*.log`")?;
    if written.is_empty_list() {
        r.problem(&written, "names no file; write at least one absolute path, wildcards allowed");
    }
    let paths = patterns(r, &written, path);
    Some((source::Options { paths, exclude, start_at, poll_interval }, framing))
}

const HOUR: Duration = Duration::from_hours(1);
const SHORT_TO_HOUR: RangeInclusive<Duration> = Duration::from_millis(10)..=HOUR;

fn patterns(r: &mut Reader<'_>, value: &Value<'_>, read: fn(&str) -> Result<Pattern, String>) -> Vec<Pattern> {
    let items = r.one_or_list(value).unwrap_or_default();
    items.iter().filter_map(|item| r.value(item, read)).collect()
}

fn path(text: &str) -> Result<Pattern, String> {
    if !text.starts_with('/') {
        return Err("is not an absolute path; begin it with `/`".to_owned());
    }
    if text.ends_with('/') {
        return Err("names a folder; name the files in it, like `/var/log/app/*.log`".to_owned());
    }
    glob(text)
}

fn exclude(text: &str) -> Result<Pattern, String> {
    if text.is_empty() {
        return Err("is empty; write a pattern, like \"*.gz\"".to_owned());
    }
    if text.contains('/') && !text.starts_with(['/', '*']) {
        let why = "can match nothing: with a `/` in it, it is compared with whole paths; begin it with `/` or `**/`";
        return Err(why.to_owned());
    }
    glob(text)
}

fn glob(text: &str) -> Result<Pattern, String> {
    if text.contains('\0') {
        return Err("holds a NUL character; no path may".to_owned());
    }
    Pattern::new(text).map_err(|why| format!("is not a valid pattern: {why}"))
}

fn framing(r: &mut Reader<'_>, map: &Map<'_>, destination: Option<&Destination>) -> split::Options {
    let skip = r.key(map, "skip_header_lines", |text| value::integer(text, &(0..=1_000))).unwrap_or(0);
    let oversize = [("truncate", Oversize::Truncate), ("split", Oversize::Split), ("drop", Oversize::Drop)];
    let max_record = max_record(r, map, destination);
    split::Options {
        skip_header_lines: u32::try_from(skip).unwrap_or(u32::MAX),
        multiline: map.get("multiline").and_then(|value| multiline(r, &value)),
        max_record,
        oversize: r.choice(map, "oversize", &oversize).unwrap_or(Oversize::Truncate),
        terminator: r
            .key(map, "truncated_record_terminator", |text| terminator(text, max_record))
            .unwrap_or(b"\n".to_vec()),
        footer: r.key(map, "footer", footer),
        partial_line_timeout: r.key(map, "partial_line_timeout", |text| value::duration(text, &SHORT_TO_HOUR)),
    }
}

fn terminator(text: &str, max_record: usize) -> Result<Vec<u8>, String> {
    if text.len() < max_record {
        return Ok(text.as_bytes().to_vec());
    }
    Err(format!("is as long as a record may be; write less than {max_record} bytes"))
}

/// A pattern that matches the whole of a text.
fn footer(text: &str) -> Result<Regex, String> {
    pattern::regex(text)?;
    pattern::regex(&format!(r"\A(?:{text})\z")).map(Regex::Linear)
}

fn multiline(r: &mut Reader<'_>, value: &Value<'_>) -> Option<Multiline> {
    let map = r.map(value, &keys::MULTILINE)?;
    let timeout = r.key(&map, "timeout", |text| value::duration(text, &SHORT_TO_HOUR));
    let max_lines = r.key(&map, "max_lines", |text| value::integer(text, &(1..=100_000)));
    let start = r.required(&map, "start", "write the pattern of a record's first line, like `start: '^\\d{4}-'`");
    let start = start.and_then(|value| r.value(&value, pattern::regex));
    let timeout = timeout.unwrap_or(Duration::from_secs(2));
    let start = Start::Search(Regex::Linear(start?));
    Some(Multiline { start, timeout, max_lines: max_lines.unwrap_or(500) })
}

/// What the service takes at most is below 1 MiB by a key's length, which nobody should have to compute: it is clamped.
fn max_record(r: &mut Reader<'_>, map: &Map<'_>, destination: Option<&Destination>) -> usize {
    const USUAL: usize = 1 << 20;
    let most = destination.map_or(usize::MAX, Destination::max_record_bytes);
    let Some(written) = map.get("max_record") else { return USUAL.min(most) };
    let Some(size) = r.value(&written, |text| value::size(text, &(64..=10 << 20))) else { return USUAL.min(most) };
    if size > most && size > USUAL {
        let text = format!("is more than the destination takes; {most} bytes (its limit) are used");
        r.warning(&written, text);
    }
    size.min(most)
}
