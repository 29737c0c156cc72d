//! What receipts weigh in memory: a cache filled to its bound and past it, in a process of its own.

use std::env;
use std::process::Command;
use std::sync::Arc;

use farebox::access::{Receipt, Receipts};
use farebox::gate::unix_millis;
use farebox::money::Amount;
use farebox::telemetry::Metrics;
use farebox::x402::{Network, PaymentId};

use super::{Failure, memory};

/// More than a receipt weighs: a number of them that would not fit in twice the memory that is left is not tried.
const BYTES_ROOM: u64 = 1_000;

/// The role's arguments.
#[derive(clap::Args)]
pub struct Args {
    /// The cache's bound.
    count: usize,
}

/// What a cache of that bound weighs.
pub struct Weight {
    /// The bound.
    pub count: usize,
    /// Resident bytes that came with it; `None`: there is not the memory to try.
    pub bytes: Option<u64>,
}

/// Weighs one cache after the other.
pub fn measure(counts: &[usize]) -> Result<Vec<Weight>, Failure> {
    let weigh = |count: &usize| {
        let room = u64::try_from(*count)?.saturating_mul(BYTES_ROOM).saturating_mul(2);
        if memory::available()? < room {
            return Ok(Weight { count: *count, bytes: None });
        }
        eprintln!("{count} receipts");
        let output = Command::new(env::current_exe()?).args(["receipts", &count.to_string()]).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
        Ok(Weight { count: *count, bytes: Some(String::from_utf8(output.stdout)?.trim().parse()?) })
    };
    counts.iter().map(weigh).collect()
}

/// Fills a cache and says how many bytes came with it.
pub fn run(args: Args) -> Result<(), Failure> {
    let common = Common::new()?;
    let before = memory::resident()?;
    let receipts = Receipts::new(args.count, Metrics::new());
    // A tenth more than it holds: what it has forgotten has left its traces by then.
    for _ in 0..args.count.saturating_add(args.count / 10) {
        receipts.insert(PaymentId::from_digest(&rand::random()), common.receipt());
    }
    let after = memory::resident()?;
    // Parts fill unevenly, but not by much.
    if receipts.len() < args.count / 10 * 9 {
        return Err(format!("{} of {} receipts are in memory", receipts.len(), args.count).into());
    }
    println!("{}", after.saturating_sub(before));
    Ok(())
}

/// What the receipts of a route share; the rest is each one's own, as the gate makes them.
struct Common {
    route: Arc<str>,
    network: Network,
    asset: Arc<str>,
}

impl Common {
    fn new() -> Result<Common, Failure> {
        Ok(Common {
            route: "premium".into(),
            network: Network::parse("base-sepolia")?,
            asset: "0x036CbD53842c5426634e7929541eC2318f3dCF7e".into(),
        })
    }

    fn receipt(&self) -> Receipt {
        let now = unix_millis();
        Receipt {
            route: self.route.clone(),
            host: "api.example.com".into(),
            payer: alloy::hex::encode_prefixed(rand::random::<[u8; 20]>()).into(),
            digest: rand::random(),
            settled_at: now,
            expires_at: now + 60_000,
            uses: None,
            network: self.network.clone(),
            asset: self.asset.clone(),
            amount: Amount::from(10_000),
            transaction: Some(alloy::hex::encode_prefixed(rand::random::<[u8; 32]>()).into()),
            delivery: Arc::default(),
        }
    }
}
