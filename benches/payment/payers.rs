//! The load: a process on a core of its own, that makes every payment of a file once and ends with the last one.
//!
//! Not wrk: its script would take the next payment from the file as well, but it would neither end with the file nor
//! look into every answer for a settlement.

use std::collections::HashSet;
use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use farebox::x402::header;
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::behind::PRICED;
use super::client::{Answer, Connection};
use super::process::{other_core, pinned};
use super::{Failure, PAYMENT_RESPONSE, pool};

/// The role's arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The gateway.
    gateway: SocketAddr,
    /// The payments.
    pool: PathBuf,
    /// Connections, each of which sends its next payment when the last one is answered.
    connections: usize,
}

/// What a run found.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// Each was answered 200, with a settlement of its own.
    pub payments: u64,
    /// From the first one's first byte to the last one's last.
    pub microseconds: f64,
    /// Half of all answers came within so many microseconds.
    pub p50: f64,
    /// All but one in a hundred came within so many microseconds.
    pub p99: f64,
}

/// Makes every payment of a file in a process of its own.
pub fn pay(gateway: SocketAddr, pool: &Path, connections: usize) -> Result<Report, Failure> {
    let mut command = pinned(other_core(), &env::current_exe()?);
    command.args(["payers", &gateway.to_string()]).arg(pool).arg(connections.to_string());
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Makes them, and says what it found.
pub fn run(args: Args) -> Result<(), Failure> {
    let payments: Arc<[HeaderValue]> = pool::read(&args.pool)?.into();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(measure(&args, payments))?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

async fn measure(args: &Args, payments: Arc<[HeaderValue]>) -> Result<Report, Failure> {
    let mut connections = Vec::with_capacity(args.connections);
    for _ in 0..args.connections {
        connections.push(Connection::open(args.gateway).await?);
    }
    let next = Arc::new(AtomicUsize::new(0));
    let mut payers = JoinSet::new();
    let started = Instant::now();
    for mut connection in connections {
        let (payments, next) = (payments.clone(), next.clone());
        payers.spawn(async move {
            let mut paid = Vec::new();
            while let Some(payment) = payments.get(next.fetch_add(1, Ordering::Relaxed)) {
                let asked = Instant::now();
                let answer = connection.get(PRICED, Some(payment.clone())).await?;
                paid.push((asked.elapsed(), settlement_header(answer)?));
            }
            Ok::<_, Failure>(paid)
        });
    }
    let mut paid = Vec::with_capacity(payments.len());
    while let Some(ended) = payers.join_next().await {
        paid.append(&mut ended??);
    }
    let elapsed = started.elapsed();
    // Looked into when nothing is measured any more.
    let transactions: HashSet<String> =
        paid.iter().map(|(_, settlement)| transaction(settlement)).collect::<Result<_, _>>()?;
    if transactions.len() != payments.len() {
        return Err(format!("{} payments, and {} transactions", payments.len(), transactions.len()).into());
    }
    let mut waits: Vec<Duration> = paid.into_iter().map(|(wait, _)| wait).collect();
    waits.sort_unstable();
    let percentile = |percent: usize| {
        let at = waits.len().saturating_mul(percent) / 100;
        waits.get(at.min(waits.len().saturating_sub(1))).map_or(f64::NAN, |wait| wait.as_secs_f64() * 1e6)
    };
    Ok(Report {
        payments: u64::try_from(waits.len())?,
        microseconds: elapsed.as_secs_f64() * 1e6,
        p50: percentile(50),
        p99: percentile(99),
    })
}

/// What is paid for comes with a settlement.
pub fn settlement_header(mut answer: Answer) -> Result<HeaderValue, Failure> {
    match (answer.status, answer.headers.remove(PAYMENT_RESPONSE)) {
        (StatusCode::OK, Some(settlement)) => Ok(settlement),
        (status, _) => Err(format!("paid, and got {status}: {}", String::from_utf8_lossy(&answer.body)).into()),
    }
}

/// The transaction of a settlement that moved the money.
pub fn transaction(settlement: &HeaderValue) -> Result<String, Failure> {
    let settlement = header::decode_settlement(settlement.as_bytes())?;
    if settlement.success && !settlement.transaction.is_empty() {
        Ok(settlement.transaction)
    } else {
        Err(format!("answered, and not settled: {settlement:?}").into())
    }
}
