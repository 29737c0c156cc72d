//! What an answer proves. Pure: an answer in, a verdict out.
//!
//! **The chain** is believed where a network has a node. An authorization that was used for us has settled, whoever
//! sent it; one that was used for somebody else, was cancelled, or is past its time unused has failed for good.
//!
//! **Without a node** the facilitator's answer to the same settlement, sent again, decides:
//!
//! | it says | that proves |
//! |---|---|
//! | settled | settled |
//! | the nonce is used | settled, unless an earlier answer named a transaction |
//! | other terms than ours (recipient, value) | failed: that was so from the beginning |
//! | anything else | nothing |
//!
//! A used nonce proves so much because the payload was signed over *our* address and amount, and was on its way to
//! the facilitator when the answer was lost or the gateway was killed. What else uses a nonce is its payer, by
//! cancelling it or by spending it on somebody else; that this comes together with a lost answer is not the payer's to
//! bring about. That is the risk of having no node, one access each time. Where an earlier answer named a transaction,
//! nothing was lost: that transaction failed or waits, and a payer that raced it with a cancellation would look the
//! same. Such a payment waits for a node or for the operator.
//!
//! That the time of a payment is over, or has not come, proves nothing without a node: the one says nothing of the time
//! before, the other is also said where the facilitator's own node lags behind.

use std::sync::Arc;
use std::time::Duration;

use crate::evm::chain::{ChainError, Finding};
use crate::facilitator::{Settlement, certainty};
use crate::x402::Reason;

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The network's node.
    Chain,
    /// The facilitator.
    Facilitator,
}

impl Source {
    /// For people.
    pub fn name(self) -> &'static str {
        match self {
            Source::Chain => "chain",
            Source::Facilitator => "facilitator",
        }
    }
}

/// What is known now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The money moved.
    Settled {
        /// The transaction, where one is known.
        transaction: Option<Arc<str>>,
        /// Who paid, where only the facilitator could tell.
        payer: Option<Arc<str>>,
    },
    /// It did not, and never will.
    Failed {
        /// For the operator.
        why: String,
    },
    /// Still nobody knows.
    Unknown {
        /// For the operator.
        why: String,
        /// A transaction that was named.
        transaction: Option<Arc<str>>,
    },
}

/// A verdict, and whose word it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolution {
    /// Who said it.
    pub by: Source,
    /// What.
    pub verdict: Verdict,
}

impl Resolution {
    pub(super) fn out_of_time(limit: Duration) -> Resolution {
        unknown(Source::Facilitator, format!("no answer within {limit:?}"))
    }
}

pub(super) fn unknown(by: Source, why: String) -> Resolution {
    Resolution { by, verdict: Verdict::Unknown { why, transaction: None } }
}

/// What the chain's answer proves; `None` where it leaves room for the facilitator: not used, and still good.
pub(super) fn by_chain(answer: Result<Finding, ChainError>) -> Option<Resolution> {
    let failed = |why: String| Verdict::Failed { why };
    let verdict = match answer {
        Ok(Finding::Unused) => return None,
        Ok(Finding::Paid { transaction }) => {
            Verdict::Settled { transaction: Some(transaction.to_string().into()), payer: None }
        }
        Ok(Finding::Diverted { transaction }) => {
            failed(format!("its nonce was used for another transfer, in {transaction}"))
        }
        Ok(Finding::Canceled { transaction }) => failed(format!("its payer cancelled it, in {transaction}")),
        Ok(Finding::Expired) => failed("its time is over and it was not used".to_owned()),
        Ok(Finding::Unconfirmed { transaction }) => Verdict::Unknown {
            why: "on the chain, with too few blocks to confirm it".to_owned(),
            transaction: Some(transaction.to_string().into()),
        },
        Err(error) => Verdict::Unknown { why: format!("the chain cannot tell: {error}"), transaction: None },
    };
    Some(Resolution { by: Source::Chain, verdict })
}

/// What a facilitator's answer to the same settlement proves. `used_is_settled`: whether a used nonce does.
pub(super) fn by_facilitator(answer: Settlement, used_is_settled: bool) -> Resolution {
    let verdict = match answer {
        Settlement::Settled { transaction, payer, .. } => {
            Verdict::Settled { transaction: Some(transaction.into()), payer: payer.map(Arc::from) }
        }
        Settlement::Refused { reason: Reason::NonceAlreadyUsed, .. } if used_is_settled => {
            Verdict::Settled { transaction: None, payer: None }
        }
        Settlement::Refused { reason, detail } if certainty::rules_out_earlier_attempts(reason) => {
            Verdict::Failed { why: format!("refused: {reason}: {detail}") }
        }
        Settlement::Refused { reason, detail } => Verdict::Unknown {
            why: format!("refused when asked again, which may be for its own success: {reason}: {detail}"),
            transaction: None,
        },
        Settlement::NotSent { fault } => Verdict::Unknown { why: fault.to_string(), transaction: None },
        Settlement::Unknown { transaction, detail, .. } => {
            Verdict::Unknown { why: detail, transaction: transaction.map(Arc::from) }
        }
    };
    Resolution { by: Source::Facilitator, verdict }
}
