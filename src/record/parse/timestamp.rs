//! One field's time, rewritten as RFC 3339. Knows how times are read from `strptime`. Invariant: what is no time is left as it
//! is.

use jiff::{
    Timestamp as Instant,
    civil::DateTime,
    tz::{Offset, TimeZone},
};

use super::{
    super::{
        fields::{Fields, Name, Value},
        pipeline::Context,
    },
    refine::text_of,
    strptime::{Digits, Local, Read, TimeFormat},
};
use crate::model::Now;

/// Which field is a time, and how it is written.
#[derive(Clone, Debug)]
pub struct TimestampOptions {
    pub field: String,
    /// The field for the result. Default: the same.
    pub to: Option<String>,
    pub format: TimeFormat,
    /// Of times that do not say theirs. Default UTC.
    pub zone: TimeZone,
}

/// A time zone by its name in the system's database, `UTC`, `local`, or an offset like `+02:00`. The error says what is wrong
/// without naming the zone.
pub fn zone(text: &str) -> Result<TimeZone, String> {
    match text {
        "UTC" | "utc" | "Z" => return Ok(TimeZone::UTC),
        "local" => return TimeZone::try_system().map_err(|why| format!("cannot be found: {why}")),
        _ => {}
    }
    if text.starts_with(['+', '-']) {
        let read = |format| jiff::fmt::strtime::BrokenDownTime::parse(format, text).ok()?.offset();
        let offset = ["%:z", "%z"].into_iter().find_map(read);
        return offset.map(Offset::to_time_zone).ok_or_else(|| "is no offset; write one like +02:00".to_owned());
    }
    TimeZone::get(text).map_err(|_| {
        "is no time zone of this system; write UTC, local, an offset like +02:00, or a name like Europe/Berlin"
            .to_owned()
    })
}

/// The same, made ready.
#[derive(Clone, Debug)]
pub(super) struct Timestamp {
    field: Name,
    to: Option<Name>,
    format: TimeFormat,
    zone: TimeZone,
    /// The zone's offset, if it is always the same.
    fixed: Option<Offset>,
}

impl Timestamp {
    pub(super) fn new(options: TimestampOptions, fields: &mut Fields) -> Self {
        let TimestampOptions { field, to, format, zone } = options;
        let fixed = zone.to_fixed_offset().ok();
        Self { field: fields.intern(&field), to: to.map(|to| fields.intern(&to)), format, zone, fixed }
    }

    /// Whether the result is a field of its own.
    pub(super) fn adds(&self) -> bool {
        self.to.is_some()
    }

    /// Rewrites the field, wherever it is from index `old` on.
    pub(super) fn apply(&self, context: &Context<'_>, line: &[u8], old: usize, fields: &mut Fields) {
        for at in old..fields.len() {
            let field = fields.at(at);
            if !fields.is_same(line, field.name, self.field) {
                continue;
            }
            let Some(time) = self.read(context.now, line, field.value, fields) else { continue };
            let value = Value::Text(fields.compose(|out| time.write(out)));
            match self.to {
                Some(to) => fields.push(to, value),
                None => fields.put_at(at, field.name, value),
            }
        }
    }

    fn read(&self, now: Now, line: &[u8], value: Value, fields: &Fields) -> Option<Time> {
        let text = match (text_of(line, value, fields), value) {
            (Some(text), _) => fields.bytes(line, text),
            // A number, where it is one.
            (None, Value::Json(json)) => fields.bytes(line, json),
            (None, _) => return None,
        };
        match self.format.read(text)? {
            Read::Instant(instant, digits) => {
                let offset = self.fixed.unwrap_or_else(|| self.zone.to_offset(instant));
                Time::new(offset.to_datetime(instant), digits, offset)
            }
            Read::Local(local) => self.placed(now, &local),
        }
    }

    /// The time with its year and its offset.
    fn placed(&self, now: Now, local: &Local) -> Option<Time> {
        let known = local.offset.or(self.fixed);
        let time = if let Some(year) = local.year {
            in_year(local, year)?
        } else {
            let tomorrow = Instant::from_second(now.wall.div_euclid(1_000_000_000) + 86_400).ok()?;
            let offset = known.unwrap_or_else(|| self.zone.to_offset(tomorrow));
            latest(local, offset.to_datetime(tomorrow))?
        };
        if let Some(offset) = known {
            return Time::new(time, local.digits, offset);
        }
        let instant = self.zone.to_ambiguous_timestamp(time).compatible().ok()?;
        let offset = self.zone.to_offset(instant);
        Time::new(offset.to_datetime(instant), local.digits, offset)
    }
}

fn in_year(local: &Local, year: i16) -> Option<DateTime> {
    let Local { month, day, hour, minute, second, nanos, .. } = *local;
    DateTime::new(year, month, day, hour, minute, second, nanos).ok()
}

/// The last time not after `limit` that looks like this. February 29 comes every 8 years at the latest.
fn latest(local: &Local, limit: DateTime) -> Option<DateTime> {
    (0..=8).find_map(|back| in_year(local, limit.year() - back).filter(|time| *time <= limit))
}

/// A time and its offset, ready to be written.
struct Time {
    at: DateTime,
    digits: Digits,
    offset: Offset,
}

impl Time {
    /// None for what RFC 3339 cannot say.
    fn new(at: DateTime, digits: Digits, offset: Offset) -> Option<Self> {
        if at.year() < 0 {
            return None;
        }
        if offset.seconds() % 60 == 0 {
            return Some(Self { at, digits, offset });
        }
        // Offsets of the 19th century have seconds.
        let instant = offset.to_timestamp(at).ok()?;
        Some(Self { at: Offset::UTC.to_datetime(instant), digits, offset: Offset::UTC })
    }

    fn write(&self, out: &mut Vec<u8>) {
        let Self { at, digits, offset } = self;
        let year = at.year().unsigned_abs();
        push_two(year / 100, out);
        push_two(year % 100, out);
        for (before, number) in
            [(b'-', at.month()), (b'-', at.day()), (b'T', at.hour()), (b':', at.minute()), (b':', at.second())]
        {
            out.push(before);
            push_two(u16::from(number.unsigned_abs()), out);
        }
        if *digits > 0 {
            out.push(b'.');
            let mut unit = 100_000_000;
            for _ in 0..*digits {
                out.push(digit(at.subsec_nanosecond().unsigned_abs() / unit % 10));
                unit /= 10;
            }
        }
        let seconds = offset.seconds();
        if seconds == 0 {
            out.push(b'Z');
            return;
        }
        let minutes = u16::try_from(seconds.unsigned_abs() / 60).unwrap_or(0);
        out.push(if seconds < 0 { b'-' } else { b'+' });
        push_two(minutes / 60, out);
        out.push(b':');
        push_two(minutes % 60, out);
    }
}

fn push_two(number: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(&[digit(u32::from(number / 10)), digit(u32::from(number % 10))]);
}

fn digit(number: u32) -> u8 {
    b'0' + u8::try_from(number % 10).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Format, refine::Refine, testing::parsed_with},
        *,
    };

    /// What becomes of a time at 2024-03-05 12:00:00 UTC.
    #[track_caller]
    fn check_in(zone_name: &str, format: &str, time: &str, expected: &str) {
        let timestamp = TimestampOptions {
            field: "t".to_owned(),
            to: None,
            format: TimeFormat::new(format).expect("a format"),
            zone: zone(zone_name).expect("a zone"),
        };
        let refine = Refine { timestamp: Some(Box::new(timestamp)), ..Refine::default() };
        let found = parsed_with(Format::Logfmt, refine, format!("t={time:?}").as_bytes());
        assert_eq!(found, format!("t={expected}"), "{format} of {time}");
    }

    fn check(format: &str, time: &str, expected: &str) {
        check_in("UTC", format, time, expected);
    }

    #[test]
    fn times_of_every_format_become_rfc3339() {
        check("httpdate", "10/Oct/2000:13:55:36 -0700", "2000-10-10T13:55:36-07:00");
        check("%d/%b/%Y:%H:%M:%S %z", "10/oct/2000:13:55:36 +0000", "2000-10-10T13:55:36Z");
        check("apache_error", "Fri Sep 09 10:42:29.902022 2011", "2011-09-09T10:42:29.902022Z");
        check("apache_error", "Wed Oct 11 14:32:52 2000", "2000-10-11T14:32:52Z");
        check("nginx_error", "2023/10/11 14:32:52", "2023-10-11T14:32:52Z");
        check("rfc3339", "2024-01-02T03:04:05.120+01:00", "2024-01-02T03:04:05.120+01:00");
        check("rfc3339", "2024-01-02 03:04:05,12 +0100", "2024-01-02T03:04:05.12+01:00");
        check("rfc3339", "2024-01-02 03:04:60", "2024-01-02T03:04:59Z");
        check("unix", "1700000000", "2023-11-14T22:13:20Z");
        check("unix", "1700000000.500", "2023-11-14T22:13:20.500Z");
        check("unix", "-1.5", "1969-12-31T23:59:58.5Z");
        check("unix_ms", "1700000000123", "2023-11-14T22:13:20.123Z");
        check("unix_us", "1700000000123456", "2023-11-14T22:13:20.123456Z");
        check("unix_ns", "1700000000123456789", "2023-11-14T22:13:20.123456789Z");
        check("%A %d %B %y %I:%M:%S %p", "Sunday 14 July 24 05:31:59 PM", "2024-07-14T17:31:59Z");
        check("%s", "1700000000", "2023-11-14T22:13:20Z");
    }

    #[test]
    fn what_is_no_time_stays_as_it_is() {
        for (format, time) in [
            ("httpdate", "-"),
            ("httpdate", "31/Feb/2000:13:55:36 -0700"),
            ("httpdate", "10/Oct/2000:13:55:36 -0700x"),
            ("rfc3339", "2024-13-02T03:04:05Z"),
            ("rfc3339", "2024-01-02T25:04:05Z"),
            ("rfc3339", "2024-01-02"),
            ("rfc3339", ""),
            ("rfc3339", "2024-01-02T03:04:05.0123456789Z"),
            ("unix", "17e8"),
            ("unix", "99999999999999999999"),
            ("unix_ms", "1.5"),
            ("syslog", "Feb 30 01:02:03"),
            ("syslog", "Foo 30 01:02:03"),
        ] {
            check(format, time, time);
        }
    }

    #[test]
    fn a_year_that_is_not_written_is_the_latest_that_can_be() {
        check("syslog", "Mar  5 12:00:01", "2024-03-05T12:00:01Z");
        check("syslog", "Mar 6 12:00:00", "2024-03-06T12:00:00Z");
        check("syslog", "Mar 6 12:00:01", "2023-03-06T12:00:01Z");
        check("syslog", "Dec 31 23:59:59", "2023-12-31T23:59:59Z");
        check("%d %B %H:%M", "29 February 01:02", "2024-02-29T01:02:00Z");
        let at = |wall: i64| {
            TimeFormat::new("syslog").ok().and_then(|format| match format.read(b"Jan  1 00:00:05")? {
                Read::Local(local) => {
                    latest(&local, Offset::UTC.to_datetime(Instant::from_second(wall + 86_400).ok()?))
                }
                Read::Instant(..) => None,
            })
        };
        // A clock that is a little slow at the turn of the year.
        assert_eq!(at(1_735_689_500).map(DateTime::year), Some(2025));
        assert_eq!(at(1_735_500_000).map(DateTime::year), Some(2024));
    }

    #[test]
    fn a_time_without_an_offset_is_of_the_zone() {
        check_in("+02:00", "nginx_error", "2023/10/11 14:32:52", "2023-10-11T14:32:52+02:00");
        check_in("-0330", "unix", "0", "1969-12-31T20:30:00-03:30");
        check_in("+02:00", "httpdate", "10/Oct/2000:13:55:36 -0700", "2000-10-10T13:55:36-07:00");
        assert!(zone("Mars/Olympus").is_err() && zone("+2").is_err() && zone("+99:00").is_err());
        if let Ok(zone) = zone("Europe/Berlin") {
            assert_eq!(zone.to_offset(Instant::UNIX_EPOCH).seconds(), 3600);
            check_in("Europe/Berlin", "nginx_error", "2023/07/11 14:32:52", "2023-07-11T14:32:52+02:00");
            // An hour that there was not.
            check_in("Europe/Berlin", "nginx_error", "2023/03/26 02:30:00", "2023-03-26T03:30:00+02:00");
        } else {
            eprintln!("SKIPPED: this system has no time zone database (package tzdata)");
        }
    }

    #[test]
    fn the_result_may_be_another_field_and_the_field_a_number() {
        let timestamp = TimestampOptions {
            field: "ts".to_owned(),
            to: Some("time".to_owned()),
            format: TimeFormat::new("unix").expect("a format"),
            zone: TimeZone::UTC,
        };
        let refine = Refine { timestamp: Some(Box::new(timestamp)), ..Refine::default() };
        let line = br#"{"time":"old","ts":1700000000,"a":1}"#;
        assert_eq!(parsed_with(Format::Json, refine, line), "time=2023-11-14T22:13:20Z|ts=`1700000000`|a=`1`");
    }
}
