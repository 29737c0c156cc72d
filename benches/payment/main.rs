//! What a payment costs and how long it keeps its client waiting: Farebox between payers and a facilitator of the bench's
//! own, on this machine, in one run.
//!
//! `cargo bench --bench payment` first makes as many payments as the gateway takes, in each settle mode and with each ledger,
//! while nobody behind it takes any time; then one at a time, while everybody takes as much as in life, beside the
//! official middleware. See docs/performance.md for what the rows mean, and `-- --help` for what can be changed.
//! Everything listens on loopback, ends with this process and leaves nothing behind.

mod behind;
mod client;
// Shared with other benches, which measure for so many seconds.
#[path = "../common/command.rs"]
#[allow(dead_code)]
mod command;
#[path = "../common/mod.rs"]
#[allow(dead_code)]
mod common;
mod first;
mod gateway;
mod latency;
// Shared with benches that ask for more than a challenge.
#[path = "../common/load.rs"]
#[allow(dead_code)]
mod load;
mod nginx;
#[path = "../common/origin.rs"]
#[allow(dead_code)]
mod origin;
mod payers;
mod pool;
#[path = "../common/postgres.rs"]
mod postgres;
#[path = "../common/process.rs"]
mod process;
mod reference;
mod report;
mod rows;
// Shared with benches/gateway, which signs one payment, and installs what it needs.
#[path = "../common/sign.rs"]
#[allow(dead_code)]
mod sign;
#[path = "../common/tools.rs"]
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use farebox::x402::header;
use http::HeaderName;

use self::command::Failure;

// As in the shipped binary, for those who pay not to stand in the way.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PAYMENT_REQUIRED: HeaderName = HeaderName::from_static(header::PAYMENT_REQUIRED);
const PAYMENT_SIGNATURE: HeaderName = HeaderName::from_static(header::PAYMENT_SIGNATURE);
const PAYMENT_RESPONSE: HeaderName = HeaderName::from_static(header::PAYMENT_RESPONSE);

/// Measures first payments, and the latency of paid requests.
#[derive(clap::Args)]
struct Args {
    /// How often each row is measured; rows take turns.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// First payments of a row and round; none leaves that table out.
    #[arg(long, default_value_t = 10_000)]
    payments: usize,
    /// Connections that make them, each as fast as it is answered.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Requests of a row and round whose latency is measured; none leaves that table out.
    #[arg(long, default_value_t = 20)]
    requests: usize,
    /// Measures first payments only in rows with this in their name.
    #[arg(long, value_name = "TEXT")]
    row: Option<String>,
    /// Where the ledgers' files are.
    #[arg(long, value_name = "FOLDER", default_value = env!("CARGO_TARGET_TMPDIR"))]
    folder: PathBuf,
    /// The binary that is measured.
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_farebox"))]
    farebox: PathBuf,
}

/// What else this binary is.
#[derive(Subcommand)]
enum Role {
    /// The facilitator and the upstream.
    #[command(hide = true)]
    Behind(behind::Args),
    /// Those who pay.
    #[command(hide = true)]
    Payers(payers::Args),
}

fn main() -> ExitCode {
    command::run("payment", measure, |role| match role {
        Role::Behind(behind) => behind::run(behind),
        Role::Payers(payers) => payers::run(payers),
    })
}

fn measure(args: &Args) -> Result<(), Failure> {
    tools::require()?;
    let folder = postgres::folder(&args.folder, "farebox-payment-")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rows = match args.payments {
        0 => Vec::new(),
        _ => rows::chosen(args.row.as_deref()),
    };
    if rows.is_empty() && args.payments > 0 {
        return Err("no row has that in its name".into());
    }
    let first = first::measure(args, &runtime, folder.path(), &rows)?;
    let latency = match args.requests {
        0 => Vec::new(),
        _ => latency::measure(args, &runtime, folder.path())?,
    };
    report::print_machine(args);
    if !rows.is_empty() {
        report::print_first(&rows, &first, args);
    }
    if !latency.is_empty() {
        report::print_latency(&latency, args);
    }
    Ok(())
}
