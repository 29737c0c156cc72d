//! What grows with what: the gateway with ten routes and with a hundred thousand, with receipts in memory, idle connections and
//! a second thread; how long it takes to start, and what a reload makes a request wait, on this machine, in one run.
//!
//! `cargo bench --bench growth` measures all parts, `-- --part reload` one of them; see docs/performance.md. Everything listens
//! on loopback, ends with this process and leaves nothing behind.

// Shared with benches/gateway, which uses all of it.
#[path = "../gateway/bare.rs"]
mod bare;
#[path = "../common/command.rs"]
mod command;
#[path = "../common/mod.rs"]
mod common;
#[path = "../gateway/front.rs"]
#[allow(dead_code)]
mod front;
#[path = "../common/load.rs"]
#[allow(dead_code)]
mod load;
#[path = "../common/memory.rs"]
mod memory;
#[path = "../common/origin.rs"]
mod origin;
#[path = "../common/payer.rs"]
#[allow(dead_code)]
mod payer;
#[path = "../common/process.rs"]
mod process;
#[path = "../common/settled.rs"]
mod settled;
#[path = "../../tests/support/shop.rs"]
mod shop;
#[path = "../common/sign.rs"]
mod sign;
#[path = "../common/tools.rs"]
mod tools;

mod client;
mod farebox;
mod idle;
mod receipts;
mod reload;
mod rows;
mod speed;
mod start;
mod steady;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};

use self::command::{Failure, Pace};
use self::process::Process;

// As in the shipped binary, for the bare proxy to stand on the same ground.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures what grows.
#[derive(clap::Args)]
struct Args {
    #[command(flatten)]
    pace: Pace<5, 3>,
    /// Connections that send requests, each as fast as it is answered.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Measures only this; may be given more than once.
    #[arg(long, value_enum)]
    part: Vec<Part>,
    /// Routes, the fewest first; a start and a reload are measured with the first and the last of these.
    #[arg(long, value_delimiter = ',', default_values_t = [10, 1_000, 100_000])]
    routes: Vec<usize>,
    /// Receipts in memory.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1_000_000, 10_000_000])]
    receipts: Vec<usize>,
    /// The binary that is measured.
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_farebox"))]
    farebox: PathBuf,
}

/// What can be measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// 10, 1,000 and 100,000 routes.
    Routes,
    /// One worker thread, and two.
    Threads,
    /// 0, 1 and 10 million receipts in memory.
    Receipts,
    /// 1 to 10,000 idle connections.
    Idle,
    /// From exec to the first answer.
    Start,
    /// The longest wait while the config is reloaded.
    Reload,
}

/// What else this binary is.
#[derive(Subcommand)]
enum Role {
    /// The proxy that Farebox is measured against.
    #[command(hide = true)]
    Bare(bare::Args),
    /// A gate with so many receipts.
    #[command(hide = true)]
    Receipts(receipts::Args),
    /// Those who ask at an even pace.
    #[command(hide = true)]
    Steady(steady::Args),
}

/// What all parts need.
struct Bench<'a> {
    args: &'a Args,
    folder: &'a Path,
    origin: Process,
}

fn main() -> ExitCode {
    command::run("growth", measure, |role| match role {
        Role::Bare(bare) => bare::run(bare),
        Role::Receipts(receipts) => receipts::run(&receipts),
        Role::Steady(steady) => steady::run(steady),
    })
}

fn measure(args: &Args) -> Result<(), Failure> {
    tools::require()?;
    // Before anything is started: all servers inherit it.
    idle::raise_limit();
    let folder = tempfile::Builder::new().prefix("farebox-bench-").tempdir()?;
    let bench = Bench { args, folder: folder.path(), origin: origin::start(folder.path(), rows::FILES)? };
    println!("{} rounds; {}.", args.pace.rounds, common::processor());
    println!("Medians, lowest and highest round in brackets; ratios are taken within a round.");
    for part in Part::value_variants() {
        if args.part.is_empty() || args.part.contains(part) {
            match part {
                Part::Routes => speed::routes(&bench)?,
                Part::Threads => speed::threads(&bench)?,
                Part::Receipts => receipts::measure(&bench)?,
                Part::Idle => idle::measure(&bench)?,
                Part::Start => start::measure(&bench)?,
                Part::Reload => reload::measure(&bench)?,
            }
        }
    }
    Ok(())
}

impl Bench<'_> {
    /// The load of a row.
    fn load(&self) -> Result<load::Load, Failure> {
        load::Load::new(self.folder, Duration::from_secs(self.args.pace.seconds), self.args.connections)
    }

    /// The fewest routes, and the most.
    fn extremes(&self) -> impl Iterator<Item = usize> {
        let routes = &self.args.routes;
        routes.first().into_iter().chain(routes.get(1..).and_then(<[_]>::last)).copied()
    }

    /// Says how far the run is.
    fn says(&self, round: usize, what: &str) {
        eprintln!("round {round} of {}: {what}", self.args.pace.rounds);
    }
}

/// For a table's cell.
fn judged(goal: &str, met: bool) -> String {
    format!("{goal}: {}", if met { "met" } else { "**missed**" })
}
