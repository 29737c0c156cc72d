//! What an HTTP answer means for the money. Pure: status and body in, a decision out.
//!
//! The body's shape is believed before the status, for facilitators disagree about the latter: x402-rs answers 400 and
//! 500 where the official one answers 200 for the same decision. Only a body without a decision is judged by its status.

use std::fmt::Write;
use std::sync::Arc;

use alloy::primitives::Address;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::certainty::{settle_refusal, verify_refusal};
use super::{Fault, FaultKind, Order, Settlement, Supported, SupportedKind, Verification};
use crate::x402::Network;
use crate::x402::payment::Payload;

/// Bytes of a facilitator's text that a log line keeps.
const DETAIL_BYTES_MAX: usize = 512;
/// Bytes of a transaction's hash or a payer's address; both go into headers. Solana's signatures have 88.
const NAME_BYTES_MAX: usize = 128;
/// More hex digits in a row than a hash has are a signature or calldata.
const HASH_HEX_DIGITS: usize = 64;

/// An answer that was read to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// A call that brought no decision; becomes a [`Fault`] when it is known whose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub kind: FaultKind,
    pub detail: String,
}

impl Failure {
    pub(crate) fn of(self, facilitator: &Arc<str>) -> Fault {
        Fault { facilitator: facilitator.clone(), kind: self.kind, detail: self.detail }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VerifyAnswer {
    is_valid: bool,
    invalid_reason: Option<String>,
    /// The official facilitator's text.
    invalid_message: Option<String>,
    /// x402-rs's text.
    invalid_reason_details: Option<String>,
    payer: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SettleAnswer {
    success: bool,
    error_reason: Option<String>,
    error_message: Option<String>,
    transaction: Option<String>,
    network: Option<String>,
    payer: Option<String>,
}

/// Reads the answer to a `/verify`.
pub(crate) fn verification(order: &Order, answer: &Answer) -> Result<Verification, Failure> {
    let Some(decision) = decision(&answer.body, "isValid") else {
        return Err(undecided(order, answer));
    };
    let garbage = |what: &str| Failure {
        kind: FaultKind::Garbage,
        detail: format!("HTTP {} {what}: {}", answer.status, excerpt(order, &answer.body)),
    };
    let decision: VerifyAnswer = serde_json::from_value(decision).map_err(|_| garbage("with a malformed decision"))?;
    let payer = decision.payer.filter(|payer| !payer.is_empty());
    if payer.as_deref().is_some_and(|payer| is_another_payer(order, payer)) {
        return Err(garbage("naming another payer"));
    }
    if decision.is_valid {
        if !is_success(answer.status) {
            return Err(garbage("saying that the payment is valid"));
        }
        return Ok(Verification::Valid { payer: payer_of(order, payer) });
    }
    let code = decision.invalid_reason.unwrap_or_default();
    let text = decision.invalid_message.or(decision.invalid_reason_details).unwrap_or_default();
    let detail = for_log(order, &format!("HTTP {} {code}: {text}", answer.status));
    match verify_refusal(&code, &text) {
        Some(reason) => Ok(Verification::Invalid { reason, detail }),
        None => Err(Failure { kind: kind_of(answer.status), detail }),
    }
}

/// Reads the answer to a `/settle`, or what went wrong instead of one. In doubt the outcome is unknown.
pub(crate) fn settlement(order: &Order, facilitator: &Arc<str>, answer: Result<Answer, Failure>) -> Settlement {
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => return unsettled(facilitator, failure),
    };
    let Some(decision) = decision(&answer.body, "success") else {
        return unsettled(facilitator, undecided(order, &answer));
    };
    let unknown = |transaction: Option<String>, what: &str| Settlement::Unknown {
        facilitator: facilitator.clone(),
        transaction,
        detail: format!("HTTP {} {what}: {}", answer.status, excerpt(order, &answer.body)),
    };
    let Ok(decision) = serde_json::from_value::<SettleAnswer>(decision) else {
        return unknown(None, "with a malformed decision");
    };
    let transaction = match decision.transaction.filter(|transaction| !transaction.is_empty()) {
        None => None,
        Some(transaction) if is_presentable(&transaction) => Some(transaction),
        Some(_) => return unknown(None, "naming a transaction that cannot be one"),
    };
    let payer = decision.payer.filter(|payer| !payer.is_empty());
    if !decision.success {
        let code = decision.error_reason.unwrap_or_default();
        let text = decision.error_message.unwrap_or_default();
        return match (transaction, settle_refusal(&code, &text)) {
            (None, Some(reason)) => {
                let detail = for_log(order, &format!("HTTP {} {code}: {text}", answer.status));
                Settlement::Refused { reason, detail }
            }
            (None, None) => unknown(None, "reporting a failure that is not certain"),
            (transaction @ Some(_), _) => unknown(transaction, "reporting a failure with a transaction"),
        };
    }
    let network = decision.network.filter(|network| !network.is_empty());
    match transaction {
        None => unknown(None, "reporting success without a transaction"),
        transaction if !is_success(answer.status) => unknown(transaction, "reporting success"),
        transaction if network.is_some_and(|network| is_another_network(order, &network)) => {
            unknown(transaction, "naming another network")
        }
        transaction if payer.as_deref().is_some_and(|payer| is_another_payer(order, payer)) => {
            unknown(transaction, "naming another payer")
        }
        Some(transaction) => {
            Settlement::Settled { facilitator: facilitator.clone(), transaction, payer: payer_of(order, payer) }
        }
    }
}

/// What a failed `/settle` leaves behind: nothing, if nobody can have begun to process it.
fn unsettled(facilitator: &Arc<str>, failure: Failure) -> Settlement {
    match failure.kind {
        FaultKind::Unreached | FaultKind::Busy | FaultKind::Unauthorized | FaultKind::RateLimited => {
            Settlement::NotSent { fault: failure.of(facilitator) }
        }
        FaultKind::Timeout | FaultKind::Cut | FaultKind::Status(_) | FaultKind::Garbage => Settlement::Unknown {
            facilitator: facilitator.clone(),
            transaction: None,
            detail: format!("{}: {}", failure.kind.label(), failure.detail),
        },
    }
}

/// Reads the answer to a `/supported`. A kind that is not understood is left out; others may stand beside it.
pub(crate) fn supported(answer: &Answer) -> Result<Supported, Failure> {
    let refuse = || Failure {
        kind: kind_of(answer.status),
        detail: format!("HTTP {}: {}", answer.status, excerpt_of(&answer.body, &[])),
    };
    if !is_success(answer.status) {
        return Err(refuse());
    }
    let body: Value = serde_json::from_slice(&answer.body).map_err(|_| refuse())?;
    let kinds = body.get("kinds").and_then(Value::as_array).ok_or_else(refuse)?;
    Ok(Supported { kinds: kinds.iter().filter_map(supported_kind).collect() })
}

fn supported_kind(kind: &Value) -> Option<SupportedKind> {
    Some(SupportedKind {
        x402_version: kind.get("x402Version")?.as_u64().and_then(|version| u8::try_from(version).ok())?,
        scheme: kind.get("scheme")?.as_str()?.to_owned(),
        network: kind.get("network")?.as_str()?.to_owned(),
        extra: kind.get("extra").and_then(Value::as_object).cloned().unwrap_or_else(Map::new),
    })
}

/// The body as a JSON object, if it has the key that makes it a decision.
fn decision(body: &[u8], key: &str) -> Option<Value> {
    let value: Value = serde_json::from_slice(body).ok()?;
    value.get(key).is_some().then_some(value)
}

fn undecided(order: &Order, answer: &Answer) -> Failure {
    Failure {
        kind: kind_of(answer.status),
        detail: format!("HTTP {} without a decision: {}", answer.status, excerpt(order, &answer.body)),
    }
}

fn is_success(status: u16) -> bool {
    (200..=299).contains(&status)
}

/// What a status means when the body decides nothing.
fn kind_of(status: u16) -> FaultKind {
    match status {
        200..=299 => FaultKind::Garbage,
        401 | 403 => FaultKind::Unauthorized,
        429 => FaultKind::RateLimited,
        status => FaultKind::Status(status),
    }
}

/// The payment's own word where it has one, else the facilitator's.
fn payer_of(order: &Order, told: Option<String>) -> Option<String> {
    order.payment.payer().map(|payer| payer.to_string()).or(told)
}

/// Whether somebody else is named than who signed; where the payload does not say who that is, any name will do
/// that can be written into a header.
fn is_another_payer(order: &Order, named: &str) -> bool {
    match order.payment.payer() {
        Some(payer) => named.parse::<Address>() != Ok(payer),
        None => !is_presentable(named),
    }
}

/// Either spelling is right: v1's name or CAIP-2.
fn is_another_network(order: &Order, named: &str) -> bool {
    Network::parse(named).as_ref() != Ok(&order.offer.network)
}

fn is_presentable(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX && name.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A facilitator's text for the log: one line, bounded, and without the payment's signature, which revert messages
/// like to quote.
pub(crate) fn for_log(order: &Order, text: &str) -> String {
    match &order.payment.payload {
        Payload::Eip3009 { signature, .. } => without_secrets(text, signature),
        Payload::Opaque(_) => without_secrets(text, &[]),
    }
}

fn excerpt(order: &Order, body: &[u8]) -> String {
    match &order.payment.payload {
        Payload::Eip3009 { signature, .. } => excerpt_of(body, signature),
        Payload::Opaque(_) => excerpt_of(body, &[]),
    }
}

/// Enough of a body for a log line; the rest is not even looked at.
fn excerpt_of(body: &[u8], signature: &[u8]) -> String {
    let head = body.get(..4 * DETAIL_BYTES_MAX).unwrap_or(body);
    without_secrets(&String::from_utf8_lossy(head), signature)
}

fn without_secrets(text: &str, signature: &[u8]) -> String {
    let halves: Vec<String> = signature.chunks_exact(32).map(alloy::hex::encode).collect();
    let mut clean = String::with_capacity(text.len().min(DETAIL_BYTES_MAX));
    let mut rest = text;
    while !rest.is_empty() && clean.len() < DETAIL_BYTES_MAX {
        let digits = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
        let (run, after) = rest.split_at(digits);
        // Writing to a `String` cannot fail.
        if digits > HASH_HEX_DIGITS {
            let _ = write!(clean, "[{digits} hex digits]");
        } else if digits == HASH_HEX_DIGITS && halves.iter().any(|half| half.eq_ignore_ascii_case(run)) {
            clean.push_str("[signature]");
        } else {
            clean.push_str(run);
        }
        rest = after;
        let Some(next) = rest.chars().next() else { break };
        if next.is_control() {
            clean.extend(next.escape_default())
        } else {
            clean.push(next)
        }
        rest = rest.get(next.len_utf8()..).unwrap_or_default();
    }
    while clean.len() > DETAIL_BYTES_MAX {
        clean.pop();
    }
    clean
}

#[cfg(test)]
mod tests;
