//! What ten million payments in the ledger cost a new one, and what pruning them costs. See docs/performance.md.

mod fill;
mod load;
mod report;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use clap::Parser;
use farebox::ledger::retention::Pruner;
use farebox::ledger::sqlite::SqliteLedger;
use farebox::ledger::{Ledger, UnixMillis};
use farebox::telemetry::Metrics;

use self::load::{Measured, Pace};
use self::report::Row;

// As in the shipped binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Anything that ends a run.
pub type Failure = Box<dyn std::error::Error>;

/// Payments through an SQLite ledger that is empty, that is full, and that is being pruned.
#[derive(Debug, Parser)]
struct Args {
    /// Payments in the full ledger.
    #[arg(long, default_value_t = 10_000_000)]
    rows: u64,
    /// How often each is measured.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// For how long.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Payments that are under way at once.
    #[arg(long, default_value_t = 64)]
    in_flight: usize,
    /// Payments a second that are offered in the first table; the second offers as many as the ledger can take.
    #[arg(long, default_value_t = 3_000)]
    per_second: u32,
    /// Where the ledgers are made: about 1 KB of disk for each payment.
    #[arg(long)]
    folder: Option<PathBuf>,
    /// Cargo's own.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(&args))
}

async fn run(args: &Args) -> Result<(), Failure> {
    let folder = match &args.folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let path = folder.path().join("full.db");
    eprintln!("making a ledger of {} payments", args.rows);
    let began = Instant::now();
    fill::fill(&path, args.rows, now()).await?;
    let bytes = std::fs::metadata(&path)?.len();
    println!("{} payments, {} MB, made in {:.0} s", args.rows, bytes / 1_000_000, began.elapsed().as_secs_f64());

    let full: Arc<dyn Ledger> = Arc::new(SqliteLedger::open(&path)?);
    let metrics = Metrics::new();
    let pruning = Arc::new(AtomicBool::new(false));
    let pruner = {
        let pruning = pruning.clone();
        let keep = Duration::from_secs(fill::KEEP_DAYS.unsigned_abs() * 86_400);
        let pruner = Pruner { ledger: full.clone(), metrics: metrics.clone(), clock: now };
        tokio::spawn(pruner.run(move || pruning.load(Ordering::SeqCst).then_some(keep)))
    };

    // The first one fills the caches, and is not counted.
    measure(&full, args, Pace::Unbroken, 1).await?;
    let per_second = format!("{} payments a second offered", args.per_second);
    let paces = [(Pace::PerSecond(args.per_second.into()), &*per_second), (Pace::Unbroken, "as many as it can take")];
    let mut tables = paces.map(|_| ["empty", "full", "full, being pruned"].map(Row::new));
    let mut pruned_for = Duration::ZERO;
    for round in 0..args.rounds {
        eprintln!("round {}", round + 1);
        for (rows, (pace, _)) in tables.iter_mut().zip(paces) {
            let empty = measure_empty(folder.path(), args, pace).await?;
            let filled = measure(&full, args, pace, args.seconds).await?;
            pruning.store(true, Ordering::SeqCst);
            let began = Instant::now();
            // Until it has begun.
            let before = pruned(&metrics)?;
            while pruned(&metrics)? == before {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            let both = measure(&full, args, pace, args.seconds).await?;
            pruning.store(false, Ordering::SeqCst);
            pruned_for += began.elapsed();
            for (row, measured) in rows.iter_mut().zip([empty, filled, both]) {
                row.measured.push(measured);
            }
        }
    }
    pruner.abort();
    for (rows, (_, title)) in tables.iter().zip(paces) {
        println!("\n{title}, at most {} under way:", args.in_flight);
        report::print(rows);
    }
    let pruned = pruned(&metrics)?;
    println!("\npruned meanwhile: {pruned:.0} payments, {:.0} a second", pruned / pruned_for.as_secs_f64());
    full.close().await?;
    Ok(())
}

async fn measure_empty(folder: &Path, args: &Args, pace: Pace) -> Result<Measured, Failure> {
    let folder = tempfile::tempdir_in(folder)?;
    let empty: Arc<dyn Ledger> = Arc::new(SqliteLedger::open(&folder.path().join("empty.db"))?);
    let measured = measure(&empty, args, pace, args.seconds).await?;
    empty.close().await?;
    Ok(measured)
}

async fn measure(ledger: &Arc<dyn Ledger>, args: &Args, pace: Pace, seconds: u64) -> Result<Measured, Failure> {
    load::measure(ledger, args.in_flight, pace, Duration::from_secs(seconds)).await
}

fn pruned(metrics: &Metrics) -> Result<f64, Failure> {
    let text = metrics.render();
    let line = text.lines().find_map(|line| line.strip_prefix("farebox_ledger_pruned_total "));
    Ok(line.ok_or("no metric of pruned payments")?.parse()?)
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
