//! The decision: a request's facts in, a verdict out. Knows no socket and no Pingora.
//!
//! [`Gate::decide`] is the life of a request in the order in which it is judged: path, route, pass, payment.
//! What costs money is in [`admit`] and [`life`], a payment that comes again in `again`; what can be judged without
//! asking anybody in [`check`]; every answer that Farebox gives itself is made in [`answer`].

pub mod admit;
mod again;
pub mod answer;
pub mod check;
pub mod facts;
mod forwarded;
pub mod generation;
pub mod holds;
pub mod identity;
pub mod life;
mod limits;
mod pace;
mod quoted;
mod refusal;
mod shared;
mod shown;
#[cfg(test)]
mod tests;
pub mod unfit;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderName, Method, header};

use self::admit::{Admission, Malformed};
use self::answer::{Answer, FAREBOX_PASS, Trouble};
use self::facts::Facts;
use self::generation::{Generation, LiveRoute, Quote};
use self::life::{Ticket, Undelivered};
use self::shared::Patience;
pub use self::shared::Shared;
use self::shown::Shown;
use crate::access::{Claims, Receipt, Remembered};
use crate::config::Unmatched;
use crate::ledger::{Ledger, LedgerError, UnixMillis};
use crate::money::Amount;
use crate::resolve::reconciler::Reconciler;
use crate::route::canonical::CanonicalTarget;
use crate::route::pattern::Methods;
use crate::telemetry::{Limit, Metrics, Outcome, WindowHit};
use crate::x402::header::{self as wire, DecodeError};
use crate::x402::{Dialect, Network, Payment, PaymentId};

/// Decides what becomes of requests.
#[derive(Clone)]
pub struct Gate {
    shared: Arc<Shared>,
}

/// What becomes of a request.
pub enum Verdict {
    /// The gateway answers it itself.
    Answer {
        /// What the client gets.
        answer: Answer,
        /// For metrics and the log.
        outcome: Outcome,
        /// The route that matched.
        route: Option<usize>,
        /// The payment that was judged.
        payment: Option<PaymentId>,
    },
    /// It is forwarded.
    Forward(Box<Forward>),
}

/// A request that goes on to its upstream.
pub struct Forward {
    /// The route that matched; `None` where unmatched requests are free.
    pub route: Option<usize>,
    /// The `[upstreams.NAME]`.
    pub upstream: Arc<str>,
    /// The canonical path and query, where it is not what was sent.
    pub rewritten: Option<String>,
    /// Why it may pass.
    pub entry: Entry,
    /// For metrics and the log.
    pub outcome: Outcome,
}

/// Why a request may pass.
pub enum Entry {
    /// It costs nothing.
    Free,
    /// It would cost something, and is one of the client's free uses.
    Allowance,
    /// An earlier payment's window is open.
    Window {
        /// Who has paid.
        identity: Box<Identity>,
        /// What is left to do where nothing was delivered so far.
        undelivered: Option<Undelivered>,
    },
    /// It brought a payment.
    Paid {
        /// What the payment is settled and delivered with.
        ticket: Ticket,
        /// Who pays what.
        identity: Box<Identity>,
    },
}

/// What the upstream is told of a paid request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The route's name.
    pub route: Arc<str>,
    /// Who paid; empty where only the facilitator can tell and has not been asked.
    pub payer: Arc<str>,
    /// Stable over redelivery: the backend's idempotency key.
    pub payment_id: PaymentId,
    /// What was paid; a pass does not carry it.
    pub paid: Option<Paid>,
}

/// What was paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paid {
    /// Where.
    pub network: Network,
    /// The token's address.
    pub asset: Arc<str>,
    /// Atomic units.
    pub amount: Amount,
    /// The transaction, where the money moved before the request was forwarded.
    pub transaction: Option<Arc<str>>,
}

/// A priced request on its way through the gate.
pub(crate) struct Request<'a> {
    pub(crate) generation: &'a Arc<Generation>,
    pub(crate) index: usize,
    pub(crate) live: &'a LiveRoute,
    pub(crate) quote: &'a Arc<Quote>,
    pub(crate) facts: &'a Facts<'a>,
    pub(crate) target: &'a CanonicalTarget<'a>,
}

/// Unix time in milliseconds, now.
pub fn unix_millis() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
    #[cfg(test)]
    let now = now.saturating_add(tests::clock::ahead());
    now
}

/// Unix time in seconds, now.
pub fn unix_seconds() -> u64 {
    u64::try_from(unix_millis() / 1000).unwrap_or(0)
}

impl Gate {
    /// A gate over this ledger, which remembers that many settled payments without it.
    pub fn new(ledger: Arc<dyn Ledger>, metrics: Arc<Metrics>, receipts_in_memory: usize) -> Gate {
        Gate::with_patience(ledger, metrics, receipts_in_memory, Patience::NORMAL)
    }

    fn with_patience(
        ledger: Arc<dyn Ledger>,
        metrics: Arc<Metrics>,
        receipts_in_memory: usize,
        patience: Patience,
    ) -> Gate {
        Gate { shared: Arc::new(Shared::new(ledger, metrics, receipts_in_memory, patience)) }
    }

    /// What works through unknown payments while requests are judged; a [`drain`](Gate::drain) waits for its tries.
    pub fn reconciler(&self) -> Reconciler {
        let Shared { resolver, tasks, .. } = &*self.shared;
        Reconciler { resolver: resolver.clone(), tasks: tasks.clone(), clock: unix_millis }
    }

    /// The ledger and what else outlives requests.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Waits for settlements that have outlived their requests. No request may be decided on any more. What a ledger that
    /// is gone could not be told is tried for the last time: the next start finds it open and has it found out.
    pub async fn drain(&self) {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.draining.cancel();
        self.shared.keepers.close();
        self.shared.keepers.wait().await;
    }

    /// Judges a request.
    pub async fn decide(&self, generation: &Arc<Generation>, facts: &Facts<'_>) -> Verdict {
        let target = match CanonicalTarget::parse(facts.target) {
            Ok(target) => target,
            Err(ambiguous) => {
                return answered(Answer::trouble(&Trouble::AmbiguousPath(ambiguous), None), Outcome::BadTarget, None);
            }
        };
        let config = &generation.config;
        if let Some(answer) = preflight(generation, facts, &target) {
            return answered(answer, Outcome::Preflight, None);
        }
        let Some(index) = config.matcher.find(facts.host, target.path(), facts.method.as_str()) else {
            return match &config.server.unmatched {
                Unmatched::Deny => answered(Answer::trouble(&Trouble::NoRoute, None), Outcome::Unmatched, None),
                Unmatched::Free { upstream } => forward(None, upstream, &target, Entry::Free, Outcome::Free),
            };
        };
        let Some(live) = generation.route(index) else {
            return answered(Answer::trouble(&Trouble::Internal, None), Outcome::InternalError, None);
        };
        let Some(quote) = &live.quote else {
            if let Err(over) = self.client_may(generation, live, facts) {
                return self.limited(over, index, false);
            }
            return forward(Some(index), &live.route.upstream, &target, Entry::Free, Outcome::Free);
        };
        let request = Request { generation, index, live, quote, facts, target: &target };
        let shown = Shown::of(facts.headers);
        if shown.length
            && let Some(refused) = self.too_long(&request)
        {
            return refused;
        }
        if let Err(over) = self.client_may(generation, live, facts) {
            // Boxed as below.
            return Box::pin(self.turn_away(&request, over)).await;
        }
        if shown.passes {
            match self.by_pass(&request).await {
                Ok(Some(verdict)) => return verdict,
                Ok(None) => {}
                Err(error) => return request.ledger_down(error),
            }
        }
        let payment = if shown.payment {
            admit::payment_header(facts, config.server.payment_header_bytes)
        } else {
            Ok(None)
        };
        match payment {
            Ok(None) => self.free_use(&request).unwrap_or_else(|| request.challenge()),
            // Boxed, or every request would carry a payment's future.
            Ok(Some((dialect, value))) => Box::pin(self.by_payment(&request, dialect, value)).await,
            Err(malformed) => {
                if let Malformed::TooLong { .. } = malformed {
                    self.shared.metrics.refused(Limit::PaymentHeaderBytes);
                }
                request.malformed(malformed.to_string())
            }
        }
    }

    /// A pass whose window is open, also where the route has none any more: it was paid for. A bad or spent one is as
    /// good as none: the challenge says what to do.
    async fn by_pass(&self, request: &Request<'_>) -> Result<Option<Verdict>, LedgerError> {
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

    /// One more request against a window; `false` when it is used up. Where nobody can tell, the client must not be
    /// asked for another payment: an error.
    async fn count_use(&self, id: &PaymentId, uses: Option<u32>) -> Result<bool, LedgerError> {
        let Some(limit) = uses else { return Ok(true) };
        match self.shared.ledger.count_use(id, limit).await {
            Ok(open) => Ok(open),
            // The ledger is another one than when the window was opened.
            Err(LedgerError::Conflict { .. }) => Ok(false),
            Err(error @ LedgerError::Unavailable(_)) => Err(error),
        }
    }

    async fn by_payment(&self, request: &Request<'_>, dialect: Dialect, value: &[u8]) -> Verdict {
        let payment = match wire::decode_payment(dialect, value) {
            Ok(payment) => payment,
            Err(DecodeError::Malformed(what)) => return request.malformed(what),
            Err(DecodeError::Version { .. }) => return request.wrong_version(dialect),
        };
        let admission = Admission::new(self, request, payment);
        let payment = &admission.payment;
        let receipt = self.opened(request, check::possible_ids(&request.quote.offers, payment), payment);
        if let Some((_, receipt)) = &receipt
            && let Err(limited) = admission.may_come(Some(&receipt.payer)).await
        {
            return limited;
        }
        match self.ride(request, receipt).await {
            Ok(Some(verdict)) => verdict,
            Ok(None) => admission.admit().await,
            Err(error) => request.ledger_down(error),
        }
    }

    /// The window that this payment has opened, as far as is remembered without the ledger.
    fn opened(
        &self,
        request: &Request<'_>,
        ids: impl IntoIterator<Item = PaymentId>,
        payment: &Payment,
    ) -> Option<(PaymentId, Arc<Receipt>)> {
        let (route, host) = (&request.live.route.name, request.facts.host);
        let now = unix_millis();
        ids.into_iter().find_map(|id| {
            let receipt = self.shared.receipts.lookup(&id, &payment.digest, route, host, now)?;
            Some((id, receipt))
        })
    }

    /// The request rides the window that this receipt opened.
    fn window(&self, request: &Request<'_>, id: &PaymentId, receipt: Arc<Receipt>) -> Verdict {
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

    /// One more request inside such a window, if it is open.
    async fn ride(
        &self,
        request: &Request<'_>,
        opened: Option<(PaymentId, Arc<Receipt>)>,
    ) -> Result<Option<Verdict>, LedgerError> {
        let Some((id, receipt)) = opened else { return Ok(None) };
        Ok(self.count_use(&id, receipt.uses).await?.then(|| self.window(request, &id, receipt)))
    }
}

impl Request<'_> {
    fn resource_url(&self) -> String {
        let server = &self.generation.config.server;
        self.facts.resource_url(self.target, server.public_url.as_ref(), &server.trusted_proxies)
    }

    /// The first good pass of those in the `farebox-pass` header and in the route's cookie.
    fn shown_pass(&self) -> Option<Claims> {
        let headers = self.facts.headers;
        let in_header = headers.get_all(FAREBOX_PASS).iter().filter_map(|value| value.to_str().ok()).take(1);
        let cookies = headers.get_all(header::COOKIE).iter().map(|value| value.as_bytes());
        let now = u64::try_from(self.facts.now / 1000).unwrap_or(0);
        let keys = &self.generation.pass_keys;
        let check = |token: &str| keys.check(token, &self.live.route.name, self.facts.host, now).ok();
        in_header.chain(self.quote.cookie.find_in(cookies)).find_map(check)
    }

    fn challenge(&self) -> Verdict {
        if self.quote.offers.is_empty() {
            // No facilitator has supplied yet what every offer needs.
            let answer = Answer::trouble(&Trouble::FacilitatorUnavailable, None);
            return answered(answer, Outcome::Unavailable, Some(self.index));
        }
        let challenge = self.quote.challenge.render(&self.resource_url(), None);
        answered(Answer::challenge(challenge, None), Outcome::Challenge, Some(self.index))
    }

    fn wrong_version(&self, dialect: Dialect) -> Verdict {
        let answer = refusal::wrong_version(self.quote, &self.resource_url(), dialect, &self.live.metrics);
        answered(answer, Outcome::Refused, Some(self.index))
    }

    fn ledger_down(&self, error: LedgerError) -> Verdict {
        tracing::error!(%error, "a request was turned away: its payment or its window cannot be looked up or written");
        answered(Answer::trouble(&Trouble::LedgerUnavailable, None), Outcome::Unavailable, Some(self.index))
    }

    fn malformed(&self, what: String) -> Verdict {
        answered(Answer::trouble(&Trouble::MalformedPayment(what), None), Outcome::Malformed, Some(self.index))
    }

    pub(crate) fn forward(&self, entry: Entry, outcome: Outcome) -> Verdict {
        forward(Some(self.index), &self.live.route.upstream, self.target, entry, outcome)
    }
}

fn answered(answer: Answer, outcome: Outcome, route: Option<usize>) -> Verdict {
    Verdict::Answer { answer, outcome, route, payment: None }
}

fn forward(
    route: Option<usize>,
    upstream: &Arc<str>,
    target: &CanonicalTarget<'_>,
    entry: Entry,
    outcome: Outcome,
) -> Verdict {
    let rewritten = (!target.was_canonical()).then(|| target.path_and_query().to_owned());
    Verdict::Forward(Box::new(Forward { route, upstream: upstream.clone(), rewritten, entry, outcome }))
}

/// A browser asks before it sends a priced request: answered here, it reaches no upstream and costs nothing. Where a
/// free route names `OPTIONS`, its upstream answers.
fn preflight(generation: &Generation, facts: &Facts<'_>, target: &CanonicalTarget<'_>) -> Option<Answer> {
    if facts.method != Method::OPTIONS || !facts.headers.contains_key(header::ORIGIN) {
        return None;
    }
    let method = facts.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
    let find = |method: &str| generation.route(generation.config.matcher.find(facts.host, target.path(), method)?);
    find(method.to_str().ok()?)?.quote.as_ref()?;
    if find("OPTIONS").is_some_and(|own| own.quote.is_none() && own.route.pattern.methods != Methods::Any) {
        return None;
    }
    Some(Answer::preflight(method, facts.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS)))
}

/// Header fields of a client's request that never reach an upstream.
///
/// Backends that speak CGI or WSGI cannot tell `farebox_payer` from `farebox-payer`, nor `x_forwarded_for` from what
/// this gateway says.
pub fn is_ours(name: &HeaderName) -> bool {
    let name = name.as_str();
    // Most names go by their first letter.
    if !name.starts_with(['f', 'p', 'x']) {
        return false;
    }
    if !name.contains('_') {
        return is_reserved(name);
    }
    let dashed = name.replace('_', "-");
    is_reserved(&dashed) || dashed.starts_with("x-forwarded-")
}

fn is_reserved(name: &str) -> bool {
    name.starts_with("farebox-")
        || matches!(name, wire::PAYMENT_SIGNATURE | wire::X_PAYMENT | wire::PAYMENT_REQUIRED)
        || matches!(name, wire::PAYMENT_RESPONSE | wire::X_PAYMENT_RESPONSE)
}
