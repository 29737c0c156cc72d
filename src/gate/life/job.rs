//! What is done with a payment, whatever becomes of the request that brought it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::HeaderValue;
use tracing::{error, warn};

use super::{HeadPatch, Money, Unpaid};
use crate::access::{Claims, Delivery, Pass, PassKeys, Receipt};
use crate::config::SettleMode;
use crate::facilitator::pool::Pool;
use crate::facilitator::{Order, Settlement};
use crate::gate::answer::{self, Answer, FAREBOX_PASS, FAREBOX_PAYMENT_ID, Settled, Trouble};
use crate::gate::generation::Quote;
use crate::gate::holds::Hold;
use crate::gate::{Shared, refusal, unix_millis};
use crate::ledger::{LedgerError, Transition, UnixMillis};
use crate::telemetry::{Limit, Mode, Outcome, RouteMetrics, SettlementOutcome};
use crate::x402::{Dialect, PaymentId, Reason, SettlementResponse};

/// A payment and what it opens; outlives the request that brought it.
pub struct Job {
    pub(in crate::gate) shared: Arc<Shared>,
    pub(in crate::gate) id: PaymentId,
    /// See [`crate::x402::Payment`].
    pub(in crate::gate) digest: [u8; 32],
    /// In which version the client speaks.
    pub(in crate::gate) dialect: Dialect,
    pub(in crate::gate) quote: Arc<Quote>,
    pub(in crate::gate) route: Arc<str>,
    pub(in crate::gate) host: Arc<str>,
    pub(in crate::gate) metrics: Arc<RouteMetrics>,
    pub(in crate::gate) pass_keys: Arc<PassKeys>,
    /// Whether a browser sends the pass over TLS only.
    pub(in crate::gate) secure: bool,
    /// Given up when the last of request and settlement is done with the payment.
    pub(in crate::gate) hold: Hold,
    /// What requests inside its window share with this one.
    pub(in crate::gate) delivery: OnceLock<Arc<Delivery>>,
}

/// What is to be settled, and by whom.
pub struct Charge {
    pub(in crate::gate) order: Order,
    pub(in crate::gate) pool: Arc<Pool>,
}

/// Others have the payment now.
#[derive(Debug)]
pub(super) struct Taken;

/// How a settlement ended.
#[derive(Debug, Clone)]
pub(super) enum Ended {
    Settled(Money),
    Refused(Reason),
    /// Certainly not charged, for a reason that is not the payment's.
    NotCharged(Trouble),
    /// Nobody knows; perhaps a transaction was named.
    Unknown {
        transaction: Option<Arc<str>>,
    },
}

impl Job {
    /// Moves the money. The payment is `settling` in the ledger before the facilitator is asked, and its outcome
    /// is there before anybody is told.
    pub(super) async fn settle(self: &Arc<Job>, charge: &Charge) -> Ended {
        if self.quote.terms.settle == SettleMode::OnSuccess
            && let Err(error) = self.shared.ledger.advance(&self.id, Transition::Settling, unix_millis()).await
        {
            error!(payment_id = %self.id, %error, "not settled: the ledger cannot be written");
            // It may have been written all the same, and nobody has been asked to settle anything.
            // Where others took it over, it is theirs to say more.
            let _: Result<(), Taken> =
                self.release("the ledger could not be written before the settlement".to_owned()).await;
            return Ended::NotCharged(Trouble::LedgerUnavailable);
        }
        let settlement = charge.pool.settle(&charge.order).await;
        let ended = self.write(charge, settlement).await;
        let outcome = match &ended {
            Ended::Settled(_) => SettlementOutcome::Settled,
            Ended::Refused(_) => SettlementOutcome::Refused,
            Ended::NotCharged(_) => SettlementOutcome::NotSent,
            Ended::Unknown { .. } => SettlementOutcome::Unknown,
        };
        self.metrics.settlement(mode_label(self.quote.terms.settle), outcome);
        ended
    }

    async fn write(self: &Arc<Job>, charge: &Charge, settlement: Settlement) -> Ended {
        match settlement {
            Settlement::Settled { facilitator, transaction, payer } => {
                let offer = &charge.order.offer;
                // What the payer signed stands above what the facilitator says of it.
                let signer = charge.order.payment.payer().map(|payer| payer.to_string());
                let money = Money {
                    network: offer.network.clone(),
                    asset: offer.asset.address.clone(),
                    amount: offer.amount,
                    transaction: transaction.into(),
                    payer: signer.or(payer).unwrap_or_default().into(),
                    settled_at: unix_millis(),
                };
                self.settled(facilitator, money).await
            }
            Settlement::Refused { reason, detail } => {
                match self.release(format!("refused: {reason}: {detail}")).await {
                    Ok(()) => Ended::Refused(reason),
                    Err(Taken) => Ended::Unknown { transaction: None },
                }
            }
            Settlement::NotSent { fault } => match self.release(fault.to_string()).await {
                Ok(()) => Ended::NotCharged(Trouble::of(&fault)),
                Err(Taken) => Ended::Unknown { transaction: None },
            },
            Settlement::Unknown { facilitator, transaction, detail } => {
                warn!(
                    payment_id = %self.id, route = %self.route, %facilitator, transaction, detail,
                    "a settlement's outcome is unknown: the client is told to send the same payment again, and it is \
                     asked for until it is known; to ask now, farebox ledger resolve {}",
                    self.id
                );
                let transaction: Option<Arc<str>> = transaction.map(Arc::from);
                let unknown =
                    Transition::Unknown { facilitator, transaction: transaction.clone(), error: detail.into() };
                // Where it conflicts, others took it over and find it out.
                drop(self.keep(unknown).await);
                Ended::Unknown { transaction }
            }
        }
    }

    async fn settled(self: &Arc<Job>, facilitator: Arc<str>, money: Money) -> Ended {
        if let Err(error) = self.keep_settled(facilitator, money.clone()).await {
            error!(
                payment_id = %self.id, transaction = %money.transaction, %error,
                "settled, but not written: the client is told to send the same payment again"
            );
            return Ended::Unknown { transaction: Some(money.transaction) };
        }
        self.open_window(&money).await;
        self.hold.delivering();
        Ended::Settled(money)
    }

    /// Certainly not charged by this gateway. `Err`: while it stood still others took the payment over, and they may
    /// charge it.
    pub(super) async fn release(self: &Arc<Job>, why: String) -> Result<(), Taken> {
        match self.keep(Transition::Released { error: why.into() }).await {
            // What could not be written is kept, and certain all the same.
            Ok(()) | Err(LedgerError::Unavailable(_)) => Ok(()),
            Err(conflict @ LedgerError::Conflict { .. }) => {
                warn!(payment_id = %self.id, %conflict, "not charged here, but others have taken the payment over");
                Err(Taken)
            }
        }
    }

    /// Settled, and this request does not deliver it: another gateway may.
    pub(super) async fn let_go(&self) {
        if let Err(error) = self.shared.ledger.let_go(&self.id).await {
            warn!(payment_id = %self.id, %error, "undelivered, and only this gateway may deliver it while it runs");
        }
    }

    /// From now on the same payment opens the route without being judged again.
    async fn open_window(&self, money: &Money) {
        let Some(window) = self.quote.terms.window else { return };
        // The paid request is the first that the window counts, and is counted before anybody can find the receipt.
        if let Some(uses) = window.uses
            && let Err(error) = self.shared.ledger.count_use(&self.id, uses).await
        {
            error!(payment_id = %self.id, %error, "a window's first use was not counted");
        }
        let receipt = self.shared.receipts.insert(self.id.clone(), self.receipt(money));
        self.deliver_with(&receipt.delivery);
    }

    /// What its window's requests share: once, when that opens or has been open.
    pub(super) fn deliver_with(&self, delivery: &Arc<Delivery>) {
        let _: Result<(), Arc<Delivery>> = self.delivery.set(delivery.clone());
    }

    /// Its response was written in full: whether nothing was delivered under it before.
    pub(super) fn is_first_delivery(&self) -> bool {
        self.delivery.get().is_none_or(|delivery| delivery.make())
    }

    fn receipt(&self, money: &Money) -> Receipt {
        Receipt {
            route: self.route.clone(),
            host: self.host.clone(),
            payer: money.payer.clone(),
            digest: self.digest,
            settled_at: money.settled_at,
            expires_at: self.window_end(money.settled_at),
            uses: self.quote.terms.window.and_then(|window| window.uses),
            network: money.network.clone(),
            asset: money.asset.clone(),
            amount: money.amount,
            transaction: Some(money.transaction.clone()),
            delivery: Arc::default(),
        }
    }

    /// When a window that opened at `settled_at` ends.
    fn window_end(&self, settled_at: UnixMillis) -> UnixMillis {
        let length = self.quote.terms.window.map_or(0, |window| window.duration.as_millis());
        settled_at.saturating_add(i64::try_from(length).unwrap_or(i64::MAX))
    }

    pub(super) fn settlement_response(&self, money: &Money) -> SettlementResponse {
        let payer = (!money.payer.is_empty()).then_some(&*money.payer);
        SettlementResponse::settled(self.dialect, &money.network, &money.transaction, payer, money.amount)
    }

    pub(super) fn head_patch(&self, money: &Money) -> HeadPatch {
        let response = self.settlement_response(money);
        let mut patch = HeadPatch::default();
        patch.set.push(answer::settlement_header(Settled { dialect: self.dialect, response: &response }));
        if let Ok(id) = HeaderValue::try_from(self.id.as_str()) {
            patch.set.push((FAREBOX_PAYMENT_ID, id));
        }
        if self.quote.terms.window.is_some() {
            self.add_pass(&mut patch, money);
        }
        patch
    }

    fn add_pass(&self, patch: &mut HeadPatch, money: &Money) {
        let expires_at = self.window_end(money.settled_at);
        let left = u64::try_from(expires_at.saturating_sub(unix_millis())).unwrap_or(0);
        if left == 0 {
            // Delivered after its window has closed.
            return;
        }
        let token = self.pass_keys.issue(&Pass {
            route: &self.route,
            host: &self.host,
            claims: Claims {
                payer: money.payer.clone(),
                payment_id: self.id.clone(),
                expires_at: u64::try_from(expires_at / 1000).unwrap_or(0),
                uses: self.quote.terms.window.and_then(|window| window.uses),
            },
        });
        let cookie = self.quote.cookie.set_cookie(&token, Duration::from_millis(left), self.secure);
        let never_shown = |text: String| {
            let mut value = HeaderValue::try_from(text).ok()?;
            value.set_sensitive(true);
            Some(value)
        };
        patch.cookie = never_shown(cookie);
        patch.set.extend(never_shown(token).map(|token| (FAREBOX_PASS, token)));
    }

    /// The answer to a payment that was certainly not charged, for a reason that is not its own.
    pub(super) fn not_charged(&self, trouble: &Trouble) -> Unpaid {
        let outcome = match trouble {
            Trouble::TooManyCalls => {
                self.shared.metrics.refused(Limit::CallsInFlight);
                Outcome::Limited
            }
            _ => Outcome::Unavailable,
        };
        Unpaid { answer: Answer::trouble(trouble, None), outcome }
    }

    /// The 402 of a payment that was judged and found wanting.
    pub(super) fn refusal(&self, charge: &Charge, reason: Reason) -> Answer {
        let Order { payment, resource, .. } = &charge.order;
        refusal::refuse(&self.quote, &resource.url, payment, reason, &self.metrics)
    }
}

fn mode_label(mode: SettleMode) -> Mode {
    match mode {
        SettleMode::OnSuccess => Mode::OnSuccess,
        SettleMode::Before => Mode::Before,
        SettleMode::Overlap => Mode::Overlap,
    }
}
