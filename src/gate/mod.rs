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
mod ride;
mod shared;
mod shown;
#[cfg(test)]
mod tests;
pub mod unfit;
pub mod unpaid;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use http::{HeaderName, Method, header};

use self::admit::Malformed;
use self::answer::{Answer, Trouble};
use self::facts::Facts;
use self::generation::{Generation, LiveRoute, Quote};
use self::life::{Ticket, Undelivered};
use self::shared::Patience;
pub use self::shared::Shared;
use self::shown::Shown;
use crate::config::Unmatched;
use crate::ledger::{Ledger, LedgerError, UnixMillis};
use crate::money::Amount;
use crate::resolve::reconciler::Reconciler;
use crate::route::canonical::CanonicalTarget;
use crate::route::pattern::Methods;
use crate::telemetry::{Limit, Metrics, Outcome};
use crate::x402::header as wire;
use crate::x402::{Dialect, Network, PaymentId};

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
        let shown = Shown::of(facts.headers.keys().map(HeaderName::as_str));
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
        let payment =
            if shown.payment { admit::payment_header(facts, config.server.payment_header_bytes) } else { Ok(None) };
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
}

impl Request<'_> {
    fn resource_url(&self) -> String {
        let server = &self.generation.config.server;
        self.facts.resource_url(self.target, server.public_url.as_ref(), &server.trusted_proxies)
    }

    fn challenge(&self) -> Verdict {
        if self.quote.offers.is_empty() {
            // No facilitator has supplied yet what every offer needs.
            let answer = Answer::trouble(&Trouble::FacilitatorUnavailable, None);
            return answered(answer, Outcome::Unavailable, Some(self.index));
        }
        answered(self.terms(), Outcome::Challenge, Some(self.index))
    }

    fn terms(&self) -> Answer {
        Answer::challenge(self.quote.challenge.render(&self.resource_url(), None), None)
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
#[inline]
pub fn is_ours(name: &HeaderName) -> bool {
    // Most names go by their first letter.
    name.as_str().starts_with(['f', 'p', 'x']) && is_said_by_us(name.as_str())
}

fn is_said_by_us(name: &str) -> bool {
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
