//! Log set-up: text for people, JSON on request, priorities for the journal. Knows no messages.
//! Invariant: logs go to stderr; stdout belongs to the `stdout` destination.

use std::{fmt, io::IsTerminal};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    filter::Targets,
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Format {
    /// Journal priorities under systemd, text otherwise.
    #[default]
    Auto,
    Text,
    Json,
}

/// The least severe level that is logged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub enum Verbosity {
    Error,
    Warn,
    #[default]
    Info,
    Debug,
}

impl From<Verbosity> for Level {
    fn from(verbosity: Verbosity) -> Self {
        match verbosity {
            Verbosity::Error => Self::ERROR,
            Verbosity::Warn => Self::WARN,
            Verbosity::Info => Self::INFO,
            Verbosity::Debug => Self::DEBUG,
        }
    }
}

/// Starts logging. A second call changes nothing.
pub fn init(format: Format, verbosity: Verbosity) {
    // Libraries log requests, and some of them credentials' sources; our own messages say what matters.
    let filter = Targets::new().with_target("headwater", Level::from(verbosity));
    let registry = tracing_subscriber::registry().with(filter);
    let stderr = || tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let started = match format {
        Format::Json => registry.with(stderr().json().flatten_event(true)).try_init(),
        Format::Auto if under_journal() => registry.with(stderr().with_ansi(false).event_format(Journal)).try_init(),
        Format::Auto | Format::Text => registry.with(stderr().with_ansi(colour)).try_init(),
    };
    // Somebody who uses this as a library may log in their own way.
    let _ = started;
}

/// Whether stderr is the journal's stream: systemd says so, by device and inode.
fn under_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = rustix::fs::fstat(std::io::stderr()) else { return false };
    stream.split_once(':').is_some_and(|(dev, ino)| dev.parse() == Ok(stat.st_dev) && ino.parse() == Ok(stat.st_ino))
}

/// `<priority>message fields`: the journal keeps the time itself (sd-daemon(3)).
struct Journal;

impl<S, N> FormatEvent<S, N> for Journal
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let priority = match *event.metadata().level() {
            Level::ERROR => 3,
            Level::WARN => 4,
            Level::INFO => 6,
            _ => 7,
        };
        write!(writer, "<{priority}>")?;
        ctx.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}
