//! Reading times as people write them. Knows no fields and no zone but what the text says. Invariant: what is read by hand is
//! what the library would read; whatever is not of a common form is left to the library.

use jiff::{Timestamp, civil::Time, fmt::strtime::BrokenDownTime, tz::Offset};

/// How a time is written.
#[derive(Clone, Debug)]
pub struct TimeFormat(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Rfc3339,
    /// Decimals of a second in the number.
    Unix(u8),
    /// The pieces, if all of them are common ones; and the format.
    Written(Option<Vec<Piece>>, String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Piece {
    Byte(u8),
    Blanks,
    Year,
    Month,
    MonthName,
    DayName,
    Day,
    Hour,
    Minute,
    Second,
    Fraction,
    DotFraction,
    Offset,
}

/// What was read.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Read {
    Instant(Timestamp, Digits),
    Local(Local),
}

/// Decimals of a second that were written, at most 9.
pub(super) type Digits = u8;

/// A time of some place. Not checked: there may be no such day.
#[derive(Clone, Copy, PartialEq, Debug, Default)]
pub(super) struct Local {
    pub(super) year: Option<i16>,
    pub(super) month: i8,
    pub(super) day: i8,
    pub(super) hour: i8,
    pub(super) minute: i8,
    pub(super) second: i8,
    pub(super) nanos: i32,
    pub(super) digits: Digits,
    pub(super) offset: Option<Offset>,
}

/// Formats that have a name.
const NAMED: [(&str, &str); 4] = [
    ("httpdate", "%d/%b/%Y:%H:%M:%S %z"),
    ("syslog", "%b %e %H:%M:%S"),
    ("apache_error", "%a %b %d %H:%M:%S%.f %Y"),
    ("nginx_error", "%Y/%m/%d %H:%M:%S"),
];

impl TimeFormat {
    /// A name, or a format of `strptime`. The error says what is wrong without naming the format, as in "is no ...".
    pub fn new(text: &str) -> Result<Self, String> {
        let kind = match text {
            "rfc3339" => Kind::Rfc3339,
            "unix" => Kind::Unix(0),
            "unix_ms" => Kind::Unix(3),
            "unix_us" => Kind::Unix(6),
            "unix_ns" => Kind::Unix(9),
            _ => match NAMED.iter().find(|(name, _)| *name == text) {
                Some((_, format)) => Kind::Written(pieces(format), (*format).to_owned()),
                None if !text.contains('%') => {
                    return Err(
                        "is no time format; write rfc3339, unix, unix_ms, unix_us, unix_ns, httpdate, syslog, apache_error, nginx_error, or a format like `%Y-%m-%d %H:%M:%S`"
                            .to_owned(),
                    );
                }
                None => Kind::Written(pieces(text), text.to_owned()),
            },
        };
        if let Kind::Written(_, format) = &kind {
            check(format)?;
        }
        Ok(Self(kind))
    }

    /// Reads all of `text`.
    pub(super) fn read(&self, text: &[u8]) -> Option<Read> {
        match &self.0 {
            Kind::Rfc3339 => rfc3339(text).map(Read::Local),
            Kind::Unix(decimals) => unix(text, *decimals),
            Kind::Written(pieces, format) => {
                let by_hand = pieces.as_ref().and_then(|pieces| by_hand(pieces, text)).map(Read::Local);
                by_hand.or_else(|| by_library(format, text))
            }
        }
    }
}

/// Whether a time can be written and read again by a format.
fn check(format: &str) -> Result<(), String> {
    let wrong = |why: String| format!("is no time format that can be read: {why}");
    let some = jiff::civil::date(2024, 11, 23).at(21, 34, 56, 789_000_000).to_zoned(jiff::tz::TimeZone::UTC);
    let some = some.map_err(|why| wrong(why.to_string()))?;
    let written = jiff::fmt::strtime::format(format, &some).map_err(|why| wrong(why.to_string()))?;
    BrokenDownTime::parse(format, &written).map_err(|why| wrong(why.to_string()))?;
    let found = by_library(format, written.as_bytes());
    found.map(drop).ok_or_else(|| wrong("it has no day; write at least a month and a day, like `%b %e`".to_owned()))
}

/// The pieces of a format, if all of them are common.
fn pieces(format: &str) -> Option<Vec<Piece>> {
    let format = format.replace("%F", "%Y-%m-%d").replace("%T", "%H:%M:%S").replace("%R", "%H:%M");
    let mut rest = format.as_bytes();
    let mut list = Vec::new();
    while let [first, tail @ ..] = rest {
        let (piece, taken) = match (first, tail) {
            (b'%', [b'.', b'f', ..]) => (Piece::DotFraction, 3),
            (b'%', [b':', b'z', ..]) => (Piece::Offset, 3),
            (b'%', [letter, ..]) => (directive(*letter)?, 2),
            (b'%', []) => return None,
            (blank, _) if blank.is_ascii_whitespace() => (Piece::Blanks, 1),
            (byte, _) => (Piece::Byte(*byte), 1),
        };
        list.push(piece);
        rest = &rest[taken..];
    }
    Some(list)
}

fn directive(letter: u8) -> Option<Piece> {
    Some(match letter {
        b'Y' => Piece::Year,
        b'm' => Piece::Month,
        b'b' | b'h' => Piece::MonthName,
        b'a' => Piece::DayName,
        b'd' | b'e' => Piece::Day,
        b'H' | b'k' => Piece::Hour,
        b'M' => Piece::Minute,
        b'S' => Piece::Second,
        b'f' => Piece::Fraction,
        b'z' => Piece::Offset,
        _ => return None,
    })
}

/// Reads a text from its beginning to its end.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn pass(&mut self, byte: u8) -> Option<()> {
        self.0 = self.0.strip_prefix(&[byte])?;
        Some(())
    }

    fn blanks(&mut self) {
        self.0 = self.0.trim_ascii_start();
    }

    /// `N` digits.
    fn digits<const N: usize>(&mut self) -> Option<i16> {
        let (digits, rest) = self.0.split_first_chunk::<N>()?;
        let number = digits.iter().try_fold(0, |sum, digit| Some(sum * 10 + i16::from(digit_of(*digit)?)))?;
        self.0 = rest;
        Some(number)
    }

    fn two(&mut self) -> Option<i8> {
        i8::try_from(self.digits::<2>()?).ok()
    }

    /// One digit or two, blanks before them.
    fn day(&mut self) -> Option<i8> {
        self.blanks();
        self.two().or_else(|| i8::try_from(self.digits::<1>()?).ok())
    }

    fn second(&mut self) -> Option<i8> {
        // A leap second has no place in the time scale.
        self.two().map(|second| if second == 60 { 59 } else { second })
    }

    /// 1 to 9 decimals.
    fn fraction(&mut self) -> Option<(i32, Digits)> {
        let len = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let digits = u8::try_from(len).ok().filter(|digits| (1..=9).contains(digits))?;
        let nanos = self.0[..len].iter().fold(0, |sum, digit| sum * 10 + i32::from(digit - b'0'));
        self.0 = &self.0[len..];
        Some((nanos * 10_i32.pow(u32::from(9 - digits)), digits))
    }

    fn month_name(&mut self) -> Option<i8> {
        const NAMES: &[u8; 36] = b"janfebmaraprmayjunjulaugsepoctnovdec";
        let (name, rest) = self.0.split_first_chunk::<3>()?;
        let name = name.map(|byte| byte.to_ascii_lowercase());
        let at = NAMES.as_chunks::<3>().0.iter().position(|known| *known == name)?;
        self.0 = rest;
        i8::try_from(at + 1).ok()
    }

    fn day_name(&mut self) -> Option<()> {
        const NAMES: &[u8; 21] = b"montuewedthufrisatsun";
        let (name, rest) = self.0.split_first_chunk::<3>()?;
        let name = name.map(|byte| byte.to_ascii_lowercase());
        self.0 = rest;
        NAMES.as_chunks::<3>().0.contains(&name).then_some(())
    }

    /// `Z`, `+0100`, `+01:00`; `short`: or `+01`.
    fn offset(&mut self, short: bool) -> Option<Offset> {
        let (sign, rest) = self.0.split_first()?;
        self.0 = rest;
        let sign = match sign {
            b'Z' | b'z' => return Some(Offset::UTC),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let hours = self.two()?;
        let minutes = if self.0.is_empty() && short {
            0
        } else {
            let _ = self.pass(b':');
            self.two().filter(|minutes| *minutes < 60)?
        };
        Offset::from_seconds(sign * (i32::from(hours) * 3600 + i32::from(minutes) * 60)).ok()
    }
}

fn digit_of(byte: u8) -> Option<u8> {
    byte.is_ascii_digit().then(|| byte - b'0')
}

fn by_hand(pieces: &[Piece], text: &[u8]) -> Option<Local> {
    let mut reader = Reader(text);
    let mut local = Local::default();
    for piece in pieces {
        match piece {
            Piece::Byte(byte) => reader.pass(*byte)?,
            Piece::Blanks => reader.blanks(),
            Piece::Year => local.year = Some(reader.digits::<4>()?),
            Piece::Month => local.month = reader.two()?,
            Piece::MonthName => local.month = reader.month_name()?,
            Piece::DayName => reader.day_name()?,
            Piece::Day => local.day = reader.day()?,
            Piece::Hour => local.hour = reader.day()?,
            Piece::Minute => local.minute = reader.two()?,
            Piece::Second => local.second = reader.second()?,
            Piece::Fraction => (local.nanos, local.digits) = reader.fraction()?,
            Piece::DotFraction => {
                if reader.pass(b'.').is_some() {
                    (local.nanos, local.digits) = reader.fraction()?;
                }
            }
            Piece::Offset => local.offset = Some(reader.offset(false)?),
        }
    }
    reader.0.is_empty().then_some(local)
}

/// RFC 3339; and with a space for the `T`, a comma for the point, an offset without colon or minutes, or none.
fn rfc3339(text: &[u8]) -> Option<Local> {
    let mut reader = Reader(text);
    let mut local = Local { year: Some(reader.digits::<4>()?), ..Local::default() };
    reader.pass(b'-')?;
    local.month = reader.two()?;
    reader.pass(b'-')?;
    local.day = reader.two()?;
    reader.pass(b'T').or_else(|| reader.pass(b't')).or_else(|| reader.pass(b' '))?;
    local.hour = reader.two()?;
    reader.pass(b':')?;
    local.minute = reader.two()?;
    reader.pass(b':')?;
    local.second = reader.second()?;
    if reader.pass(b'.').or_else(|| reader.pass(b',')).is_some() {
        (local.nanos, local.digits) = reader.fraction()?;
    }
    if !reader.0.is_empty() {
        let _ = reader.pass(b' ');
        local.offset = Some(reader.offset(true)?);
    }
    reader.0.is_empty().then_some(local)
}

/// A number since 1970; of seconds it may have a fraction.
fn unix(text: &[u8], decimals: Digits) -> Option<Read> {
    let mut reader = Reader(text);
    let negative = reader.pass(b'-').is_some();
    let len = reader.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = reader.0[..len]
        .iter()
        .try_fold(0_i64, |sum, digit| sum.checked_mul(10)?.checked_add(i64::from(digit - b'0')))?;
    if len == 0 {
        return None;
    }
    reader.0 = &reader.0[len..];
    let scale = 10_i64.pow(u32::from(decimals));
    let mut nanos = i32::try_from(number % scale * (1_000_000_000 / scale)).ok()?;
    let mut digits = decimals;
    if decimals == 0 && reader.pass(b'.').is_some() {
        (nanos, digits) = reader.fraction()?;
    }
    let sign = if negative { -1 } else { 1 };
    let instant = Timestamp::new(number / scale * i64::from(sign), nanos * sign).ok()?;
    reader.0.is_empty().then_some(Read::Instant(instant, digits))
}

fn by_library(format: &str, text: &[u8]) -> Option<Read> {
    let time = BrokenDownTime::parse(format, text).ok()?;
    if time.iana_time_zone().is_some() {
        let zoned = time.to_zoned().ok()?;
        return Some(local(zoned.datetime(), Some(zoned.offset())));
    }
    if let Some(instant) = time.timestamp() {
        return Some(Read::Instant(instant, decimals(instant.subsec_nanosecond())));
    }
    if time.year().is_none() && time.iso_week_year().is_none() {
        let at = time.to_time().unwrap_or(Time::midnight());
        let date = jiff::civil::date(2000, time.month()?, 1).at(0, 0, 0, 0).with().time(at).build().ok()?;
        let Read::Local(found) = local(date, time.offset()) else { return None };
        return Some(Read::Local(Local { year: None, day: time.day()?, ..found }));
    }
    Some(local(time.to_datetime().ok()?, time.offset()))
}

fn local(time: jiff::civil::DateTime, offset: Option<Offset>) -> Read {
    Read::Local(Local {
        year: Some(time.year()),
        month: time.month(),
        day: time.day(),
        hour: time.hour(),
        minute: time.minute(),
        second: time.second(),
        nanos: time.subsec_nanosecond(),
        digits: decimals(time.subsec_nanosecond()),
        offset,
    })
}

/// How many decimals these nanoseconds need.
fn decimals(nanos: i32) -> Digits {
    let (mut digits, mut rest) = (9, nanos.abs());
    while digits > 0 && rest % 10 == 0 {
        (digits, rest) = (digits - 1, rest / 10);
    }
    digits
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn by_hand_of(format: &str, text: &[u8]) -> Option<Local> {
        by_hand(&pieces(format).expect("only common pieces"), text)
    }

    const FORMATS: [&str; 7] = [
        "%d/%b/%Y:%H:%M:%S %z",
        "%b %e %Y %H:%M:%S",
        "%a %b %d %H:%M:%S%.f %Y",
        "%Y/%m/%d %T",
        "%FT%T.%f%:z",
        "%F %R",
        "[%h %d] %Y %k",
    ];

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn what_is_read_by_hand_is_what_the_library_reads(
            second in -62_000_000_000_i64..250_000_000_000, nanos in prop_oneof![Just(0), 0..1_000_000_000_i32], offset in -23*4..23*4_i32,
            edit in proptest::option::of((any::<prop::sample::Index>(), " 019:Z+a")),
        ) {
            let offset = Offset::from_seconds(offset * 900).expect("less than a day");
            let time = Timestamp::new(second, nanos).expect("in range").to_zoned(offset.to_time_zone());
            for format in FORMATS {
                let mut text = jiff::fmt::strtime::format(format, &time).expect("it can be written").into_bytes();
                if let Some((at, with)) = &edit {
                    let at = at.index(text.len());
                    text.splice(at..=at, with.bytes().take(1));
                }
                let hand = by_hand_of(format, &text);
                prop_assert!(edit.is_some() || hand.is_some(), "{} of {}", String::from_utf8_lossy(&text), format);
                if let (Some(hand), Some(Read::Local(library))) = (hand, by_library(format, &text)) {
                    prop_assert_eq!(Local { digits: library.digits, ..hand }, library, "{}", String::from_utf8_lossy(&text));
                }
            }
        }

        #[test]
        fn no_text_makes_it_panic(text in proptest::collection::vec(prop_oneof![Just(b'0'), Just(b'9'), Just(b'-'), Just(b':'), Just(b'.'), any::<u8>()], 0..40)) {
            for format in ["rfc3339", "unix", "unix_ms", "unix_ns", "httpdate", "syslog", "apache_error", "%s", "%I:%M %p %j %Y", "%A %d %B %y"] {
                let _ = TimeFormat::new(format).expect("a format").read(&text);
            }
        }
    }

    #[test]
    fn a_format_that_cannot_be_read_is_refused() {
        for (format, expected) in [
            ("iso", "is no time format; write rfc3339"),
            ("%H:%M:%S", "is no time format that can be read: it has no day"),
            ("%Y-%m-%d %Z", "is no time format that can be read: "),
            ("%Y-%L", "is no time format that can be read: "),
            ("%", "is no time format that can be read: "),
        ] {
            let error = TimeFormat::new(format).expect_err(format);
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
