//! Requests that ride an open window: by a pass, or by the payment that opened it.

use std::sync::Arc;

use http::header;

use super::admit::Admission;
use super::answer::FAREBOX_PASS;
use super::life::Undelivered;
use super::{Entry, Gate, Identity, Paid, Request, Verdict, check, unix_millis};
use crate::access::{Claims, HeaderDigest, Reading, Receipt, Remembered};
use crate::ledger::LedgerError;
use crate::telemetry::{Outcome, WindowHit};
use crate::x402::header::{self as wire, DecodeError};
use crate::x402::{Dialect, PaymentId};

impl Gate {
    /// A pass whose window is open, also where the route has none any more: it was paid for. A bad or spent one is as
    /// good as none: the challenge says what to do.
    pub(super) async fn by_pass(&self, request: &Request<'_>) -> Result<Option<Verdict>, LedgerError> {
        let Some(Claims { payer, payment_id, uses, .. }) = request.shown_pass() else { return Ok(None) };
        if let Err(over) = self.payer_may(request, Some(&payer)) {
            return Ok(Some(self.limited(over, request.index, false)));
        }
        if !self.count_use(&payment_id, uses).await? {
            return Ok(None);
        }
        let undelivered = Undelivered::of(&self.shared, &payment_id, self.shared.receipts.of_pass(&payment_id));
        let route = request.live.route.name.clone();
        let identity = Box::new(Identity { route, payer, payment_id, paid: None });
        request.live.metrics.window_hit(WindowHit::Pass);
        Ok(Some(request.forward(Entry::Window { identity, undelivered }, Outcome::Window)))
    }

    /// A payment: it has opened a window already, or is admitted.
    pub(super) async fn by_payment(&self, request: &Request<'_>, dialect: Dialect, value: &[u8]) -> Verdict {
        let header = HeaderDigest::of(dialect, value);
        match self.by_known_header(request, &header).await {
            Ok(Some(verdict)) => return verdict,
            Ok(None) => {}
            Err(error) => return request.ledger_down(error),
        }
        let payment = match wire::decode_payment(dialect, value) {
            Ok(payment) => payment,
            Err(DecodeError::Malformed(what)) => return request.malformed(what),
            Err(DecodeError::Version { .. }) => return request.wrong_version(dialect),
        };
        let admission = Admission::new(self, request, payment);
        let payment = &admission.payment;
        let mut readings =
            check::possible_ids(&request.quote.offers, payment).map(|id| Reading { id, digest: payment.digest });
        let opened = readings.find_map(|reading| Some((self.opened(request, &reading)?, reading)));
        let Some((receipt, reading)) = opened else { return admission.admit().await };
        if let Err(limited) = admission.may_come(Some(&receipt.payer)).await {
            return limited;
        }
        self.shared.readings.insert(header, reading.clone());
        match self.ride(request, &reading.id, receipt).await {
            Ok(Some(verdict)) => verdict,
            Ok(None) => admission.admit().await,
            Err(error) => request.ledger_down(error),
        }
    }

    /// The same header as before, whose payment has opened a window: it need not be read again. Where it opens none now,
    /// or its payer has come too often, it is.
    async fn by_known_header(
        &self,
        request: &Request<'_>,
        header: &HeaderDigest,
    ) -> Result<Option<Verdict>, LedgerError> {
        let Some(reading) = self.shared.readings.get(header) else { return Ok(None) };
        let Some(receipt) = self.opened(request, &reading) else { return Ok(None) };
        if self.payer_may(request, Some(&receipt.payer)).is_err() {
            return Ok(None);
        }
        self.ride(request, &reading.id, receipt).await
    }

    /// The window that this payment has opened here, as far as is remembered without the ledger.
    pub(super) fn opened(&self, request: &Request<'_>, Reading { id, digest }: &Reading) -> Option<Arc<Receipt>> {
        let (route, host) = (&request.live.route.name, request.facts.host);
        self.shared.receipts.lookup(id, digest, route, host, unix_millis())
    }

    /// One more request inside a window, if it is open.
    pub(super) async fn ride(
        &self,
        request: &Request<'_>,
        id: &PaymentId,
        receipt: Arc<Receipt>,
    ) -> Result<Option<Verdict>, LedgerError> {
        Ok(self.count_use(id, receipt.uses).await?.then(|| self.window(request, id, receipt)))
    }

    /// One more request against a window; `false` when it is used up. Where nobody can tell, the client must not be
    /// asked for another payment: an error.
    pub(super) async fn count_use(&self, id: &PaymentId, uses: Option<u32>) -> Result<bool, LedgerError> {
        let Some(limit) = uses else { return Ok(true) };
        match self.shared.ledger.count_use(id, limit).await {
            Ok(open) => Ok(open),
            // The ledger is another one than when the window was opened.
            Err(LedgerError::Conflict { .. }) => Ok(false),
            Err(error @ LedgerError::Unavailable(_)) => Err(error),
        }
    }

    /// The request rides the window that this receipt opened.
    pub(super) fn window(&self, request: &Request<'_>, id: &PaymentId, receipt: Arc<Receipt>) -> Verdict {
        request.live.metrics.window_hit(WindowHit::Payment);
        let identity = Box::new(Identity {
            route: request.live.route.name.clone(),
            payer: receipt.payer.clone(),
            payment_id: id.clone(),
            paid: Some(Paid {
                network: receipt.network.clone(),
                asset: receipt.asset.clone(),
                amount: receipt.amount,
                transaction: receipt.transaction.clone(),
            }),
        });
        let undelivered = Undelivered::of(&self.shared, id, Remembered::Receipt(receipt));
        request.forward(Entry::Window { identity, undelivered }, Outcome::Window)
    }
}

impl Request<'_> {
    /// The first good pass of those in the `farebox-pass` header and in the route's cookie.
    fn shown_pass(&self) -> Option<Claims> {
        let headers = self.facts.headers;
        let in_header = headers.get_all(FAREBOX_PASS).iter().filter_map(|value| value.to_str().ok()).take(1);
        let cookies = headers.get_all(header::COOKIE).iter().map(|value| value.as_bytes());
        let now = u64::try_from(self.facts.now / 1000).unwrap_or(0);
        let keys = &self.generation.pass_keys;
        let open = |token: &str| keys.open(token, &self.live.route.name, self.facts.host, now).ok();
        in_header.chain(self.quote.cookie.find_in(cookies)).find_map(open)
    }
}
