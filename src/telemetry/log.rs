//! Logs: lines on standard error, JSON or text, written by a thread of their own.
//!
//! No request ever waits for a log line. When standard error is not read fast enough, [`LINES_WAITING_MAX`] lines
//! wait and further ones are dropped and counted.

use std::io::{IsTerminal, Write};

use tracing::{Level, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;

pub use super::access_line::ACCESS_TARGET;

/// Log lines that wait to be written before further ones are dropped.
pub const LINES_WAITING_MAX: usize = 16 * 1024;

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    Json,
    /// For people; in colour on a terminal.
    Text,
}

/// What `[log]` says.
#[derive(Debug, Clone, Copy)]
pub struct Settings<'a> {
    /// How a line looks.
    pub format: Format,
    /// Which lines are written: a level, or `TARGET=LEVEL`, or several of them with commas between.
    pub level: &'a str,
    /// Whether each request writes a line, whatever the level.
    pub access: bool,
}

/// Why logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter is not one.
    #[error(
        "not a log level: {0:?}; write off, error, warn, info, debug or trace, or TARGET=LEVEL such as farebox=debug, \
         several with commas between"
    )]
    Filter(String),
    /// Somebody has set up logs in this process before.
    #[error("logs are set up already")]
    SetUpAlready,
}

/// Keeps the writing thread alive; dropped, it writes what is waiting. Lives as long as the process serves.
#[must_use]
pub struct Logs {
    filter: reload::Handle<Targets, Registry>,
    dropped: ErrorCounter,
    _writing: WorkerGuard,
}

impl Logs {
    /// Changes which lines are written, after a reload of the config. The format stays as it is.
    pub fn set_filter(&self, level: &str, access: bool) -> Result<(), LogError> {
        self.apply(filter(level, access)?);
        Ok(())
    }

    fn apply(&self, wanted: Targets) {
        let level = log_level(Layer::<Registry>::max_level_hint(&wanted));
        // It fails only when the subscriber is gone, and then there is nothing left to filter.
        let _ = self.filter.reload(wanted);
        // Last, for the reload sets it to what any layer lets through. Pingora asks the `log` crate for each of its
        // dozens of lines a request: below this level that is one atomic load.
        log::set_max_level(level);
    }

    /// How many lines were dropped, for [`super::Metrics::count_dropped_lines`].
    pub fn dropped_lines(&self) -> ErrorCounter {
        self.dropped.clone()
    }
}

/// Sets up the process's logs on standard error, those of libraries that use the `log` crate included.
pub fn init(settings: Settings<'_>) -> Result<Logs, LogError> {
    let colour = std::io::stderr().is_terminal();
    init_on(std::io::stderr(), colour, LINES_WAITING_MAX, settings)
}

fn init_on(
    out: impl Write + Send + 'static,
    colour: bool,
    lines_waiting_max: usize,
    settings: Settings<'_>,
) -> Result<Logs, LogError> {
    let wanted = filter(settings.level, settings.access)?;
    let (writer, worker) = NonBlockingBuilder::default()
        .lossy(true)
        .buffered_lines_limit(lines_waiting_max)
        .thread_name("log")
        .finish(out);
    let dropped = writer.error_counter();
    let (layer, handle) = reload::Layer::new(Targets::new().with_default(LevelFilter::TRACE));
    tracing_subscriber::registry()
        .with(layer)
        // Other crates write whole requests at `trace`, payments and bearers included: no setting lets that through.
        .with(Targets::new().with_default(LevelFilter::DEBUG).with_target("farebox", LevelFilter::TRACE))
        .with(lines(settings.format, colour, writer))
        .try_init()
        .map_err(|_| LogError::SetUpAlready)?;
    let logs = Logs { filter: handle, dropped, _writing: worker };
    logs.apply(wanted);
    Ok(logs)
}

fn log_level(highest: Option<LevelFilter>) -> log::LevelFilter {
    match highest.and_then(LevelFilter::into_level) {
        None => log::LevelFilter::Off,
        Some(Level::ERROR) => log::LevelFilter::Error,
        Some(Level::WARN) => log::LevelFilter::Warn,
        Some(Level::INFO) => log::LevelFilter::Info,
        Some(Level::DEBUG) => log::LevelFilter::Debug,
        Some(Level::TRACE) => log::LevelFilter::Trace,
    }
}

/// Reads a filter, as the config's check does. Access lines follow their own switch alone.
pub fn filter(level: &str, access: bool) -> Result<Targets, LogError> {
    let wrong = || LogError::Filter(level.to_owned());
    for part in level.split(',') {
        // A bare word that is no level would be taken for a target, and silence everything else.
        let known = part.rsplit_once('=').map_or(part, |(_, level)| level).trim();
        if known.is_empty() || known.bytes().all(|b| b.is_ascii_digit()) || known.parse::<LevelFilter>().is_err() {
            return Err(wrong());
        }
    }
    let targets: Targets = level.parse().map_err(|_| wrong())?;
    Ok(targets.with_target(ACCESS_TARGET, if access { LevelFilter::INFO } else { LevelFilter::OFF }))
}

fn lines<S, W>(format: Format, colour: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        Format::Json => layer.json().flatten_event(true).with_current_span(false).with_span_list(false).boxed(),
        Format::Text => layer.with_ansi(colour).boxed(),
    }
}

#[cfg(test)]
mod tests;
