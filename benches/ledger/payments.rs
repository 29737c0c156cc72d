//! The load: payments that go through their whole life, as many at once as a row says.

use std::sync::Arc;
use std::time::{Duration, Instant};

use farebox::gate::unix_millis;
use farebox::ledger::{Ledger, NewPayment, Opening, Reservation, Transition};
use farebox::money::Amount;
use farebox::x402::{Network, PaymentId};
use tokio::task::JoinSet;

use super::Failure;

/// One measurement.
pub struct Sample {
    /// Payments that were reserved, settling, settled and delivered.
    pub payments_per_second: f64,
    /// What stands in half of all payments' way: their waits for reserved, settling and settled, in microseconds.
    pub p50_microseconds: f64,
    /// The same, of all but one in a hundred.
    pub p99_microseconds: f64,
}

/// What payments of one route have in common.
struct Terms {
    route: Arc<str>,
    host: Arc<str>,
    network: Network,
    asset: Arc<str>,
    amount: Amount,
    way: Arc<str>,
    facilitator: Arc<str>,
    settle_request: Arc<str>,
}

/// Takes payments through the ledger, as fast as it does it, for so long.
pub async fn run(ledger: Arc<dyn Ledger>, in_flight: usize, duration: Duration) -> Result<Sample, Failure> {
    let terms = Arc::new(Terms::new()?);
    let started = Instant::now();
    let mut payers = JoinSet::new();
    for _ in 0..in_flight {
        let (ledger, terms) = (ledger.clone(), terms.clone());
        payers.spawn(async move {
            let mut added = Vec::new();
            while started.elapsed() < duration {
                added.push(pay(&*ledger, &terms).await?);
            }
            Ok::<_, Failure>(added)
        });
    }
    let mut added = Vec::new();
    while let Some(ended) = payers.join_next().await {
        added.append(&mut ended??);
    }
    let elapsed = started.elapsed();
    added.sort_unstable();
    let percentile = |percent: usize| {
        let at = added.len().saturating_mul(percent) / 100;
        added.get(at.min(added.len().saturating_sub(1))).map_or(f64::NAN, |wait| wait.as_secs_f64() * 1e6)
    };
    Ok(Sample {
        payments_per_second: added.len() as f64 / elapsed.as_secs_f64(),
        p50_microseconds: percentile(50),
        p99_microseconds: percentile(99),
    })
}

/// One payment's life, as the gate writes it down; how long its client waited for that.
async fn pay(ledger: &dyn Ledger, terms: &Terms) -> Result<Duration, Failure> {
    let payment = terms.payment()?;
    let id = payment.id.clone();
    let transaction = alloy::hex::encode_prefixed(rand::random::<[u8; 32]>());
    let settled =
        Transition::Settled { facilitator: terms.facilitator.clone(), transaction: transaction.into(), payer: None };
    let started = Instant::now();
    match ledger.reserve(payment, Opening::Reserved).await? {
        Reservation::Fresh => {}
        Reservation::Held(held) => return Err(format!("a payment of a random nonce is known: {held:?}").into()),
    }
    ledger.advance(&id, Transition::Settling, unix_millis()).await?;
    ledger.advance(&id, settled, unix_millis()).await?;
    let added = started.elapsed();
    // Written once the response has been.
    ledger.advance(&id, Transition::Delivered, unix_millis()).await?;
    Ok(added)
}

impl Terms {
    fn new() -> Result<Terms, Failure> {
        // As long as what a client of version 2 is asked for and signs.
        let settle_request = format!(r#"{{"x402Version":2,"padding":"{}"}}"#, "x".repeat(1_200));
        Ok(Terms {
            route: "premium".into(),
            host: "api.example.com".into(),
            network: Network::parse("base-sepolia")?,
            asset: "0x036CbD53842c5426634e7929541eC2318f3dCF7e".into(),
            amount: Amount::from(10_000),
            way: "usdc".into(),
            facilitator: "main".into(),
            settle_request: settle_request.into(),
        })
    }

    /// One that nobody has made before.
    fn payment(&self) -> Result<NewPayment, Failure> {
        let now = unix_millis();
        Ok(NewPayment {
            id: PaymentId::from_digest(&rand::random()),
            digest: rand::random(),
            route: self.route.clone(),
            host: self.host.clone(),
            payer: alloy::hex::encode_prefixed(rand::random::<[u8; 20]>()).into(),
            network: self.network.clone(),
            asset: self.asset.clone(),
            amount: self.amount,
            way: self.way.clone(),
            settle_request: self.settle_request.clone(),
            valid_before: Some(u64::try_from(now / 1000)? + 60),
            now,
        })
    }
}
