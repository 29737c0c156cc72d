//! `[log]`: what is written to standard error.

use super::diagnostic::Diagnostic;
use super::section::{Keys, Reader, Section};
use super::suggest::did_you_mean;

/// `[log]`: what is written to standard error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// How a line looks.
    pub format: LogFormat,
    /// A tracing filter such as `info` or `farebox=debug`.
    pub level: String,
    /// Whether each request writes a line.
    pub access: bool,
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

pub(super) const LOG: Keys = Keys { section: "[log]", names: &["format", "level", "access"] };

const LEVELS: &[&str] = &["off", "error", "warn", "info", "debug", "trace"];
const LEVEL_HELP: &str = "write one of \"off\", \"error\", \"warn\", \"info\", \"debug\", \"trace\", or levels by module such as \
                          \"info,farebox=debug\"";

/// Reads `[log]`.
pub(super) fn read(reader: &mut Reader<'_>, root: &Section<'_>) -> Log {
    let section = root.section(reader, "log", &LOG);
    let formats = [("json", LogFormat::Json), ("text", LogFormat::Text)];
    Log {
        format: section.choice(reader, "format", &formats).map_or(LogFormat::Json, |at| at.value),
        level: read_level(reader, &section).unwrap_or_else(|| "info".to_owned()),
        access: section.flag(reader, "access", true),
    }
}

/// Stricter than tracing's own reading, which takes a misspelt level for a module's name and logs nothing.
fn read_level(reader: &mut Reader<'_>, section: &Section<'_>) -> Option<String> {
    let text = section.text(reader, "level", LEVEL_HELP)?;
    let is_module = |name: &str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'))
    };
    for directive in text.value.split(',') {
        let (module, level) = match directive.trim().split_once('=') {
            Some((module, level)) => (Some(module), level),
            None => (None, directive.trim()),
        };
        if !LEVELS.contains(&level) || module.is_some_and(|module| !is_module(module)) {
            let suggestion = did_you_mean(level, LEVELS.iter().copied());
            let help = suggestion.unwrap_or_else(|| LEVEL_HELP.to_owned());
            reader.report(Diagnostic::error(text.span, "not a log level", help));
            return None;
        }
    }
    Some(text.value)
}
