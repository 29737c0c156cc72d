//! What writing every payment down costs: payments per second through each ledger, and what a receipt weighs in memory.
//!
//! `cargo bench --bench ledger` starts a PostgreSQL server of its own, opens every ledger in a folder of its own and
//! takes payments through them in turn; see docs/performance.md for what the rows mean, and `-- --help` for what can be
//! changed. Whatever it starts ends with this process and leaves nothing behind.

#[path = "../common/command.rs"]
mod command;
#[path = "../common/mod.rs"]
#[allow(dead_code)]
mod common;
mod disk;
#[path = "../common/memory.rs"]
mod memory;
mod payments;
#[path = "../common/postgres.rs"]
mod postgres;
mod receipts;
mod report;
mod rows;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use tokio::runtime::Runtime;

use self::command::{Failure, Pace};

// As in the shipped binary: what a receipt weighs depends on it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the ledgers and the receipts in memory.
#[derive(clap::Args)]
struct Args {
    #[command(flatten)]
    pace: Pace<5, 3>,
    /// Payments under way at once, in the rows that have several.
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// Measures only rows with this in their name, and the disk.
    #[arg(long, value_name = "TEXT")]
    row: Option<String>,
    /// How many receipts are put into memory, one number after the other.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', num_args = 0.., default_value = "100000,1000000,10000000")]
    receipts: Vec<usize>,
    /// Where the files are: the disk that is measured.
    #[arg(long, value_name = "FOLDER", default_value = env!("CARGO_TARGET_TMPDIR"))]
    folder: PathBuf,
}

/// What else this binary is.
#[derive(Subcommand)]
enum Role {
    /// Fills a receipt cache and says what it weighs: in a process of its own, for memory is a process's.
    #[command(hide = true)]
    Receipts(receipts::Args),
}

fn main() -> ExitCode {
    command::run("ledger", measure, |Role::Receipts(filling)| receipts::run(filling))
}

fn measure(args: &Args) -> Result<(), Failure> {
    let folder = postgres::folder(&args.folder, "farebox-ledger-")?;
    let runtime = Runtime::new()?;
    let duration = Duration::from_secs(args.pace.seconds);
    let mut rows = rows::chosen(args);
    let opened = runtime.block_on(rows::open(&rows, folder.path()))?;
    // Files grow, pools fill, statements are prepared.
    for row in &rows {
        runtime.block_on(payments::run(opened.of(row.kind)?, row.in_flight, duration.min(rows::WARM_UP)))?;
    }
    let mut flushes = Vec::new();
    for round in 1..=args.pace.rounds {
        eprintln!("round {round} of {}: the disk", args.pace.rounds);
        flushes.push(disk::flushes_per_second(folder.path(), duration)?);
        for row in &mut rows {
            eprintln!("round {round} of {}: {}", args.pace.rounds, row.name);
            row.samples.push(runtime.block_on(payments::run(opened.of(row.kind)?, row.in_flight, duration))?);
        }
    }
    runtime.block_on(opened.close())?;
    report::print_payments(&rows, &flushes, args);

    if !args.receipts.is_empty() {
        report::print_receipts(&receipts::measure(&args.receipts)?);
    }
    Ok(())
}
