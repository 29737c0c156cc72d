//! Which refusals of a `/settle` are certain, and what they are certain of.
//!
//! A refusal is certain when the facilitator gives its code only before it broadcasts anything. Sources: the error
//! codes of the x402 v2 specification, and what the two facilitators in use do. @x402/evm 2.27 verifies first in
//! `settle` and passes that reason on, then calls a failed transfer by what its simulation reverted with, or
//! `invalid_exact_evm_transaction_failed`. x402-rs 2.0 answers what it refused with 400 and a code, and anything later
//! with `unexpected_error`. A code that is not certain leaves the payment unknown: asking again costs less than
//! charging twice.

use crate::x402::Reason;

/// Codes that have no [`Reason`] of their own and are given only before anything is broadcast.
const MORE_CODES: &[(&str, Option<Reason>)] = &[
    ("invalid_exact_evm_scheme", Some(Reason::UnsupportedScheme)),
    ("invalid_exact_evm_authorization_value", Some(Reason::ValueMismatch)),
    ("invalid_exact_evm_failed_to_parse_signature", Some(Reason::InvalidSignature)),
    ("invalid_exact_evm_missing_eip712_domain", Some(Reason::NoMatchingRequirements)),
    ("invalid_exact_evm_token_name_mismatch", Some(Reason::NoMatchingRequirements)),
    ("invalid_exact_evm_token_version_mismatch", Some(Reason::NoMatchingRequirements)),
    ("unsupported_payload_type", Some(Reason::InvalidPayload)),
    ("permit2_insufficient_balance", Some(Reason::InsufficientFunds)),
    ("invalid_permit2_signature", Some(Reason::InvalidSignature)),
    ("invalid_permit2_recipient_mismatch", Some(Reason::RecipientMismatch)),
    ("permit2_amount_mismatch", Some(Reason::ValueMismatch)),
    ("permit2_deadline_expired", Some(Reason::ValidBefore)),
    ("permit2_not_yet_valid", Some(Reason::ValidAfter)),
    // Refused for what the token or the account is like; a client is told no more than that.
    ("invalid_exact_evm_eip3009_not_supported", None),
    ("invalid_exact_evm_transaction_simulation_failed", None),
    ("asset_not_deployed_contract", None),
    ("eip6492_factory_not_allowed", None),
    ("permit2_allowance_required", None),
    ("permit2_simulation_failed", None),
];

/// The refusal that a `/verify` means by a code. A verification moves nothing, so that any code is a decision.
pub(super) fn verify_refusal(code: &str) -> Reason {
    match known(code) {
        // Words about a settlement: from a verification they would tell a client to send the same payment again.
        Some(Some(Reason::SettlementPending | Reason::UnexpectedSettleError)) | Some(None) | None => {
            Reason::UnexpectedVerifyError
        }
        Some(Some(reason)) => reason,
    }
}

/// The refusal that a `/settle` means by a code, if it is certain that the call moved nothing; `None` is unknown.
pub(super) fn settle_refusal(code: &str) -> Option<Reason> {
    match known(code)? {
        None => Some(Reason::UnexpectedSettleError),
        Some(reason) => comes_before_the_broadcast(reason).then_some(reason),
    }
}

/// `None`: never heard of. `Some(None)`: known, without a reason of its own.
fn known(code: &str) -> Option<Option<Reason>> {
    match Reason::from_code(code) {
        Some(reason) => Some(Some(reason)),
        None => MORE_CODES.iter().find(|(known, _)| *known == code).map(|(_, reason)| *reason),
    }
}

fn comes_before_the_broadcast(reason: Reason) -> bool {
    match reason {
        Reason::InvalidX402Version
        | Reason::InvalidPayload
        | Reason::UnsupportedScheme
        | Reason::InvalidNetwork
        | Reason::NoMatchingRequirements
        | Reason::InvalidSignature
        | Reason::RecipientMismatch
        | Reason::ValueMismatch
        | Reason::ValidAfter
        | Reason::ValidBefore
        | Reason::NonceAlreadyUsed
        | Reason::InsufficientFunds => true,
        // Something was broadcast, or an exception was caught anywhere on the way.
        Reason::TransactionFailed
        | Reason::SettlementPending
        | Reason::UnexpectedVerifyError
        | Reason::UnexpectedSettleError => false,
    }
}

/// Whether a refusal also proves that no earlier `/settle` of the same payment moved the money.
///
/// Only what the payment says of itself against the same terms is as true then as now. What the chain is like may be
/// the very trace of an earlier success: the nonce is used *because* it paid us, the balance is gone *because* it paid
/// us, and a validity that has run out says nothing of the time before. A smart account's keys change, and what a
/// facilitator supports or understands is a matter of its version. A payment with an unanswered settlement behind it
/// and one of those refusals stays unknown until the chain is asked.
pub fn rules_out_earlier_attempts(reason: Reason) -> bool {
    match reason {
        Reason::RecipientMismatch | Reason::ValueMismatch | Reason::ValidAfter => true,
        Reason::InvalidX402Version
        | Reason::InvalidPayload
        | Reason::UnsupportedScheme
        | Reason::InvalidNetwork
        | Reason::NoMatchingRequirements
        | Reason::InvalidSignature
        | Reason::ValidBefore
        | Reason::NonceAlreadyUsed
        | Reason::InsufficientFunds
        | Reason::TransactionFailed
        | Reason::SettlementPending
        | Reason::UnexpectedVerifyError
        | Reason::UnexpectedSettleError => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_code_says_what_a_verification_and_a_settlement_mean_by_it() {
        let cases: &[(&str, Reason, Option<Reason>)] = &[
            ("invalid_exact_evm_signature", Reason::InvalidSignature, Some(Reason::InvalidSignature)),
            ("recipient_mismatch", Reason::RecipientMismatch, Some(Reason::RecipientMismatch)),
            ("invalid_payment_expired", Reason::ValidBefore, Some(Reason::ValidBefore)),
            ("insufficient_funds", Reason::InsufficientFunds, Some(Reason::InsufficientFunds)),
            ("invalid_exact_evm_authorization_value", Reason::ValueMismatch, Some(Reason::ValueMismatch)),
            ("nonce_already_used", Reason::NonceAlreadyUsed, Some(Reason::NonceAlreadyUsed)),
            (
                "invalid_exact_evm_transaction_simulation_failed",
                Reason::UnexpectedVerifyError,
                Some(Reason::UnexpectedSettleError),
            ),
            ("invalid_exact_evm_transaction_failed", Reason::TransactionFailed, None),
            ("invalid_transaction_state", Reason::TransactionFailed, None),
            ("settlement_pending", Reason::UnexpectedVerifyError, None),
            ("unexpected_settle_error", Reason::UnexpectedVerifyError, None),
            ("unexpected_verify_error", Reason::UnexpectedVerifyError, None),
            ("unexpected_error", Reason::UnexpectedVerifyError, None),
            ("smart_wallet_deployment_failed", Reason::UnexpectedVerifyError, None),
            ("erc20_approval_broadcast_failed", Reason::UnexpectedVerifyError, None),
            ("", Reason::UnexpectedVerifyError, None),
        ];
        for (code, at_verify, at_settle) in cases {
            assert_eq!(verify_refusal(code), *at_verify, "{code:?} at verify");
            assert_eq!(settle_refusal(code), *at_settle, "{code:?} at settle");
        }
    }

    #[test]
    fn what_could_never_settle_is_also_refused_before_the_broadcast() {
        for reason in Reason::ALL {
            if rules_out_earlier_attempts(reason) {
                assert!(comes_before_the_broadcast(reason), "{reason}");
            }
        }
        for reason in [Reason::NonceAlreadyUsed, Reason::InsufficientFunds, Reason::ValidBefore] {
            assert!(!rules_out_earlier_attempts(reason), "{reason} may be the trace of our own success");
        }
    }

    proptest! {
        #[test]
        fn a_text_that_is_no_code_is_never_certain(text in "[ -~]{0,60}( reverted| failed|0x)[ -~]{0,60}") {
            prop_assert_eq!(settle_refusal(&text), None);
        }
    }
}
