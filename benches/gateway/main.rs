//! What standing in the way costs: Farebox beside a bare proxy of the same engine, nginx, and the other ways to ask for
//! a payment, on this machine, in one run.
//!
//! `cargo bench --bench gateway` starts an origin, the servers and, row after row, the load; see docs/performance.md
//! for what the rows mean, and `-- --help` for what can be changed. Everything listens on loopback (but for pay-gate,
//! which cannot be told to) and ends with this process; what it leaves behind is the peers in `target/peers`.

mod answers;
mod bare;
#[path = "../common/command.rs"]
mod command;
#[path = "../common/mod.rs"]
mod common;
mod front;
mod gateway;
#[path = "../common/load.rs"]
mod load;
#[path = "../common/origin.rs"]
mod origin;
#[path = "../common/payer.rs"]
mod payer;
mod peer;
#[path = "../common/process.rs"]
mod process;
mod report;
mod rows;
mod servers;
#[path = "../common/sign.rs"]
mod sign;
mod table;
#[path = "../common/tools.rs"]
mod tools;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;

use self::command::{Failure, Pace};
use self::gateway::AccessLog;
use self::load::Load;
use self::payer::Paid;
use self::process::Process;
use self::report::Report;
use self::rows::{FILES, PRICED, Row, SMALL};
use self::servers::{Server, Servers, Setting};

// As in the shipped binary, for the bare proxy to stand on the same ground.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures the gateway beside a bare proxy, nginx, and its peers.
#[derive(clap::Args)]
struct Args {
    #[command(flatten)]
    pace: Pace<3, 5>,
    /// Connections that send requests, each as fast as it is answered.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Measures only rows with this in their name, and those they are compared with.
    #[arg(long, value_name = "TEXT")]
    row: Option<String>,
    /// Leaves the other ways to ask for a payment out, which are installed from npm, PyPI and crates.io.
    #[arg(long)]
    without_peers: bool,
    /// The binary that is measured.
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_farebox"))]
    farebox: PathBuf,
}

/// What else this binary is.
#[derive(Subcommand)]
enum Role {
    /// The proxy that Farebox is measured against.
    #[command(hide = true)]
    Bare(bare::Args),
}

fn main() -> ExitCode {
    command::run("gateway", measure, |Role::Bare(bare)| bare::run(bare))
}

fn measure(args: &Args) -> Result<(), Failure> {
    tools::require()?;
    let folder = tempfile::Builder::new().prefix("farebox-bench-").tempdir()?;
    let files = FILES.iter().flat_map(|file| [(file.free, file.bytes), (file.forwarded, file.bytes)]);
    let origin = origin::start(folder.path(), files.chain([(PRICED, SMALL.bytes)]))?;
    let quiet = gateway::start(&args.farebox, folder.path(), origin.address, AccessLog::Off)?;
    let (challenge, paid) = payer::pay_once(quiet.address)?;
    let rows_of = |paid: &Paid| table::chosen(args.row.as_deref(), !args.without_peers, paid);
    let mut rows = rows_of(&paid);
    if rows.is_empty() {
        return Err("no row has that in its name".into());
    }
    let setting =
        Setting { folder: folder.path(), origin: origin.address, farebox: &args.farebox, challenge: &challenge };
    let mut servers = Servers::start(&setting, quiet, &rows)?;
    rows.retain(|row| servers.of(row.server).is_some());

    let load = |row: &Row| {
        let connections = args.connections.min(row.connections);
        Load::new(folder.path(), Duration::from_secs(args.pace.seconds), connections)
    };
    let mut bytes = Vec::with_capacity(rows.len());
    for row in &rows {
        bytes.push(answers::answer_bytes(process(&servers, row.server)?.address, row)?);
    }
    let mut measured = vec![Vec::with_capacity(args.pace.rounds); rows.len()];
    for round in 1..=args.pace.rounds {
        if round > 1 {
            servers.renew(&setting)?;
            let (_, paid) = payer::pay_once(process(&servers, Server::Quiet)?.address)?;
            rows = rows_of(&paid);
            rows.retain(|row| servers.of(row.server).is_some());
        }
        // A peer has been warm since the first round.
        for row in rows.iter().filter(|row| round == 1 || !row.server.is_peer()) {
            load(row)?.warm_up(process(&servers, row.server)?, &row.request)?;
        }
        // There and back: what a row leaves behind for the next one, and a machine that slows down, weigh on both sides.
        let mut turns: Vec<_> = rows.iter().zip(&mut measured).collect();
        if round % 2 == 0 {
            turns.reverse();
        }
        for (row, samples) in turns {
            eprintln!("round {round} of {}: {}", args.pace.rounds, row.name);
            samples.push(load(row)?.run(process(&servers, row.server)?, &row.request)?);
        }
    }
    Report { rows: &rows, measured: &measured, bytes: &bytes, notes: &servers.notes }.print(args);
    Ok(())
}

fn process(servers: &Servers, server: Server) -> Result<&Process, Failure> {
    Ok(servers.of(server).ok_or("a row has no server")?)
}
