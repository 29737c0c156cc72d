//! What standing in the way costs: Farebox beside a bare proxy of the same engine, on this machine, in one run.
//!
//! `cargo bench --bench gateway` starts an origin, both proxies and, row after row, the load; see docs/performance.md
//! for what the rows mean, and `-- --help` for what can be changed. Everything listens on loopback, ends with this
//! process and leaves nothing behind.

mod bare;
#[path = "../common/mod.rs"]
mod common;
mod front;
mod gateway;
#[path = "../common/load.rs"]
mod load;
#[path = "../common/origin.rs"]
mod origin;
mod payment;
#[path = "../common/process.rs"]
mod process;
mod report;
mod rows;
#[path = "../common/sign.rs"]
mod sign;
#[path = "../common/tools.rs"]
mod tools;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

// As in the shipped binary, for the bare proxy to stand on the same ground.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Anything that ends a run.
type Failure = Box<dyn Error>;

/// Measures the gateway beside a bare proxy.
#[derive(Parser)]
struct Args {
    /// How often each row is measured; rows take turns.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// How long each measurement lasts.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Connections that send requests, each as fast as it is answered.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Measures only rows with this in their name, and those they are compared with.
    #[arg(long, value_name = "TEXT")]
    row: Option<String>,
    /// The binary that is measured.
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_farebox"))]
    farebox: PathBuf,
    /// Cargo says so to every bench.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What else this binary is.
#[derive(Subcommand)]
enum Role {
    /// The proxy that Farebox is measured against.
    #[command(hide = true)]
    Bare(bare::Args),
}

fn main() -> ExitCode {
    let args = Args::parse();
    let ran = match args.role {
        Some(Role::Bare(bare)) => bare::run(bare),
        None => measure(&args),
    };
    common::ended("gateway", ran)
}

fn measure(args: &Args) -> Result<(), Failure> {
    tools::require()?;
    let folder = tempfile::Builder::new().prefix("farebox-bench-").tempdir()?;
    let origin = origin::start(folder.path())?;
    let quiet = gateway::start(&args.farebox, folder.path(), origin.address, gateway::AccessLog::Off)?;
    let logging = gateway::start(&args.farebox, folder.path(), origin.address, gateway::AccessLog::On)?;
    let (challenge, paid) = payment::pay_once(quiet.address)?;
    let bare = bare::start(folder.path(), origin.address, &challenge)?;
    let nginx = front::start(folder.path(), origin.address, &challenge)?;
    payment::same_answers(bare.address, quiet.address)?;

    let load = load::Load::new(folder.path(), Duration::from_secs(args.seconds), args.connections)?;
    let servers = rows::Servers { nginx, bare, quiet, logging };
    let rows = rows::chosen(args.row.as_deref(), &paid);
    if rows.is_empty() {
        return Err("no row has that in its name".into());
    }
    for row in &rows {
        load.warm_up(servers.of(row.server), row)?;
    }
    let mut measured = vec![Vec::with_capacity(args.rounds); rows.len()];
    for round in 1..=args.rounds {
        for (row, samples) in rows.iter().zip(&mut measured) {
            eprintln!("round {round} of {}: {}", args.rounds, row.name);
            samples.push(load.run(servers.of(row.server), row)?);
        }
    }
    report::print(&rows, &measured, args);
    Ok(())
}
