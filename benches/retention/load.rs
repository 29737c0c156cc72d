//! Payments through a ledger, from reservation to delivery: as many at once as asked for, or so many a second.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use farebox::ledger::{Ledger, LedgerError, NewPayment, Opening, Transition};
use farebox::money::Amount;
use farebox::x402::{Network, PaymentId};
use tokio::task::JoinSet;

use super::{Failure, now};

/// What one measurement found.
pub struct Measured {
    pub per_second: f64,
    /// Of one payment, all four writes.
    pub p50: Duration,
    pub p99: Duration,
}

/// When the next payment is due.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// When the one before it is done.
    Unbroken,
    /// So many a second, whether or not those before it are done.
    PerSecond(f64),
}

pub async fn measure(
    ledger: &Arc<dyn Ledger>,
    in_flight: usize,
    pace: Pace,
    length: Duration,
) -> Result<Measured, Failure> {
    let network = Network::parse("base-sepolia")?;
    let began = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let mut payers = JoinSet::new();
    for payer in 0..in_flight {
        let (ledger, network, next) = (ledger.clone(), network.clone(), next.clone());
        payers.spawn(async move {
            let mut took = Vec::new();
            while began.elapsed() < length {
                let started = match pace {
                    Pace::Unbroken => Instant::now(),
                    Pace::PerSecond(rate) => {
                        let turn = next.fetch_add(1, Ordering::Relaxed);
                        turn_comes(began + Duration::from_secs_f64(turn as f64 / rate)).await
                    }
                };
                pay(&*ledger, payer, &network).await?;
                took.push(started.elapsed());
            }
            Ok::<_, LedgerError>(took)
        });
    }
    let mut took = Vec::new();
    while let Some(paid) = payers.join_next().await {
        took.append(&mut paid??);
    }
    let seconds = began.elapsed().as_secs_f64();
    took.sort_unstable();
    let at = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or_default();
    Ok(Measured { per_second: took.len() as f64 / seconds, p50: at(50), p99: at(99) })
}

/// Waits for it. What is late has begun when it was due: its wait is the ledger's doing, and counted; a timer that rings late
/// is not.
async fn turn_comes(due: Instant) -> Instant {
    if due <= Instant::now() {
        return due;
    }
    tokio::time::sleep_until(due.into()).await;
    Instant::now()
}

async fn pay(ledger: &dyn Ledger, payer: usize, network: &Network) -> Result<(), LedgerError> {
    let id = PaymentId::parse(&alloy::hex::encode(rand::random::<[u8; 32]>()))
        .ok_or_else(|| LedgerError::Unavailable("not an id".to_owned()))?;
    let now = now();
    let payment = NewPayment {
        id: id.clone(),
        digest: rand::random(),
        route: "route-1".into(),
        host: "api.example.com".into(),
        payer: format!("0x{:040x}", payer * 1000).into(),
        network: network.clone(),
        asset: "0x036CbD53842c5426634e7929541eC2318f3dCF7e".into(),
        amount: Amount::from(10_000),
        way: "usdc".into(),
        settle_request: SETTLE_REQUEST.into(),
        valid_before: u64::try_from(now / 1000 + 60).ok(),
        now,
    };
    ledger.reserve(payment, Opening::Reserved).await?;
    ledger.advance(&id, Transition::Settling, now).await?;
    let transaction = format!("0x{}", id.as_str()).into();
    ledger.advance(&id, Transition::Settled { facilitator: "main".into(), transaction, payer: None }, now).await?;
    ledger.advance(&id, Transition::Delivered, now).await
}

/// As long as one is: payload and requirements.
const SETTLE_REQUEST: &str = concat!(
    r#"{"x402Version":2,"paymentPayload":{"x402Version":2,"payload":{"signature":"0x2d6a7588d6acca505cbf0d9a4a227e0c52c6c34008c8e898"#,
    r#"6a1283259764173608a2ce6496642e377d6da8dbbf5836e9bd15092f9ecab05ded3d6293af148b571c","authorization":{"from":"0x857b06519E91e3A5"#,
    r#"4538791bDbb0E22373e36b66","to":"0x209693Bc6afc0C5328bA36FaF03C514EF312287C","value":"10000","validAfter":"1740672089","validBe"#,
    r#"fore":"1740672154","nonce":"0xf3746613c2d920b5fdabc0856f2aeb2d4f88ee6037b8cc5d04a71a4462f13480"}}},"paymentRequirements":{"sc"#,
    r#"heme":"exact","network":"eip155:84532","amount":"10000","asset":"0x036CbD53842c5426634e7929541eC2318f3dCF7e","payTo":"0x2096"#,
    r#"93Bc6afc0C5328bA36FaF03C514EF312287C","maxTimeoutSeconds":60,"extra":{"name":"USDC","version":"2"}}}"#
);
