//! The command line: one file per command.
//!
//! Exit codes: 0 done; 1 the command's answer is no (a config with errors, a payment refused, an unclean
//! shutdown); 2 it could not be tried (bad usage, an unreadable file, a listener that cannot be bound).

pub mod check;
pub mod demo;
pub mod explain;
pub mod ledger;
pub mod pay;
pub mod run;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The command was carried out and its answer is no.
pub const EXIT_NO: u8 = 1;
/// The command could not be tried.
pub const EXIT_TROUBLE: u8 = 2;

/// A reverse proxy that puts a price on HTTP routes and takes x402 payments for them.
#[derive(Debug, Parser)]
#[command(name = "farebox", version, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    Run(run::Args),
    /// Check a config file: exit 0 when it is right, 1 when it is not.
    Check(check::Args),
    /// Show which route answers a request, why, and what it costs.
    Explain(explain::Args),
    /// List and sum payments.
    Ledger(ledger::Args),
    /// Start an upstream, a sandbox facilitator and the gateway on loopback, and show one payment.
    Demo(demo::Args),
    /// Fetch a URL, paying for it when asked to.
    Pay(pay::Args),
}

impl Cli {
    /// Carries out the one command.
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Run(args) => run::run(args),
            Command::Check(args) => check::run(args),
            Command::Explain(args) => explain::run(args),
            Command::Ledger(args) => ledger::run(args),
            Command::Demo(args) => demo::run(args),
            Command::Pay(args) => pay::run(args),
        }
    }
}
