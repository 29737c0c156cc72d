//! How long a client waits for what it pays for, where verifying, settling and the upstream take their time: one request
//! after the other.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use alloy::signers::local::PrivateKeySigner;
use http::HeaderValue;
use serde_json::json;
use tokio::runtime::Runtime;

use super::behind::{self, Delays, PRICED};
use super::client::Connection;
use super::gateway::{self, Mode, Setting};
use super::sign::Terms;
use super::{Args, Failure, first, payers, reference};

/// What each takes.
pub const DELAYS: Delays = Delays { verify: 50, settle: 400, upstream: 300 };

/// Milliseconds above the lower bound that are good enough, where that is a goal.
const ABOVE: f64 = 15.0;

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Nobody: the client verifies, asks the upstream and settles by itself.
    Alone,
    /// The official middleware.
    Reference,
    /// Farebox.
    Farebox(Mode),
}

/// One row of the table.
pub struct Row {
    /// For people.
    pub name: String,
    /// Who answers.
    pub way: Way,
    /// Milliseconds that it cannot go below.
    pub bound: u64,
    /// Milliseconds above that bound that are good enough.
    pub above: Option<f64>,
    /// One a round.
    pub samples: Vec<Sample>,
}

/// One measurement, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// Half of the requests took at most that long.
    pub median: f64,
    /// The slowest of them.
    pub slowest: f64,
}

/// Measures each row in turn. Without node there is no row of the official middleware.
pub fn measure(args: &Args, runtime: &Runtime, folder: &Path) -> Result<Vec<Row>, Failure> {
    let behind = behind::start(folder, DELAYS)?;
    let reference = reference::start(folder, behind.address, DELAYS)?;
    let gateways = Mode::ALL.map(|mode| {
        let name = format!("latency, {}", mode.name().replace('"', ""));
        let setting = Setting { name: &name, mode, ledger: "memory:", access_log: false };
        Ok::<_, Failure>((mode, gateway::start(&args.farebox, folder, behind.address, &setting)?))
    });
    let gateways = gateways.into_iter().collect::<Result<Vec<_>, _>>()?;

    let mut asked: Vec<(Row, SocketAddr)> = vec![(row(Way::Alone, "nobody between"), behind.address)];
    asked.extend(reference.iter().map(|reference| (row(Way::Reference, &reference.name), reference.process.address)));
    asked.extend(gateways.iter().map(|(mode, process)| {
        let name = format!("Farebox, {}", mode.name());
        (row(Way::Farebox(*mode), &name), process.address)
    }));
    for round in 1..=args.rounds {
        for (row, address) in &mut asked {
            eprintln!("round {round} of {}: {}", args.rounds, row.name);
            let waits = runtime.block_on(async {
                match row.way {
                    Way::Alone => alone(*address, args.requests).await,
                    Way::Reference | Way::Farebox(_) => pay(*address, args.requests).await,
                }
            });
            row.samples.push(sample(waits?));
        }
    }
    Ok(asked.into_iter().map(|(row, _)| row).collect())
}

fn row(way: Way, name: &str) -> Row {
    let (bound, above) = match way {
        Way::Alone | Way::Reference => (Mode::OnSuccess.bound(DELAYS), None),
        Way::Farebox(mode) => (mode.bound(DELAYS), matches!(mode, Mode::Local | Mode::Overlap).then_some(ABOVE)),
    };
    Row { name: name.to_owned(), way, bound, above, samples: Vec::new() }
}

/// Pays so often, with a payment of its own each time; one more goes before them, for whatever is only done once.
async fn pay(seller: SocketAddr, requests: usize) -> Result<Vec<Duration>, Failure> {
    let terms: Terms = first::terms_of(seller).await?;
    let mut connection = Connection::open(seller).await?;
    let mut waits = Vec::new();
    for _ in 0..=requests {
        let payment = HeaderValue::try_from(terms.sign(&PrivateKeySigner::random())?)?;
        let asked = Instant::now();
        let answer = connection.get(PRICED, Some(payment)).await?;
        waits.push(asked.elapsed());
        payers::transaction(&payers::settlement_header(answer)?)?;
    }
    Ok(waits.split_off(1))
}

/// The same three calls one after the other: what they take by themselves.
async fn alone(behind: SocketAddr, requests: usize) -> Result<Vec<Duration>, Failure> {
    let order =
        json!({"paymentPayload": {"payload": {"authorization": {"from": PrivateKeySigner::random().address()}}}});
    let order = serde_json::to_vec(&order)?;
    let mut connection = Connection::open(behind).await?;
    let mut waits = Vec::new();
    for _ in 0..=requests {
        let asked = Instant::now();
        let answers = [
            connection.post("/verify", order.clone()).await?,
            connection.get(PRICED, None).await?,
            connection.post("/settle", order.clone()).await?,
        ];
        waits.push(asked.elapsed());
        if let Some(answer) = answers.iter().find(|answer| !answer.status.is_success()) {
            return Err(format!("{}: {}", answer.status, String::from_utf8_lossy(&answer.body)).into());
        }
    }
    Ok(waits.split_off(1))
}

fn sample(waits: Vec<Duration>) -> Sample {
    let waits = super::common::Spread::of(waits.iter().map(|wait| wait.as_secs_f64() * 1e3));
    Sample { median: waits.median, slowest: waits.highest }
}
