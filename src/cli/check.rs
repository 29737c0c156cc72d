//! `farebox check`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::config::{self, Charge, Config, Fault};

/// The command's arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The config files to check.
    #[arg(default_value = "gateway.toml", value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Take warnings for errors.
    #[arg(long)]
    strict: bool,
}

/// What became of a file; the worst one decides the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Right,
    Wrong,
    Unreadable,
}

/// Carries it out: findings on standard error, one line a file on standard output.
pub fn run(args: Args) -> ExitCode {
    let worst = args.files.iter().map(|file| check(file, args.strict)).max();
    match worst.unwrap_or(Outcome::Right) {
        Outcome::Right => ExitCode::SUCCESS,
        Outcome::Wrong => ExitCode::from(super::EXIT_NO),
        Outcome::Unreadable => ExitCode::from(super::EXIT_TROUBLE),
    }
}

fn check(file: &Path, strict: bool) -> Outcome {
    let (outcome, warnings, errors, summary) = match config::load(file) {
        Ok(loaded) => {
            let warned = counted(loaded.warnings.len(), "warning", "warnings");
            let refused = strict && !loaded.warnings.is_empty();
            let outcome = if refused { Outcome::Wrong } else { Outcome::Right };
            let verdict = if refused { "not ok" } else { "ok" };
            (outcome, loaded.warnings, None, format!("{verdict} ({}, {warned})", contents(&loaded.config)))
        }
        Err(report) => {
            let counts =
                [counted(report.errors, "error", "errors"), counted(report.warnings.len(), "warning", "warnings")];
            match report.fault {
                Fault::Wrong => {
                    (Outcome::Wrong, report.warnings, Some(report.rendered), format!("not ok ({})", counts.join(", ")))
                }
                Fault::Unreadable => {
                    (Outcome::Unreadable, report.warnings, Some(report.rendered), "not read".to_owned())
                }
            }
        }
    };
    // A reader that went away is no trouble of the file's: the exit code still tells.
    for finding in errors.iter().chain(&warnings) {
        let _ = writeln!(std::io::stderr(), "{finding}\n");
    }
    let _ = writeln!(std::io::stdout(), "{}: {summary}", file.display());
    outcome
}

fn contents(config: &Config) -> String {
    let priced = config.routes.iter().filter(|route| matches!(route.charge, Charge::Priced(_))).count();
    format!(
        "{}, {priced} with a price, {}",
        counted(config.routes.len(), "route", "routes"),
        counted(config.ways.len(), "way to pay", "ways to pay")
    )
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}
