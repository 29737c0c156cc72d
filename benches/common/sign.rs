//! A payment that any facilitator would take: whose payer is nobody.

use std::time::{SystemTime, UNIX_EPOCH};

use alloy::primitives::B256;
use alloy::signers::local::PrivateKeySigner;
use farebox::evm::eip3009::{self, Token};
use farebox::x402::payment::Authorization;
use farebox::x402::v2::PaymentRequired;
use farebox::x402::{Asset, Network, header};
use serde_json::json;

use super::Failure;

/// The header of a payment of the first offer, signed with a key that nobody keeps: the sandbox gives each payer money.
pub fn sign(terms: &str) -> Result<String, Failure> {
    Terms::read(terms)?.sign(&PrivateKeySigner::random())
}

/// What is asked, and what of it is the same for every payment.
pub struct Terms {
    required: PaymentRequired,
    token: Token,
}

impl Terms {
    /// Reads a challenge's header.
    pub fn read(header: &str) -> Result<Terms, Failure> {
        let required = header::decode_payment_required(header.as_bytes())?;
        let offer = required.accepts.first().ok_or("the challenge has no offer")?;
        let network = Network::parse(&offer.network).map_err(|error| error.to_string())?;
        let chain_id = offer.network.strip_prefix("eip155:").ok_or("not an EVM network")?.parse()?;
        let domain = Asset::known(&network, "USDC").and_then(|asset| asset.eip712).ok_or("not a known token")?;
        let token = Token::new(chain_id, offer.asset.parse()?, &domain);
        Ok(Terms { required, token })
    }

    /// The header of a new payment of the first offer.
    pub fn sign(&self, key: &PrivateKeySigner) -> Result<String, Failure> {
        let offer = self.required.accepts.first().ok_or("the challenge has no offer")?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let signed = Authorization {
            from: key.address(),
            to: offer.pay_to.parse()?,
            value: offer.amount,
            valid_after: now - 60,
            valid_before: now + offer.max_timeout_seconds,
            nonce: B256::from(rand::random::<[u8; 32]>()),
        };
        let signature = eip3009::sign(&self.token, &signed, key)?;
        Ok(header::encode_json(&json!({
            "x402Version": 2,
            "resource": self.required.resource,
            "accepted": offer,
            "payload": {
                "signature": signature,
                "authorization": {
                    "from": signed.from,
                    "to": signed.to,
                    "value": signed.value.to_string(),
                    "validAfter": signed.valid_after.to_string(),
                    "validBefore": signed.valid_before.to_string(),
                    "nonce": signed.nonce,
                },
            },
        })))
    }
}
