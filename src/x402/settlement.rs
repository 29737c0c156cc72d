//! What became of a payment, as a client is told it and as a facilitator tells it.

use serde::{Deserialize, Serialize};

use super::{Dialect, Network, Reason};
use crate::money::Amount;

/// The JSON in `PAYMENT-RESPONSE` (v2, section 5.3) and `X-PAYMENT-RESPONSE` (v1).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SettlementResponse {
    /// Whether the money moved, for certain.
    pub success: bool,
    /// A code of [`super::Reason`]; only when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_reason: Option<String>,
    /// The transaction's hash; empty when there is none.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub transaction: String,
    /// The network in the client's dialect: CAIP-2 for v2, the short name for v1.
    #[serde(default, deserialize_with = "super::null_is_default")]
    pub network: String,
    /// Who paid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payer: Option<String>,
    /// What was paid, in atomic units; v2 only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amount: Option<Amount>,
}

impl SettlementResponse {
    /// The money moved, by this transaction.
    pub fn settled(
        dialect: Dialect,
        network: &Network,
        transaction: &str,
        payer: Option<&str>,
        amount: Amount,
    ) -> SettlementResponse {
        SettlementResponse {
            success: true,
            error_reason: None,
            transaction: transaction.to_owned(),
            network: network.name_in(dialect).to_owned(),
            payer: payer.map(str::to_owned),
            amount: match dialect {
                Dialect::V1 => None,
                Dialect::V2 => Some(amount),
            },
        }
    }

    /// It did not, or nobody knows yet ([`Reason::SettlementPending`]); `transaction` where one was named nevertheless.
    pub fn failed(
        dialect: Dialect,
        network: &Network,
        reason: Reason,
        payer: Option<&str>,
        transaction: Option<&str>,
    ) -> SettlementResponse {
        SettlementResponse {
            success: false,
            error_reason: Some(reason.code_on(network).to_owned()),
            transaction: transaction.unwrap_or_default().to_owned(),
            network: network.name_in(dialect).to_owned(),
            payer: payer.map(str::to_owned),
            amount: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn written(response: &SettlementResponse) -> Value {
        serde_json::to_value(response).unwrap()
    }

    #[test]
    fn each_dialect_has_its_own_shape() {
        let network = Network::parse("base-sepolia").unwrap();
        let settled =
            |dialect| SettlementResponse::settled(dialect, &network, "0xabc", Some("0x9"), Amount::from(1000));
        assert_eq!(
            written(&settled(Dialect::V1)),
            json!({"success": true, "transaction": "0xabc", "network": "base-sepolia", "payer": "0x9"})
        );
        assert_eq!(
            written(&settled(Dialect::V2)),
            json!({"success": true, "transaction": "0xabc", "network": "eip155:84532", "payer": "0x9", "amount": "1000"})
        );
        let failed = |dialect, transaction| {
            SettlementResponse::failed(dialect, &network, Reason::SettlementPending, None, transaction)
        };
        assert_eq!(
            written(&failed(Dialect::V1, None)),
            json!({"success": false, "errorReason": "settlement_pending", "transaction": "", "network": "base-sepolia"})
        );
        assert_eq!(
            written(&failed(Dialect::V2, Some("0xabc"))),
            json!({"success": false, "errorReason": "settlement_pending", "transaction": "0xabc", "network": "eip155:84532"})
        );
    }

    #[test]
    fn nulls_read_as_nothing() {
        let read: SettlementResponse = serde_json::from_value(json!({
            "success": false, "errorReason": null, "transaction": null, "network": null, "payer": null, "amount": null,
        }))
        .unwrap();
        let short: SettlementResponse = serde_json::from_value(json!({"success": false})).unwrap();
        assert_eq!(read, short);
        assert_eq!(read.transaction, "");
    }
}
