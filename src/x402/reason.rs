//! Why a payment is refused: x402's error codes, in the spelling of the official SDK.

use std::fmt;

use super::Network;

/// A refusal's machine-readable code. What a facilitator says in another vocabulary is mapped to these;
/// its own text never reaches a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The `x402Version` is neither 1 nor 2, or not that of the header it came in.
    InvalidX402Version,
    /// The payload lacks a field or has one of the wrong shape.
    InvalidPayload,
    /// The scheme is not one that this route offers.
    UnsupportedScheme,
    /// The network is not one that this route offers.
    InvalidNetwork,
    /// What the client accepted is not (or no longer) on offer.
    NoMatchingRequirements,
    /// The signature is not the payer's.
    InvalidSignature,
    /// The authorization pays somebody else.
    RecipientMismatch,
    /// The authorization's value is not the price.
    ValueMismatch,
    /// Not yet valid.
    ValidAfter,
    /// No longer valid, or too nearly so to be settled.
    ValidBefore,
    /// The nonce was used: this payment has been spent.
    NonceAlreadyUsed,
    /// The payer has too little of the asset.
    InsufficientFunds,
    /// The transfer was reverted.
    TransactionFailed,
    /// Sent, but not final: the same payment is to be sent again.
    SettlementPending,
    /// The facilitator refused to verify for a reason that has no code of its own here.
    UnexpectedVerifyError,
    /// The facilitator refused to settle for a reason that has no code of its own here.
    UnexpectedSettleError,
}

impl Reason {
    /// Every reason, for tables and metrics.
    pub const ALL: [Reason; 16] = [
        Reason::InvalidX402Version,
        Reason::InvalidPayload,
        Reason::UnsupportedScheme,
        Reason::InvalidNetwork,
        Reason::NoMatchingRequirements,
        Reason::InvalidSignature,
        Reason::RecipientMismatch,
        Reason::ValueMismatch,
        Reason::ValidAfter,
        Reason::ValidBefore,
        Reason::NonceAlreadyUsed,
        Reason::InsufficientFunds,
        Reason::TransactionFailed,
        Reason::SettlementPending,
        Reason::UnexpectedVerifyError,
        Reason::UnexpectedSettleError,
    ];

    /// The code on the wire and in metrics.
    pub fn code(self) -> &'static str {
        match self {
            Reason::InvalidX402Version => "invalid_x402_version",
            Reason::InvalidPayload => "invalid_payload",
            Reason::UnsupportedScheme => "unsupported_scheme",
            Reason::InvalidNetwork => "invalid_network",
            Reason::NoMatchingRequirements => "invalid_payment_requirements",
            Reason::InvalidSignature => "invalid_exact_evm_signature",
            Reason::RecipientMismatch => "invalid_exact_evm_recipient_mismatch",
            Reason::ValueMismatch => "invalid_exact_evm_payload_authorization_value_mismatch",
            Reason::ValidAfter => "invalid_exact_evm_payload_authorization_valid_after",
            Reason::ValidBefore => "invalid_exact_evm_payload_authorization_valid_before",
            Reason::NonceAlreadyUsed => "invalid_exact_evm_nonce_already_used",
            Reason::InsufficientFunds => "insufficient_funds",
            Reason::TransactionFailed => "invalid_exact_evm_transaction_failed",
            Reason::SettlementPending => "settlement_pending",
            Reason::UnexpectedVerifyError => "unexpected_verify_error",
            Reason::UnexpectedSettleError => "unexpected_settle_error",
        }
    }

    /// The code that a client is told about a payment on this network: Solana has words of its own for what the
    /// official SDK otherwise says of `exact` on EVM.
    pub fn code_on(self, network: &Network) -> &'static str {
        if !network.is_solana() {
            return self.code();
        }
        match self {
            Reason::InvalidSignature => "invalid_exact_svm_payload_signature_invalid",
            Reason::RecipientMismatch => "invalid_exact_svm_payload_recipient_mismatch",
            Reason::ValueMismatch => "invalid_exact_svm_payload_amount_mismatch",
            Reason::NonceAlreadyUsed => "duplicate_settlement",
            Reason::TransactionFailed => "invalid_exact_svm_transaction_failed",
            Reason::InvalidX402Version
            | Reason::InvalidPayload
            | Reason::UnsupportedScheme
            | Reason::InvalidNetwork
            | Reason::NoMatchingRequirements
            | Reason::ValidAfter
            | Reason::ValidBefore
            | Reason::InsufficientFunds
            | Reason::SettlementPending
            | Reason::UnexpectedVerifyError
            | Reason::UnexpectedSettleError => self.code(),
        }
    }

    /// Understands the vocabularies of the specifications (v1 and v2), the official SDK and x402-rs.
    ///
    /// `None` for what says nothing of its own, such as x402-rs's `unexpected_error`: it means a bad signature as well
    /// as an outage, so what it is worth depends on what was asked.
    pub fn from_code(code: &str) -> Option<Reason> {
        if let Some(reason) = Reason::ALL.into_iter().find(|reason| reason.code() == code) {
            return Some(reason);
        }
        let reason = match code {
            "invalid_format" => Reason::InvalidPayload,
            "invalid_scheme" | "invalid_exact_evm_scheme" => Reason::UnsupportedScheme,
            "unsupported_network" | "network_mismatch" | "invalid_exact_evm_network_mismatch" => Reason::InvalidNetwork,
            "invalid_signature"
            | "invalid_exact_evm_payload_signature"
            | "invalid_exact_evm_failed_to_parse_signature" => Reason::InvalidSignature,
            "recipient_mismatch" | "invalid_exact_evm_payload_recipient_mismatch" => Reason::RecipientMismatch,
            "invalid_payment_amount"
            | "invalid_exact_evm_authorization_value"
            | "invalid_exact_evm_payload_authorization_value"
            | "invalid_exact_evm_payload_value_mismatch" => Reason::ValueMismatch,
            "invalid_payment_early" | "invalid_exact_evm_payload_valid_after" => Reason::ValidAfter,
            "invalid_payment_expired" | "payment_expired" | "invalid_exact_evm_payload_valid_before" => {
                Reason::ValidBefore
            }
            "nonce_already_used" => Reason::NonceAlreadyUsed,
            "insufficient_balance" | "invalid_exact_evm_insufficient_balance" => Reason::InsufficientFunds,
            "invalid_transaction_state" => Reason::TransactionFailed,
            // Another call is settling the same payment: how that ends is open.
            "duplicate_settlement" => Reason::SettlementPending,
            _ => return None,
        };
        Some(reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_reason_has_a_code_of_its_own_that_names_it_back() {
        let codes: HashSet<_> = Reason::ALL.into_iter().map(Reason::code).collect();
        assert_eq!(codes.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert_eq!(Reason::from_code(reason.code()), Some(reason));
            assert_eq!(reason.to_string(), reason.code());
        }
    }

    #[test]
    fn a_solana_payment_is_not_spoken_of_in_ethereums_words() {
        let [solana, base] = ["solana", "base"].map(|name| Network::parse(name).unwrap());
        let told: HashSet<_> = Reason::ALL.into_iter().map(|reason| reason.code_on(&solana)).collect();
        assert_eq!(told.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert_eq!(reason.code_on(&base), reason.code());
            // A Solana transaction says nothing of time that could be judged before it is tried.
            let of_time = matches!(reason, Reason::ValidAfter | Reason::ValidBefore);
            assert_eq!(reason.code_on(&solana).contains("_evm_"), of_time, "{reason}");
        }
    }

    #[test]
    fn facilitators_codes_are_understood() {
        // All codes that the official facilitator (2.27) and x402-rs (2.0) were seen to answer.
        let cases = [
            ("insufficient_funds", Reason::InsufficientFunds),
            ("invalid_exact_evm_authorization_value", Reason::ValueMismatch),
            ("invalid_exact_evm_insufficient_balance", Reason::InsufficientFunds),
            ("invalid_exact_evm_network_mismatch", Reason::InvalidNetwork),
            ("invalid_exact_evm_nonce_already_used", Reason::NonceAlreadyUsed),
            ("invalid_exact_evm_payload_authorization_valid_after", Reason::ValidAfter),
            ("invalid_exact_evm_payload_authorization_valid_before", Reason::ValidBefore),
            ("invalid_exact_evm_payload_authorization_value_mismatch", Reason::ValueMismatch),
            ("invalid_exact_evm_recipient_mismatch", Reason::RecipientMismatch),
            ("invalid_exact_evm_signature", Reason::InvalidSignature),
            ("invalid_exact_evm_transaction_failed", Reason::TransactionFailed),
            ("invalid_format", Reason::InvalidPayload),
            ("invalid_payment_amount", Reason::ValueMismatch),
            ("invalid_payment_early", Reason::ValidAfter),
            ("invalid_payment_expired", Reason::ValidBefore),
            ("recipient_mismatch", Reason::RecipientMismatch),
            ("unsupported_scheme", Reason::UnsupportedScheme),
            // Those of the specification that they were not.
            ("invalid_exact_evm_payload_recipient_mismatch", Reason::RecipientMismatch),
            ("invalid_exact_evm_payload_signature", Reason::InvalidSignature),
            ("invalid_network", Reason::InvalidNetwork),
            ("invalid_payload", Reason::InvalidPayload),
            ("invalid_payment_requirements", Reason::NoMatchingRequirements),
            ("invalid_scheme", Reason::UnsupportedScheme),
            ("invalid_transaction_state", Reason::TransactionFailed),
            ("invalid_x402_version", Reason::InvalidX402Version),
            ("settlement_pending", Reason::SettlementPending),
            ("unexpected_settle_error", Reason::UnexpectedSettleError),
            ("unexpected_verify_error", Reason::UnexpectedVerifyError),
        ];
        for (code, reason) in cases {
            assert_eq!(Reason::from_code(code), Some(reason), "{code}");
        }
    }

    #[test]
    fn what_says_nothing_is_no_reason() {
        for code in ["unexpected_error", "The contract function \"transferWithAuthorization\" reverted", ""] {
            assert_eq!(Reason::from_code(code), None);
        }
    }
}
