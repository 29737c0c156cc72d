//! What the other rooms count on: handles that know their series, a route's at the latest from its first event on.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::{CounterVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge};

use super::family::PerLabel;
use super::labels::{Label, Mode, Operation, Outcome, SettlementOutcome, WindowHit};

/// The families that have a series per route.
pub(super) struct RouteFamilies {
    pub(super) requests: IntCounterVec,
    pub(super) challenges: IntCounterVec,
    pub(super) refusals: IntCounterVec,
    pub(super) settlements: IntCounterVec,
    pub(super) revenue: CounterVec,
    pub(super) window_hits: IntCounterVec,
}

/// What is counted for one route. Its series are there from the first event on that is counted, or from
/// [`RouteMetrics::show`] on, at zero; those of refusals and revenue from their own first one on.
pub struct RouteMetrics {
    route: Arc<str>,
    series: OnceLock<Box<RouteSeries>>,
    families: Arc<RouteFamilies>,
}

/// Every series that a route has in any case.
struct RouteSeries {
    requests: PerLabel<Outcome, IntCounter>,
    challenges: IntCounter,
    settlements: PerLabel<Mode, PerLabel<SettlementOutcome, IntCounter>>,
    window_hits: PerLabel<WindowHit, IntCounter>,
}

impl RouteSeries {
    fn new(families: &RouteFamilies, route: &str) -> RouteSeries {
        RouteSeries {
            requests: PerLabel::new(|o: Outcome| families.requests.with_label_values(&[route, o.label()])),
            challenges: families.challenges.with_label_values(&[route]),
            settlements: PerLabel::new(|mode: Mode| {
                PerLabel::new(|outcome: SettlementOutcome| {
                    families.settlements.with_label_values(&[route, mode.label(), outcome.label()])
                })
            }),
            window_hits: PerLabel::new(|by: WindowHit| families.window_hits.with_label_values(&[route, by.label()])),
        }
    }
}

impl RouteMetrics {
    pub(super) fn new(families: &Arc<RouteFamilies>, route: Arc<str>) -> RouteMetrics {
        RouteMetrics { route, series: OnceLock::new(), families: families.clone() }
    }

    /// Makes its series, at zero.
    pub fn show(&self) {
        self.series();
    }

    fn series(&self) -> &RouteSeries {
        self.series.get_or_init(|| Box::new(RouteSeries::new(&self.families, &self.route)))
    }

    /// A request ended; call it once a request. Both kinds of 402 count as a challenge, too.
    pub fn count(&self, outcome: Outcome) {
        let series = self.series();
        series.requests.with(outcome, IntCounter::inc);
        match outcome {
            Outcome::Challenge | Outcome::Refused => series.challenges.inc(),
            Outcome::Free
            | Outcome::Allowance
            | Outcome::Limited
            | Outcome::Paid
            | Outcome::Window
            | Outcome::Redelivered
            | Outcome::Released
            | Outcome::Malformed
            | Outcome::Preflight
            | Outcome::Unmatched
            | Outcome::BadTarget
            | Outcome::HeadTooLarge
            | Outcome::Pending
            | Outcome::Unavailable
            | Outcome::UpstreamError
            | Outcome::ClientGone
            | Outcome::InternalError => {}
        }
    }

    /// A payment was refused, for a reason of x402's (`x402::Reason::code`, never a text from outside).
    pub fn refused(&self, reason: &'static str) {
        self.families.refusals.with_label_values(&[&self.route, reason]).inc();
    }

    /// A settlement was tried.
    pub fn settlement(&self, mode: Mode, outcome: SettlementOutcome) {
        self.series().settlements.with(mode, |outcomes| outcomes.with(outcome, IntCounter::inc));
    }

    /// Money moved: `amount` in atomic units of `asset` (its address) on `network` (its CAIP-2 name).
    pub fn settled(&self, network: &str, asset: &str, amount: f64) {
        if amount.is_finite() && amount >= 0.0 {
            self.families.revenue.with_label_values(&[&self.route, network, asset]).inc_by(amount);
        }
    }

    /// A request was opened without a new payment.
    pub fn window_hit(&self, by: WindowHit) {
        self.series().window_hits.with(by, IntCounter::inc);
    }
}

/// What is measured of one upstream.
pub struct UpstreamMetrics {
    head: Histogram,
}

impl UpstreamMetrics {
    pub(super) fn new(family: &HistogramVec, upstream: &str) -> UpstreamMetrics {
        UpstreamMetrics { head: family.with_label_values(&[upstream]) }
    }

    /// The upstream's response head came, so long after the request was forwarded.
    pub fn head(&self, elapsed: Duration) {
        self.head.observe(elapsed.as_secs_f64());
    }
}

/// What is measured of one facilitator.
pub struct FacilitatorMetrics {
    facilitator: String,
    calls: HistogramVec,
}

impl FacilitatorMetrics {
    /// The outcome of a call that brought the decision that was hoped for.
    pub const OK: &'static str = "ok";
    /// The outcome of a call that brought a refusal.
    pub const REFUSED: &'static str = "refused";

    pub(super) fn new(family: &HistogramVec, facilitator: &str) -> FacilitatorMetrics {
        FacilitatorMetrics { facilitator: facilitator.to_owned(), calls: family.clone() }
    }

    /// A call ended. `outcome` is [`Self::OK`], [`Self::REFUSED`] or the kind of its failure
    /// (`facilitator::FaultKind::label`), never a text from outside. Made on the first call, for each outcome is a
    /// histogram of its own.
    pub fn call(&self, operation: Operation, outcome: &'static str, elapsed: Duration) {
        self.calls.with_label_values(&[&self.facilitator, operation.label(), outcome]).observe(elapsed.as_secs_f64());
    }
}

/// An open connection: counted from its making to its drop.
pub struct Connected(IntGauge);

impl Connected {
    pub(super) fn new(gauge: &IntGauge) -> Connected {
        gauge.inc();
        Connected(gauge.clone())
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A request in flight: counted from its making to its drop.
pub struct InFlight(IntGauge);

impl InFlight {
    pub(super) fn new(gauge: &IntGauge) -> InFlight {
        gauge.inc();
        InFlight(gauge.clone())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
