//! First payments: what taking one costs where nobody else takes any time.

use std::net::SocketAddr;
use std::path::Path;

use tokio::runtime::Runtime;

use super::behind::{self, Calls, Delays, PRICED};
use super::client::Connection;
use super::gateway::{self, Setting};
use super::nginx::Nginx;
use super::postgres::Server;
use super::process::{Process, other_core};
use super::rows::{Kind, Row};
use super::sign::Terms;
use super::{Args, Failure, PAYMENT_REQUIRED, load, payers, pool};

/// Payments of each connection before anything is measured: pools fill, memory is touched, statements are prepared.
const WARM_UP: usize = 10;

/// One measurement.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Payments per second.
    pub payments_per_second: f64,
    /// User and system time of the gateway's process per payment, in microseconds.
    pub cpu_microseconds: f64,
    /// Half of all answers came within so many microseconds.
    pub p50_microseconds: f64,
    /// All but one in a hundred came within so many microseconds.
    pub p99_microseconds: f64,
    /// Resident memory of the gateway's process at the end, in bytes.
    pub resident_bytes: u64,
}

/// What all gateways have behind them.
struct Behind {
    process: Process,
    databases: Option<Server>,
}

/// What was measured, each with one sample a round.
pub struct Measured {
    /// nginx, with a static answer.
    pub nginx: Vec<load::Sample>,
    /// By row.
    pub rows: Vec<Vec<Sample>>,
}

/// Measures nginx and each row in turn.
pub fn measure(args: &Args, runtime: &Runtime, folder: &Path, rows: &[Row]) -> Result<Measured, Failure> {
    let mut measured = Measured { nginx: Vec::new(), rows: rows.iter().map(|_| Vec::new()).collect() };
    if rows.is_empty() {
        return Ok(measured);
    }
    let behind = Behind::start(folder, rows)?;
    let file = folder.join("payments");
    for round in 1..=args.rounds {
        // New processes: two of one binary differ for as long as they run.
        let nginx = Nginx::start(folder, args.connections)?;
        let gateways = rows.iter().map(|row| behind.gateway(args, runtime, folder, row, round));
        let gateways = gateways.collect::<Result<Vec<_>, _>>()?;
        // All of them ask the same.
        let terms = gateways.first().ok_or("there is no gateway")?.address;
        let terms = runtime.block_on(terms_of(terms))?;
        pool::fill(&file, &terms, args.connections * WARM_UP)?;
        for (row, gateway) in rows.iter().zip(&gateways) {
            sample(args, runtime, &behind.process, gateway, row, &file)?;
        }
        // No gateway has seen any of them.
        pool::fill(&file, &terms, args.payments)?;
        measured.nginx.push(nginx.sample()?);
        for ((row, gateway), samples) in rows.iter().zip(&gateways).zip(&mut measured.rows) {
            eprintln!("round {round} of {}: {}", args.rounds, row.name);
            samples.push(sample(args, runtime, &behind.process, gateway, row, &file)?);
        }
    }
    Ok(measured)
}

/// What a gateway or a seller asks for its resource.
pub async fn terms_of(seller: SocketAddr) -> Result<Terms, Failure> {
    let answer = Connection::open(seller).await?.get(PRICED, None).await?;
    let terms = answer.headers.get(PAYMENT_REQUIRED).ok_or("the priced route answers no challenge")?;
    Terms::read(terms.to_str()?)
}

impl Behind {
    fn start(folder: &Path, rows: &[Row]) -> Result<Behind, Failure> {
        let process = behind::start(folder, Delays::default())?;
        let is_asked = rows.iter().any(|row| row.kind == Kind::Postgres);
        let databases = is_asked.then(|| Server::start(folder, Some(other_core()))).transpose()?;
        Ok(Behind { process, databases })
    }

    /// A row's gateway, with a ledger that nobody has written to.
    fn gateway(
        &self,
        args: &Args,
        runtime: &Runtime,
        folder: &Path,
        row: &Row,
        round: usize,
    ) -> Result<Process, Failure> {
        let ledger = match row.kind {
            Kind::Memory => "memory:".to_owned(),
            Kind::Sqlite => format!("sqlite:{} {round}.db", row.name),
            Kind::Postgres => {
                let databases = self.databases.as_ref().ok_or("there is no PostgreSQL server")?;
                let name = row.name.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_").to_lowercase();
                runtime.block_on(databases.database(&format!("{name}_{round}")))?
            }
        };
        let setting = Setting { name: row.name, mode: row.mode, ledger: &ledger, access_log: row.access_log };
        gateway::start(&args.farebox, folder, self.process.address, &setting)
    }
}

/// An error where the facilitator was not asked exactly as often as the mode says.
fn sample(
    args: &Args,
    runtime: &Runtime,
    behind: &Process,
    gateway: &Process,
    row: &Row,
    file: &Path,
) -> Result<Sample, Failure> {
    let before = runtime.block_on(behind::calls(behind.address))?;
    let cpu = gateway.cpu_seconds()?;
    let report = payers::pay(gateway.address, file, args.connections)?;
    let cpu = gateway.cpu_seconds()? - cpu;
    let after = runtime.block_on(behind::calls(behind.address))?;
    let asked = Calls { verify: after.verify - before.verify, settle: after.settle - before.settle };
    let due = Calls { verify: report.payments * row.mode.verifications(), settle: report.payments };
    if asked != due {
        return Err(format!("{}: the facilitator was asked {asked:?}, and not {due:?}", row.name).into());
    }
    let payments = report.payments as f64;
    Ok(Sample {
        payments_per_second: payments / (report.microseconds / 1e6),
        cpu_microseconds: cpu * 1e6 / payments,
        p50_microseconds: report.p50,
        p99_microseconds: report.p99,
        resident_bytes: gateway.resident_bytes()?,
    })
}
