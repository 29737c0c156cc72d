//! What one request carries from hook to hook.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::task::task_tracker::TaskTrackerToken;

use super::forward::Client;
use super::live::Live;
use super::upstreams::LiveUpstream;
use crate::gate::Identity;
use crate::gate::answer::Answer;
use crate::gate::life::{Money, Ticket, Undelivered};
use crate::telemetry::{InFlight, Outcome};
use crate::x402::PaymentId;

/// How far a request's body has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// Nothing of it.
    Awaited,
    /// Some of it.
    Begun,
    /// To its end, which may be at once.
    Whole,
}

/// One request, from its head to its log line.
pub(super) struct Context {
    /// When the head had been read.
    pub(super) started: Instant,
    /// Counted until the request is answered: for a metric, and for a shutdown that waits for it.
    pub(super) in_flight: Option<(InFlight, TaskTrackerToken)>,
    /// The generation that this request finishes on.
    pub(super) live: Option<Arc<Live>>,
    /// The matched route's index.
    pub(super) route: Option<usize>,
    /// What became of it so far.
    pub(super) outcome: Outcome,
    /// Who asks.
    pub(super) client: Option<Client>,
    /// Where it is forwarded to.
    pub(super) upstream: Option<Arc<LiveUpstream>>,
    /// The canonical target, where it is not what was sent.
    pub(super) rewritten: Option<String>,
    /// Bytes of the request's body that are taken, where that is bounded.
    pub(super) body_bytes_max: Option<u64>,
    /// Bytes of it that have come.
    pub(super) body_bytes: u64,
    /// How much of it the upstream has been sent.
    pub(super) body: Body,
    /// Whether the response belongs to one payer.
    pub(super) private: bool,
    /// What the upstream is told of the payment.
    pub(super) identity: Option<Box<Identity>>,
    /// The payment that opens this request.
    pub(super) ticket: Option<Ticket>,
    /// Whether the rest of the body is read before the connection is closed.
    pub(super) lingers: bool,
    /// The payment in whose window it rides, where nothing was delivered under it so far.
    pub(super) undelivered: Option<Undelivered>,
    /// HTTP/2: how often all had gone out before the last piece of what is to be delivered.
    pub(super) flushes: u64,
    /// What the client gets instead of what the upstream said.
    pub(super) instead: Option<Answer>,
    /// The payment's id, for the log.
    pub(super) payment: Option<PaymentId>,
    /// The settlement, for the log.
    pub(super) money: Option<Money>,
    /// When the upstream was asked.
    pub(super) asked: Option<Instant>,
    /// How long its head took.
    pub(super) upstream_time: Option<Duration>,
    /// How long the head waited for the settlement.
    pub(super) settle_time: Option<Duration>,
    /// Whether the upstream's final head has been judged.
    pub(super) judged: bool,
    /// Whether that head was one that a payment pays for.
    pub(super) good: bool,
}

impl Context {
    pub(super) fn new() -> Context {
        Context {
            started: Instant::now(),
            in_flight: None,
            live: None,
            route: None,
            outcome: Outcome::InternalError,
            client: None,
            upstream: None,
            rewritten: None,
            body_bytes_max: None,
            body_bytes: 0,
            body: Body::Awaited,
            private: false,
            identity: None,
            ticket: None,
            lingers: false,
            undelivered: None,
            flushes: 0,
            instead: None,
            payment: None,
            money: None,
            asked: None,
            upstream_time: None,
            settle_time: None,
            judged: false,
            good: false,
        }
    }
}
