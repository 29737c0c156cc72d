//! How every bench starts and ends: its command line, what its binary is besides, and why it was cut short.

use std::error::Error;
use std::process::ExitCode;

use clap::builder::StyledStr;
use clap::{Args, Command, Parser, Subcommand};

/// Anything that ends a run.
pub type Failure = Box<dyn Error + Send + Sync>;

/// How often each row is measured, and how long.
#[derive(Args)]
pub struct Pace<const ROUNDS: usize, const SECONDS: u64> {
    /// How often each row is measured; rows take turns.
    #[arg(long, default_value_t = ROUNDS)]
    pub rounds: usize,
    /// How long each measurement lasts.
    #[arg(long, default_value_t = SECONDS)]
    pub seconds: u64,
}

/// A bench's command line.
#[derive(Parser)]
#[command(about = about::<Own>())]
struct Line<Own: Args, Role: Subcommand> {
    #[command(flatten)]
    own: Own,
    /// Cargo says so to every bench.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What --help says of a bench: what its own options say of it.
fn about<Own: Args>() -> StyledStr {
    Own::augment_args(Command::new("bench")).get_about().cloned().unwrap_or_default()
}

/// Runs the bench of that name with its own options, or what else its binary was started as.
pub fn run<Own: Args, Role: Subcommand>(
    name: &str,
    measure: impl FnOnce(&Own) -> Result<(), Failure>,
    play: impl FnOnce(Role) -> Result<(), Failure>,
) -> ExitCode {
    let Line { own, role, .. } = Line::parse();
    let ran = match role {
        Some(role) => play(role),
        None => measure(&own),
    };
    match ran {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{name} bench: {failure}");
            ExitCode::FAILURE
        }
    }
}
