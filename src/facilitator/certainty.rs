//! Which refusals of a `/settle` are certain, and what they are certain of.
//!
//! A refusal is certain when the facilitator gives its code only before it broadcasts anything. Sources: the error
//! codes of the x402 v2 specification, and what the two facilitators in use do. @x402/evm 2.27 verifies first in
//! `settle` and passes that reason on, then calls a failed transfer by what its simulation reverted with (in v1 by
//! viem's whole text), or `invalid_exact_evm_transaction_failed`. @x402/svm 2.27 verifies first as well; what it could
//! not send or see confirmed it calls `invalid_exact_svm_transaction_failed` (in v1 `transaction_failed`). x402-rs 2.0
//! answers what it refused with 400 and a code, and anything that went wrong on the chain, its simulation too, with
//! `unexpected_error` and a text. A simulation that was reverted is certain, though only the text tells it; see
//! [`reverted`]. What is not certain leaves the payment unknown: asking again costs less than charging twice.

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
    // x402-rs's, for any chain.
    ("accepted_requirements_mismatch", Some(Reason::NoMatchingRequirements)),
    ("asset_mismatch", Some(Reason::NoMatchingRequirements)),
    ("chain_id_mismatch", Some(Reason::InvalidNetwork)),
    ("unsupported_chain", Some(Reason::InvalidNetwork)),
    ("transaction_simulation", None),
];

/// The same of @x402/svm, which has no words in common with Ethereum's: what its verification says, and nothing else.
const SOLANA_CODES: &[(&str, Option<Reason>)] = &[
    ("invalid_exact_svm_unsupported_scheme", Some(Reason::UnsupportedScheme)),
    ("invalid_exact_svm_network_mismatch", Some(Reason::InvalidNetwork)),
    ("invalid_exact_svm_payload_missing_fee_payer", Some(Reason::NoMatchingRequirements)),
    ("invalid_exact_svm_fee_payer_not_managed_by_facilitator", Some(Reason::NoMatchingRequirements)),
    ("fee_payer_not_managed_by_facilitator", Some(Reason::NoMatchingRequirements)),
    ("invalid_exact_svm_payload_signature_invalid", Some(Reason::InvalidSignature)),
    ("invalid_exact_svm_payload_recipient_mismatch", Some(Reason::RecipientMismatch)),
    ("invalid_exact_svm_payload_amount_mismatch", Some(Reason::ValueMismatch)),
    // Too little money, too old a blockhash, spent already: its code does not say which.
    ("invalid_exact_svm_transaction_simulation_failed", None),
    ("transaction_simulation_failed", None),
    ("invalid_exact_svm_verification_failed", None),
    ("verification_failed", None),
];
/// What begins with one of these is about how a Solana transaction is built. Some have a sentence behind them.
const SOLANA_SHAPES: &[&str] =
    &["invalid_exact_svm_payload_", "invalid_exact_svm_fee_payer_mismatch", "invalid_exact_svm_smart_wallet_"];

/// x402-rs's code for all that went wrong between it and the chain.
const CHAIN_TROUBLE: &str = "unexpected_error";
/// How its text begins when a node has tried a call and it was reverted. A node says so of what it only tries: x402-rs
/// sends a transaction after that, and tries nothing more.
const REVERTED_BY_NODE: &str = "server returned an error response: error code 3: execution reverted";
/// How viem's text begins, which the official facilitator gives for a code in v1. Trouble in the node reads the same,
/// so that only a token's own words behind it are certain.
const REVERTED_BY_VIEM: &str =
    "The contract function \"transferWithAuthorization\" reverted with the following reason:\n";

/// What USDC and the tokens of its kind say when they refuse a transfer.
const TOKEN_WORDS: &[(&str, Option<Reason>)] = &[
    ("FiatTokenV2: authorization is used or canceled", Some(Reason::NonceAlreadyUsed)),
    ("FiatTokenV2: authorization is not yet valid", Some(Reason::ValidAfter)),
    ("FiatTokenV2: authorization is expired", Some(Reason::ValidBefore)),
    ("FiatTokenV2: invalid signature", Some(Reason::InvalidSignature)),
    ("ECRecover: invalid signature", Some(Reason::InvalidSignature)),
    ("ECRecover: invalid signature length", Some(Reason::InvalidSignature)),
    ("ECRecover: invalid signature 's' value", Some(Reason::InvalidSignature)),
    ("ECRecover: invalid signature 'v' value", Some(Reason::InvalidSignature)),
    ("ERC20: transfer amount exceeds balance", Some(Reason::InsufficientFunds)),
    ("Blacklistable: account is blacklisted", None),
    ("Pausable: paused", None),
];

/// The refusal that a `/verify` means by a code and its text; `None` if it could not judge. A verification moves
/// nothing, so that any code is a decision but the one for an outage.
pub(super) fn verify_refusal(code: &str, text: &str) -> Option<Reason> {
    match known(code).or_else(|| reverted(code, text)) {
        // Nodes word a revert in many ways; all are about the payment.
        None if code == CHAIN_TROUBLE && !text.contains("revert") => None,
        // Words about a settlement: from a verification they would tell a client to send the same payment again.
        Some(Some(Reason::SettlementPending | Reason::UnexpectedSettleError)) | Some(None) | None => {
            Some(Reason::UnexpectedVerifyError)
        }
        Some(Some(reason)) => Some(reason),
    }
}

/// The refusal that a `/settle` means by a code and its text, if it is certain that the call moved nothing; `None` is
/// unknown.
pub(super) fn settle_refusal(code: &str, text: &str) -> Option<Reason> {
    match known(code).or_else(|| reverted(code, text))? {
        None => Some(Reason::UnexpectedSettleError),
        Some(reason) => comes_before_the_broadcast(reason).then_some(reason),
    }
}

/// `None`: never heard of. `Some(None)`: known, without a reason of its own.
fn known(code: &str) -> Option<Option<Reason>> {
    if let Some(reason) = Reason::from_code(code) {
        return Some(Some(reason));
    }
    let listed = MORE_CODES.iter().chain(SOLANA_CODES).find(|(known, _)| *known == code).map(|(_, reason)| *reason);
    let is_shape = || SOLANA_SHAPES.iter().any(|shape| code.starts_with(shape));
    listed.or_else(|| is_shape().then_some(Some(Reason::InvalidPayload)))
}

/// What a transfer that was only tried was reverted with, as [`known`] says it; `None` if that is not what happened.
fn reverted(code: &str, text: &str) -> Option<Option<Reason>> {
    let words = |said: &str| TOKEN_WORDS.iter().find(|(words, _)| *words == said).map(|(_, reason)| *reason);
    if code == CHAIN_TROUBLE {
        let said = text.strip_prefix(REVERTED_BY_NODE)?;
        let said = said.split_once(", data: ").map_or(said, |(said, _)| said);
        return Some(said.strip_prefix(": ").and_then(words).flatten());
    }
    code.strip_prefix(REVERTED_BY_VIEM)?.lines().next().and_then(words)
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
/// us, and a validity that has run out says nothing of the time before. One that has not begun does not either: @x402/evm
/// says so, too, when the node that it tries a transfer on lags behind the one that made it. A smart account's keys
/// change, and what a facilitator supports or understands is a matter of its version. A payment with an unanswered
/// settlement behind it and one of those refusals stays unknown until the chain is asked.
pub fn rules_out_earlier_attempts(reason: Reason) -> bool {
    match reason {
        Reason::RecipientMismatch | Reason::ValueMismatch => true,
        Reason::InvalidX402Version
        | Reason::InvalidPayload
        | Reason::UnsupportedScheme
        | Reason::InvalidNetwork
        | Reason::NoMatchingRequirements
        | Reason::InvalidSignature
        | Reason::ValidAfter
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
            ("transaction_simulation", Reason::UnexpectedVerifyError, Some(Reason::UnexpectedSettleError)),
            ("chain_id_mismatch", Reason::InvalidNetwork, Some(Reason::InvalidNetwork)),
            ("smart_wallet_deployment_failed", Reason::UnexpectedVerifyError, None),
            ("erc20_approval_broadcast_failed", Reason::UnexpectedVerifyError, None),
            ("", Reason::UnexpectedVerifyError, None),
        ];
        for (code, at_verify, at_settle) in cases {
            assert_eq!(verify_refusal(code, ""), Some(*at_verify), "{code:?} at verify");
            assert_eq!(settle_refusal(code, ""), *at_settle, "{code:?} at settle");
        }
    }

    #[test]
    fn a_transfer_that_was_reverted_while_it_was_tried_is_refused_in_the_tokens_words() {
        let trouble = |text: &str| ("unexpected_error".to_owned(), text.to_owned());
        let node = |said: &str| trouble(&format!("{REVERTED_BY_NODE}{said}"));
        let viem = |said: &str| (format!("{REVERTED_BY_VIEM}{said}\n\nContract Call:\n  address: 0x1"), String::new());
        let unexpected = (Some(Reason::UnexpectedVerifyError), Some(Reason::UnexpectedSettleError));
        let not_certain = (Some(Reason::UnexpectedVerifyError), None);
        let mut cases = vec![
            (node(""), unexpected),
            (node(", data: \"0x\""), unexpected),
            (node(": Multicall3: call failed, data: \"0x08c379a0\""), unexpected),
            (node(": FiatTokenV2: invalid signature or so"), unexpected),
            (viem("internal error"), not_certain),
            (viem("FiatTokenV2: invalid signature or so"), not_certain),
            (viem(""), not_certain),
            // Reverted, but after it was sent, or nobody knows when.
            (trouble("Transaction 0x7727a99e reverted"), not_certain),
            (trouble("server returned an error response: error code -32000: execution reverted"), not_certain),
            (trouble(&format!("replied: {REVERTED_BY_NODE}: FiatTokenV2: invalid signature")), not_certain),
            // An outage.
            (trouble("error sending request for url (http://127.0.0.1:8545/)"), (None, None)),
            (trouble(""), (None, None)),
        ];
        for (words, reason) in TOKEN_WORDS {
            let both = (reason.or(Some(Reason::UnexpectedVerifyError)), reason.or(Some(Reason::UnexpectedSettleError)));
            cases.push((node(&format!(": {words}, data: \"0x08c379a0\"")), both));
            cases.push((node(&format!(": {words}")), both));
            cases.push((viem(words), both));
        }
        for ((code, text), (at_verify, at_settle)) in cases {
            assert_eq!(verify_refusal(&code, &text), at_verify, "{code:?} {text:?} at verify");
            assert_eq!(settle_refusal(&code, &text), at_settle, "{code:?} {text:?} at settle");
        }
    }

    #[test]
    fn solanas_verification_is_certain_and_its_broadcast_is_not() {
        let refused: &[(&str, Reason)] = &[
            ("invalid_exact_svm_unsupported_scheme", Reason::UnsupportedScheme),
            ("invalid_exact_svm_network_mismatch", Reason::InvalidNetwork),
            ("invalid_exact_svm_fee_payer_not_managed_by_facilitator", Reason::NoMatchingRequirements),
            ("fee_payer_not_managed_by_facilitator", Reason::NoMatchingRequirements),
            ("invalid_exact_svm_payload_missing_fee_payer", Reason::NoMatchingRequirements),
            ("invalid_exact_svm_payload_signature_invalid", Reason::InvalidSignature),
            ("invalid_exact_svm_payload_recipient_mismatch", Reason::RecipientMismatch),
            ("invalid_exact_svm_payload_amount_mismatch", Reason::ValueMismatch),
            ("invalid_exact_svm_payload_mint_mismatch", Reason::InvalidPayload),
            ("invalid_exact_svm_payload_transaction_could_not_be_decoded", Reason::InvalidPayload),
            ("invalid_exact_svm_payload_unknown_fourth_instruction", Reason::InvalidPayload),
            ("invalid_exact_svm_fee_payer_mismatch", Reason::InvalidPayload),
            ("invalid_exact_svm_smart_wallet_program_not_allowed: 1111", Reason::InvalidPayload),
        ];
        for (code, reason) in refused {
            let meant = (verify_refusal(code, ""), settle_refusal(code, ""));
            assert_eq!(meant, (Some(*reason), Some(*reason)), "{code:?}");
        }
        let of_the_ledger = [
            "invalid_exact_svm_transaction_simulation_failed",
            "transaction_simulation_failed",
            "invalid_exact_svm_verification_failed",
            "verification_failed",
        ];
        for code in of_the_ledger {
            let meant = (verify_refusal(code, ""), settle_refusal(code, ""));
            assert_eq!(meant, (Some(Reason::UnexpectedVerifyError), Some(Reason::UnexpectedSettleError)), "{code:?}");
        }
        let open = [
            "invalid_exact_svm_transaction_failed",
            "transaction_failed",
            "post_settlement_transfer_not_confirmed",
            "duplicate_settlement",
        ];
        for code in open {
            assert_eq!(settle_refusal(code, ""), None, "{code:?}");
        }
    }

    #[test]
    fn what_could_never_settle_is_also_refused_before_the_broadcast() {
        for reason in Reason::ALL {
            if rules_out_earlier_attempts(reason) {
                assert!(comes_before_the_broadcast(reason), "{reason}");
            }
        }
        for reason in [Reason::NonceAlreadyUsed, Reason::InsufficientFunds, Reason::ValidBefore, Reason::ValidAfter] {
            assert!(!rules_out_earlier_attempts(reason), "{reason} is also said where an earlier attempt settled");
        }
    }

    proptest! {
        #[test]
        fn a_text_that_is_no_code_is_never_certain(text in "[ -~]{0,60}( reverted| failed|0x)[ -~]{0,60}") {
            prop_assert_eq!(settle_refusal(&text, &text), None);
            prop_assert_eq!(settle_refusal(CHAIN_TROUBLE, &text), None);
        }
    }
}
