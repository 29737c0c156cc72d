//! Receipts as the gate makes them: one for a payment that is to open its window again, and others to lie beside it.

use std::sync::Arc;

use farebox::access::{Delivery, Receipt};
use farebox::gate::check::possible_ids;
use farebox::gate::unix_millis;
use farebox::ledger::UnixMillis;
use farebox::money::Amount;
use farebox::x402::{Dialect, Network, PaymentId, header};

use super::Failure;
use super::shop::{HOST, Shop};
use super::sign::sign;

/// Longer than any run.
const WINDOW: UnixMillis = 24 * 60 * 60 * 1000;

/// What the receipts of a route share; the rest is each one's own.
pub struct Common {
    route: Arc<str>,
    network: Network,
    asset: Arc<str>,
}

impl Common {
    /// Of the route of that name.
    pub fn of(route: &str) -> Result<Common, Failure> {
        Ok(Common {
            route: route.into(),
            network: Network::parse("base-sepolia").map_err(|error| error.to_string())?,
            asset: "0x036CbD53842c5426634e7929541eC2318f3dCF7e".into(),
        })
    }

    /// A payment's with that digest, delivered.
    pub fn receipt(&self, digest: [u8; 32]) -> Receipt {
        let now = unix_millis();
        Receipt {
            route: self.route.clone(),
            host: HOST.into(),
            payer: alloy::hex::encode_prefixed(rand::random::<[u8; 20]>()).into(),
            digest,
            settled_at: now,
            expires_at: now + WINDOW,
            uses: None,
            network: self.network.clone(),
            asset: self.asset.clone(),
            amount: Amount::from(10_000),
            transaction: Some(alloy::hex::encode_prefixed(rand::random::<[u8; 32]>()).into()),
            delivery: Arc::new(Delivery::recorded(true)),
        }
    }
}

/// The header of a payment for that route, of an id that nobody has used.
pub fn payment(shop: &Shop, route: &str) -> Result<String, Failure> {
    let live = shop.generation.routes().iter().find(|live| *live.route.name == *route);
    let quote = live.and_then(|live| live.quote.as_ref()).ok_or("not a priced route")?;
    let challenge = quote.challenge.render(&format!("https://{HOST}/{route}/a/b"), None);
    sign(std::str::from_utf8(&challenge.payment_required)?).map_err(|error| error.to_string().into())
}

/// From now on that payment opens the window of that route.
pub fn settle(shop: &Shop, route: &str, payment: &str) -> Result<PaymentId, Failure> {
    let payment = header::decode_payment(Dialect::V2, payment.as_bytes()).map_err(|error| error.to_string())?;
    let id = possible_ids([], &payment).next().ok_or("a payment without an id")?;
    shop.gate.shared().receipts.insert(id.clone(), Common::of(route)?.receipt(payment.digest));
    Ok(id)
}
