//! The receipt cache: settled payments whose window is open, so that the same payment opens its route again
//! without a look into the ledger.
//!
//! It is a cache of the ledger and nothing more: bounded, lost at a restart, and a miss is answered from the ledger. So
//! the bound never costs a client its window.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, UnitWeighter};
use subtle::ConstantTimeEq as _;

use super::delivery::{Delivery, Remembered};
use crate::ledger::{Record, State, UnixMillis};
use crate::money::Amount;
use crate::telemetry::Metrics;
use crate::x402::{Network, PaymentId};

/// A settled payment and the window it opens.
#[derive(Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The name of the route it was paid for.
    pub route: Arc<str>,
    /// The canonical host it was paid on.
    pub host: Arc<str>,
    /// Who paid; empty where unknown.
    pub payer: Arc<str>,
    /// SHA-256 of the signed payload; see [`crate::x402::Payment`].
    pub digest: [u8; 32],
    /// When the money moved.
    pub settled_at: UnixMillis,
    /// When the window closes; open only before.
    pub expires_at: UnixMillis,
    /// Requests the window opens, the paid one included; `None`: any number. The ledger counts them.
    pub uses: Option<u32>,
    /// Where the money moved.
    pub network: Network,
    /// The token's address.
    pub asset: Arc<str>,
    /// Atomic units.
    pub amount: Amount,
    /// The transaction, where one was named.
    pub transaction: Option<Arc<str>>,
    /// Whether a response that it paid for was written in full.
    pub delivery: Arc<Delivery>,
}

impl Receipt {
    /// The receipt that a record is, for a window of that length from settlement; `None` where it is not settled.
    pub fn of(record: &Record, window: Duration, uses: Option<u32>) -> Option<Receipt> {
        let settled_at = match record.state {
            State::Settled => record.settled_at?,
            State::Reserved | State::Settling | State::Unknown | State::Failed => return None,
        };
        let window_ms = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        Some(Receipt {
            route: record.route.clone(),
            host: record.host.clone(),
            payer: record.payer.clone(),
            digest: record.digest,
            settled_at,
            expires_at: settled_at.saturating_add(window_ms),
            uses,
            network: record.network.clone(),
            asset: record.asset.clone(),
            amount: record.amount,
            transaction: record.transaction.clone(),
            delivery: Arc::new(Delivery::recorded(record.delivered_at.is_some())),
        })
    }

    /// Whether the payment with that digest opens that route on that host at that time.
    ///
    /// The digest is compared, not the payment id alone: that is made of payer and nonce, which anybody can read on the
    /// chain once the payment has settled. The signature, which the digest covers, makes it the payer's.
    pub fn opens(&self, digest: &[u8; 32], route: &str, host: &str, now: UnixMillis) -> bool {
        bool::from(self.digest.ct_eq(digest)) && *self.route == *route && *self.host == *host && now < self.expires_at
    }
}

/// The settled payments that are remembered, by payment id; of those whose pass alone has come, whether they are delivered.
pub struct Receipts {
    cache: Cache<PaymentId, Remembered, UnitWeighter, DefaultHashBuilder, Forgetting>,
}

/// Counts the receipts that give way to others.
#[derive(Clone)]
struct Forgetting {
    metrics: Arc<Metrics>,
}

impl Lifecycle<PaymentId, Remembered> for Forgetting {
    type RequestState = ();

    fn on_evict(&self, _state: &mut (), _id: PaymentId, _remembered: Remembered) {
        self.metrics.receipt_forgotten();
    }
}

impl Receipts {
    /// Remembers that many. They lie in parts that are locked one by one, and each part holds the same number: the
    /// bound is rounded up to a multiple of the parts, of which there is only one where it is small.
    pub fn new(capacity: usize, metrics: Arc<Metrics>) -> Receipts {
        let weights = u64::try_from(capacity).unwrap_or(u64::MAX);
        let cache = Cache::with(capacity, weights, UnitWeighter, DefaultHashBuilder::default(), Forgetting { metrics });
        Receipts { cache }
    }

    /// From now on remembers that many, rounded up as the parts were made; forgets at once what is too many.
    pub fn resize(&self, capacity: usize) {
        self.cache.set_capacity(u64::try_from(capacity).unwrap_or(u64::MAX));
    }

    /// Remembers a receipt, and shares it; may forget another one for it. Requests that the payment has opened already
    /// go on sharing their delivery with those to come.
    pub fn insert(&self, id: PaymentId, mut receipt: Receipt) -> Arc<Receipt> {
        if let Some(known) = self.cache.get(&id) {
            let recorded = std::mem::replace(&mut receipt.delivery, known.delivery().clone());
            if recorded.is_made() {
                receipt.delivery.make();
            }
        }
        let receipt = Arc::new(receipt);
        self.cache.insert(id, Remembered::Receipt(receipt.clone()));
        receipt
    }

    /// The receipt of that payment, if it [opens](Receipt::opens) that route. `None` says nothing: the ledger knows.
    pub fn lookup(
        &self,
        id: &PaymentId,
        digest: &[u8; 32],
        route: &str,
        host: &str,
        now: UnixMillis,
    ) -> Option<Arc<Receipt>> {
        match self.cache.get(id)? {
            Remembered::Receipt(receipt) => receipt.opens(digest, route, host, now).then_some(receipt),
            Remembered::Pass(_) => None,
        }
    }

    /// What is remembered of a payment whose pass has come: from now on at least that.
    pub fn of_pass(&self, id: &PaymentId) -> Remembered {
        let new = || Ok::<_, Infallible>(Remembered::Pass(Arc::default()));
        self.cache.get_or_insert_with(id, new).unwrap_or_else(|never| match never {})
    }

    /// What is remembered of a payment.
    pub fn get(&self, id: &PaymentId) -> Option<Remembered> {
        self.cache.get(id)
    }

    /// Whether a payment is delivered, as far as is remembered.
    pub fn is_delivered(&self, id: &PaymentId) -> bool {
        self.cache.get(id).is_some_and(|remembered| remembered.delivery().is_made())
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.cache.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.cache.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLED_AT: UnixMillis = 1_790_000_000_000;
    const DIGEST: [u8; 32] = [7; 32];

    fn id(number: usize) -> PaymentId {
        PaymentId::parse(&format!("{number:064x}")).unwrap()
    }

    fn record(state: State) -> Record {
        Record {
            id: id(1),
            digest: DIGEST,
            state,
            route: "premium".into(),
            host: "api.example.com".into(),
            payer: "0x857b06519E91e3A54538791bDbb0E22373e36b66".into(),
            network: Network::parse("base-sepolia").unwrap(),
            asset: "0x036CbD53842c5426634e7929541eC2318f3dCF7e".into(),
            amount: Amount::from(10_000),
            way: "usdc".into(),
            facilitator: Some("main".into()),
            transaction: Some("0xabc".into()),
            error: None,
            reserved_at: SETTLED_AT - 500,
            updated_at: SETTLED_AT,
            settled_at: Some(SETTLED_AT),
            delivered_at: None,
            uses: 0,
            by_operator: false,
        }
    }

    fn receipt() -> Receipt {
        Receipt::of(&record(State::Settled), Duration::from_secs(60), Some(5)).unwrap()
    }

    #[test]
    fn only_a_settled_record_is_a_receipt() {
        for state in [State::Reserved, State::Settling, State::Unknown, State::Failed] {
            assert_eq!(Receipt::of(&record(state), Duration::from_secs(60), None), None, "{state:?}");
        }
        assert_eq!(receipt().expires_at, SETTLED_AT + 60_000);
        let endless = Receipt::of(&record(State::Settled), Duration::MAX, None).unwrap();
        assert_eq!(endless.expires_at, UnixMillis::MAX);
    }

    #[test]
    fn a_receipt_opens_its_own_window_only() {
        let receipts = Receipts::new(10, Metrics::new());
        assert!(receipts.is_empty());
        receipts.insert(id(1), receipt());
        let hit = receipts.lookup(&id(1), &DIGEST, "premium", "api.example.com", SETTLED_AT);
        assert_eq!(hit, Some(Arc::new(receipt())));
        let mut forged = DIGEST;
        forged[31] ^= 1;
        for (number, digest, route, host, now, expected) in [
            (1, DIGEST, "premium", "api.example.com", SETTLED_AT + 59_999, true),
            (1, DIGEST, "premium", "api.example.com", SETTLED_AT + 60_000, false),
            (2, DIGEST, "premium", "api.example.com", SETTLED_AT, false),
            (1, forged, "premium", "api.example.com", SETTLED_AT, false),
            (1, DIGEST, "other", "api.example.com", SETTLED_AT, false),
            (1, DIGEST, "premium", "www.example.com", SETTLED_AT, false),
        ] {
            let hit = receipts.lookup(&id(number), &digest, route, host, now).is_some();
            assert_eq!(hit, expected, "{number} {route} {host} {now}");
        }
    }

    #[test]
    fn what_only_its_pass_tells_of_opens_nothing_by_payment() {
        let receipts = Receipts::new(10, Metrics::new());
        let mark = receipts.of_pass(&id(1));
        let lookup = || receipts.lookup(&id(1), &DIGEST, "premium", "api.example.com", SETTLED_AT);
        assert_eq!(lookup(), None);
        assert_eq!(receipts.len(), 1, "it is bounded with the others");
        assert!(mark.delivery().make());
        assert!(!receipts.of_pass(&id(1)).delivery().make(), "one for all");
        // The ledger had not heard of it yet when it was asked.
        receipts.insert(id(1), receipt());
        assert!(lookup().unwrap().delivery.is_made());
        assert!(receipts.is_delivered(&id(1)) && !receipts.is_delivered(&id(2)));
    }

    #[test]
    fn what_the_ledger_has_delivered_is_delivered_for_requests_under_way_too() {
        let receipts = Receipts::new(10, Metrics::new());
        let mark = receipts.of_pass(&id(1));
        let recorded = Record { delivered_at: Some(SETTLED_AT), ..record(State::Settled) };
        receipts.insert(id(1), Receipt::of(&recorded, Duration::from_secs(60), None).unwrap());
        assert!(!mark.delivery().make());
    }

    #[test]
    fn a_pass_shares_the_receipt_that_is_there() {
        let receipts = Receipts::new(10, Metrics::new());
        let shared = receipts.insert(id(1), receipt());
        assert!(receipts.of_pass(&id(1)).delivery().make());
        assert!(shared.delivery.is_made());
    }

    #[test]
    fn it_holds_what_it_may_and_counts_what_gives_way() {
        // Up to 62 lie in one part, where the bound is exact.
        for bound in [1, 2, 62] {
            let metrics = Metrics::new();
            let receipts = Receipts::new(bound, metrics.clone());
            for number in 0..10 * bound {
                let shown = metrics.render();
                let forgotten = number.saturating_sub(bound);
                assert!(
                    shown.contains(&format!("\nfarebox_receipts_forgotten_total {forgotten}\n")),
                    "{bound}: {shown}"
                );
                assert_eq!(receipts.len(), number.min(bound), "{bound}");
                receipts.insert(id(number), receipt());
            }
        }
    }

    #[test]
    fn a_smaller_bound_forgets_at_once_and_a_larger_one_makes_room() {
        let metrics = Metrics::new();
        let receipts = Receipts::new(62, metrics.clone());
        let fill = |from| {
            for number in from..from + 62 {
                receipts.insert(id(number), receipt());
            }
        };
        fill(0);
        receipts.resize(5);
        assert_eq!(receipts.len(), 5);
        assert!(metrics.render().contains("\nfarebox_receipts_forgotten_total 57\n"));
        receipts.resize(62);
        fill(100);
        assert_eq!(receipts.len(), 62);
    }

    #[test]
    fn a_large_bound_is_kept_to_but_for_its_parts() {
        let receipts = Receipts::new(10_000, Metrics::new());
        for number in 0..20_000 {
            receipts.insert(id(number), receipt());
        }
        assert!((9_000..10_100).contains(&receipts.len()), "{}", receipts.len());
    }
}
