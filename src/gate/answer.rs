//! Answers that the gateway gives itself. The one place where an error becomes a response.
//!
//! A body says `error` (a code for programs) and `message` (for the person who reads the log of that program);
//! `retry` is `same_payment` where the client must not sign a second one. A facilitator's own words and
//! anything internal stay in the log.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

use super::unfit::Unfit;
use crate::facilitator::{Fault, FaultKind};
use crate::route::canonical::Ambiguous;
use crate::telemetry::Limit;
use crate::telemetry::labels::Label as _;
use crate::x402::challenge::Challenge;
use crate::x402::{Dialect, SettlementResponse, header as wire};

/// Seconds after which a client may try again when nothing better is known.
const RETRY_AFTER_SECONDS: u64 = 2;

/// What a browser's script may read of an answer.
pub const EXPOSED: &str =
    "PAYMENT-REQUIRED, PAYMENT-RESPONSE, X-PAYMENT-RESPONSE, farebox-pass, farebox-payment-id, Retry-After";

/// What a browser's script may send besides what the request's own preflight names.
const ALLOWED: &str = "PAYMENT-SIGNATURE, X-PAYMENT, farebox-pass";

/// The signed pass that opens a window.
pub const FAREBOX_PASS: HeaderName = HeaderName::from_static("farebox-pass");
/// The payment's id.
pub const FAREBOX_PAYMENT_ID: HeaderName = HeaderName::from_static("farebox-payment-id");

/// A complete response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Without `Content-Length` and what the connection needs.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Left out when the request was a `HEAD`.
    pub body: Bytes,
}

/// Why a request is answered by the gateway with something other than a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The target has no canonical form.
    AmbiguousPath(Ambiguous),
    /// No route matches, and `unmatched` is `deny`.
    NoRoute,
    /// A payment header that cannot be read.
    MalformedPayment(String),
    /// Nobody knows whether the money moved.
    SettlementPending,
    /// The same payment is being delivered to another request.
    PaymentInUse,
    /// No facilitator can be asked; nothing was charged.
    FacilitatorUnavailable,
    /// The ledger cannot be written; nothing was charged.
    LedgerUnavailable,
    /// A rate is reached; nothing was charged.
    TooOften {
        /// Which.
        limit: Limit,
        /// Until the next one may come.
        wait: Duration,
        /// Whether it brought a payment, which stays good.
        paying: bool,
    },
    /// A priced request's body is longer than what is taken.
    BodyTooLarge {
        /// What is taken.
        bytes_max: u64,
    },
    /// As many requests are in flight as may be; this one was not looked at.
    TooManyRequests,
    /// As many calls to facilitators are in flight as may be; nothing was charged.
    TooManyCalls,
    /// The upstream cannot be reached.
    UpstreamUnreachable,
    /// The upstream did not answer in time.
    UpstreamTimeout,
    /// The upstream's answer is not HTTP, or broke off before its head was complete.
    UpstreamBroken,
    /// The request's body stood still for too long.
    RequestTimeout,
    /// The request is not one that this gateway forwards.
    Unfit(Unfit),
    /// Something here went wrong; the log has it.
    Internal,
}

impl Trouble {
    /// What a payment that a facilitator was not asked about, or did not decide on, comes to.
    pub(super) fn of(fault: &Fault) -> Trouble {
        match fault.kind {
            FaultKind::Busy => Trouble::TooManyCalls,
            _ => Trouble::FacilitatorUnavailable,
        }
    }

    /// Status, code and message.
    fn words(&self) -> (StatusCode, &'static str, String) {
        let fixed = |status, code, message: &str| (status, code, message.to_owned());
        match self {
            Trouble::AmbiguousPath(why) => (StatusCode::BAD_REQUEST, "ambiguous_path", why.to_string()),
            Trouble::NoRoute => fixed(StatusCode::NOT_FOUND, "no_route", "nothing is served here"),
            Trouble::MalformedPayment(what) => (StatusCode::BAD_REQUEST, "invalid_payload", what.clone()),
            Trouble::SettlementPending => fixed(
                StatusCode::SERVICE_UNAVAILABLE,
                "settlement_pending",
                "the outcome of this payment is not known yet: send the same payment again, do not sign a new one",
            ),
            Trouble::PaymentInUse => fixed(
                StatusCode::CONFLICT,
                "payment_in_use",
                "this payment is opening another request right now: if that one fails, send the same payment again",
            ),
            Trouble::FacilitatorUnavailable => fixed(
                StatusCode::SERVICE_UNAVAILABLE,
                "facilitator_unavailable",
                "payments cannot be settled right now; nothing was charged: send the same payment again",
            ),
            Trouble::LedgerUnavailable => fixed(
                StatusCode::SERVICE_UNAVAILABLE,
                "ledger_unavailable",
                "payments cannot be recorded right now; nothing was charged: send the same payment again",
            ),
            Trouble::TooOften { wait, paying, .. } => {
                let seconds = whole_seconds(*wait);
                let payment = if *paying { "; nothing was charged: send the same payment again then" } else { "" };
                let message = format!("too many requests: the next one may come in {seconds} s{payment}");
                (StatusCode::TOO_MANY_REQUESTS, "too_many_requests", message)
            }
            Trouble::BodyTooLarge { bytes_max } => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                format!("the request's body is too large: at most {bytes_max} bytes are taken here"),
            ),
            Trouble::TooManyRequests => {
                fixed(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "this gateway has enough to do right now")
            }
            Trouble::TooManyCalls => fixed(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "too many payments are being settled right now; this one was not charged: send the same payment again",
            ),
            Trouble::UpstreamUnreachable => {
                fixed(StatusCode::BAD_GATEWAY, "upstream_unreachable", "the service behind this gateway is not there")
            }
            Trouble::UpstreamTimeout => {
                fixed(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", "the service behind this gateway did not answer")
            }
            Trouble::UpstreamBroken => fixed(
                StatusCode::BAD_GATEWAY,
                "upstream_broken",
                "the service behind this gateway broke off its answer",
            ),
            Trouble::RequestTimeout => {
                fixed(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the rest of the request's body did not come")
            }
            Trouble::Unfit(why) => (why.status(), "bad_request", why.to_string()),
            Trouble::Internal => fixed(StatusCode::INTERNAL_SERVER_ERROR, "internal", "this gateway failed"),
        }
    }

    /// For programs, where there is more to say than the code: the limit that was reached, or what is wrong with a request.
    fn reason(&self) -> Option<&'static str> {
        match self {
            Trouble::AmbiguousPath(why) => Some(why.reason()),
            Trouble::Unfit(why) => Some(why.reason()),
            Trouble::TooOften { limit, .. } => Some(limit.label()),
            Trouble::BodyTooLarge { .. } => Some(Limit::RequestBodyBytes.label()),
            Trouble::TooManyRequests => Some(Limit::RequestsInFlight.label()),
            Trouble::TooManyCalls => Some(Limit::CallsInFlight.label()),
            Trouble::NoRoute
            | Trouble::MalformedPayment(_)
            | Trouble::SettlementPending
            | Trouble::PaymentInUse
            | Trouble::FacilitatorUnavailable
            | Trouble::LedgerUnavailable
            | Trouble::UpstreamUnreachable
            | Trouble::UpstreamTimeout
            | Trouble::UpstreamBroken
            | Trouble::RequestTimeout
            | Trouble::Internal => None,
        }
    }

    /// Seconds after which the client may come again, where that helps.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Trouble::TooOften { wait, .. } => Some(whole_seconds(*wait)),
            Trouble::TooManyRequests => Some(RETRY_AFTER_SECONDS),
            other => other.same_payment_again().then_some(RETRY_AFTER_SECONDS),
        }
    }

    /// Whether the client is to send the same payment again, later.
    fn same_payment_again(&self) -> bool {
        match self {
            Trouble::SettlementPending
            | Trouble::PaymentInUse
            | Trouble::FacilitatorUnavailable
            | Trouble::LedgerUnavailable
            | Trouble::TooManyCalls => true,
            Trouble::TooOften { paying, .. } => *paying,
            Trouble::AmbiguousPath(_)
            | Trouble::NoRoute
            | Trouble::MalformedPayment(_)
            | Trouble::BodyTooLarge { .. }
            | Trouble::TooManyRequests
            | Trouble::UpstreamUnreachable
            | Trouble::UpstreamTimeout
            | Trouble::UpstreamBroken
            | Trouble::RequestTimeout
            | Trouble::Unfit(_)
            | Trouble::Internal => false,
        }
    }
}

/// Rounded up: who waits so long may come.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// What a client that had sent a payment is told of it besides.
#[derive(Debug, Clone)]
pub struct Settled<'a> {
    /// In which version.
    pub dialect: Dialect,
    /// What became of it.
    pub response: &'a SettlementResponse,
}

impl Answer {
    /// The 402 of a priced route: both versions' terms, and what became of a refused payment.
    pub fn challenge(challenge: Challenge, refused: Option<Settled<'_>>) -> Answer {
        let mut headers = base_headers();
        headers.push((header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")));
        headers.push((
            HeaderName::from_static(wire::PAYMENT_REQUIRED),
            HeaderValue::from_maybe_shared(challenge.payment_required).unwrap_or(HeaderValue::from_static("")),
        ));
        headers.extend(refused.map(settlement_header));
        Answer { status: StatusCode::PAYMENT_REQUIRED, headers, body: challenge.body }
    }

    /// Anything else that stops a request here.
    pub fn trouble(trouble: &Trouble, settled: Option<Settled<'_>>) -> Answer {
        let (status, error, message) = trouble.words();
        let mut body = json!({ "error": error, "message": message });
        let mut headers = base_headers();
        if let (Some(reason), Some(fields)) = (trouble.reason(), body.as_object_mut()) {
            fields.insert("reason".into(), reason.into());
        }
        // An upstream's failure leaves a settled payment good: it opens the route until it is delivered.
        let paid = settled.as_ref().is_some_and(|settled| settled.response.success);
        if (trouble.same_payment_again() || paid)
            && let Some(fields) = body.as_object_mut()
        {
            fields.insert("retry".into(), "same_payment".into());
        }
        if let Some(seconds) = trouble.retry_after().or(paid.then_some(RETRY_AFTER_SECONDS)) {
            headers.push((header::RETRY_AFTER, HeaderValue::from(seconds)));
        }
        headers.push((header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")));
        headers.extend(settled.map(settlement_header));
        Answer { status, headers, body: Bytes::from(body.to_string()) }
    }

    /// The same, where it is known when trying again helps.
    pub fn retried_after(mut self, wait: Duration) -> Answer {
        let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0));
        for (name, value) in &mut self.headers {
            if *name == header::RETRY_AFTER {
                *value = HeaderValue::from(seconds);
            }
        }
        self
    }

    /// The answer to a browser's preflight of a priced route.
    pub fn preflight(method: &HeaderValue, requested: Option<&HeaderValue>) -> Answer {
        let mut headers = vec![
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
            (header::ACCESS_CONTROL_ALLOW_METHODS, method.clone()),
            (header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600")),
            (header::VARY, HeaderValue::from_static("Access-Control-Request-Method, Access-Control-Request-Headers")),
        ];
        let mut allowed = ALLOWED.to_owned();
        if let Some(requested) = requested.and_then(|value| value.to_str().ok()) {
            allowed.push_str(", ");
            allowed.push_str(requested);
        }
        if let Ok(allowed) = HeaderValue::try_from(allowed) {
            headers.push((header::ACCESS_CONTROL_ALLOW_HEADERS, allowed));
        }
        Answer { status: StatusCode::NO_CONTENT, headers, body: Bytes::new() }
    }
}

/// The header that tells a client what became of its payment, in its own dialect.
pub fn settlement_header(settled: Settled<'_>) -> (HeaderName, HeaderValue) {
    let name = match settled.dialect {
        Dialect::V1 => HeaderName::from_static(wire::X_PAYMENT_RESPONSE),
        Dialect::V2 => HeaderName::from_static(wire::PAYMENT_RESPONSE),
    };
    // Base64 is always a header value.
    let value = HeaderValue::try_from(wire::encode_json(settled.response)).unwrap_or(HeaderValue::from_static(""));
    (name, value)
}

fn base_headers() -> Vec<(HeaderName, HeaderValue)> {
    let mut headers = Vec::with_capacity(8);
    headers.push((header::CONTENT_TYPE, HeaderValue::from_static("application/json")));
    headers.push((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
    headers.push((header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED)));
    headers
}
