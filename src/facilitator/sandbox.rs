//! A facilitator in this process, without a chain: for demos and tests (`url = "sandbox:"`).
//!
//! It judges a payment as a real one does, signature included, and keeps the token's books in memory. What it says
//! of money is true of those books only; its transaction hashes begin with the ASCII of "sandbox" to say so.

mod books;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use alloy::primitives::Address;
use async_trait::async_trait;
use serde_json::Map;

use self::books::{Books, Token, Transfer};
use super::{Facilitator, Fault, Order, Settlement, Supported, SupportedKind, Verification};
use crate::config::{Sandbox, SandboxFailure};
use crate::evm::eip3009;
use crate::money::Amount;
use crate::x402::offer::Scheme;
use crate::x402::payment::{Authorization, Payload};
use crate::x402::{Asset, Network, Reason};

/// Seconds of validity that must be left: what the official facilitator asks for, so that a block can still come.
const VALIDITY_MARGIN_SECONDS: u64 = 6;
/// Bytes of a signature from a key.
const KEY_SIGNATURE_BYTES: usize = 65;
/// Stands for every EVM network in a kind of `/supported`, as facilitators write it in `signers` beside the kinds.
pub(super) const EVERY_EVM_NETWORK: &str = "eip155:*";

/// The facilitator without a chain.
pub struct SandboxFacilitator {
    name: Arc<str>,
    config: Sandbox,
    books: Mutex<Books>,
}

/// Why the sandbox says no: a reason, and a sentence for the log.
type Refusal = (Reason, &'static str);

impl SandboxFacilitator {
    /// Opens empty books.
    pub fn new(name: Arc<str>, config: Sandbox) -> SandboxFacilitator {
        SandboxFacilitator { name, config, books: Mutex::new(Books::default()) }
    }

    /// What an account holds; `None` if it was never seen (as a payer it would start with the configured balance).
    pub fn balance(&self, network: &Network, asset: &Asset, owner: Address) -> Option<Amount> {
        self.books().balance(&Token::of(network, asset), owner)
    }

    /// How many transfers were made since the start.
    pub fn transfers(&self) -> u64 {
        self.books().transfers()
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        // The books are changed in one step at the end of a transfer: a panic elsewhere leaves them whole.
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the order would move, if everything about it but the books is in order.
    fn transfer(&self, order: &Order, now: u64) -> Result<Transfer, Refusal> {
        let offer = &order.offer;
        match offer.scheme {
            Scheme::Exact => {}
        }
        let chain_id = offer.network.evm_chain_id().ok_or((Reason::InvalidNetwork, "not an EVM network"))?;
        let Payload::Eip3009 { authorization, signature } = &order.payment.payload else {
            return Err((Reason::InvalidPayload, "the sandbox knows EIP-3009 only"));
        };
        let domain = offer.asset.eip712.as_ref().ok_or((Reason::InvalidPayload, "the asset has no EIP-712 domain"))?;
        let parse = |address: &str| address.parse::<Address>();
        let (Ok(contract), Ok(pay_to)) = (parse(&offer.asset.address), parse(&offer.pay_to)) else {
            return Err((Reason::NoMatchingRequirements, "the offer's addresses are not EVM's"));
        };
        if authorization.to != pay_to {
            return Err((Reason::RecipientMismatch, "it pays somebody else"));
        }
        if authorization.value != offer.amount {
            return Err((Reason::ValueMismatch, "its value is not the amount"));
        }
        check_validity(authorization, now)?;
        if signature.len() != KEY_SIGNATURE_BYTES {
            return Err((Reason::InvalidSignature, "without a chain there are no smart accounts"));
        }
        let token = eip3009::Token::new(chain_id, contract, domain);
        if eip3009::recover(&token, authorization, signature) != Some(authorization.from) {
            return Err((Reason::InvalidSignature, "the signature is not the payer's"));
        }
        let start = self.config.balance.to_atomic(offer.asset.decimals);
        Ok(Transfer {
            token: Token::of(&offer.network, &offer.asset),
            from: authorization.from,
            to: pay_to,
            value: authorization.value,
            nonce: authorization.nonce,
            valid_before: authorization.valid_before,
            start: start.map_err(|_| (Reason::InsufficientFunds, "the start balance does not fit the token"))?,
        })
    }
}

fn check_validity(authorization: &Authorization, now: u64) -> Result<(), Refusal> {
    if authorization.valid_after >= now {
        return Err((Reason::ValidAfter, "not yet valid"));
    }
    if authorization.valid_before < now.saturating_add(VALIDITY_MARGIN_SECONDS) {
        return Err((Reason::ValidBefore, "no longer valid for long enough"));
    }
    Ok(())
}

#[async_trait]
impl Facilitator for SandboxFacilitator {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    async fn verify(&self, order: &Order) -> Result<Verification, Fault> {
        tokio::time::sleep(self.config.verify_delay).await;
        let now = unix_now();
        let verdict = match self.config.fail {
            SandboxFailure::Verify => Err((Reason::UnexpectedVerifyError, "told to fail")),
            SandboxFailure::Never | SandboxFailure::Settle | SandboxFailure::SettleAnswer => {
                self.transfer(order, now).and_then(|transfer| {
                    self.books().check(&transfer, now)?;
                    Ok(transfer.from)
                })
            }
        };
        Ok(match verdict {
            Ok(payer) => Verification::Valid { payer: Some(payer.to_string()) },
            Err((reason, detail)) => Verification::Invalid { reason, detail: detail.to_owned() },
        })
    }

    async fn settle(&self, order: &Order) -> Settlement {
        tokio::time::sleep(self.config.settle_delay).await;
        let now = unix_now();
        let refused = |(reason, detail): Refusal| Settlement::Refused { reason, detail: detail.to_owned() };
        let answer_is_lost = match self.config.fail {
            SandboxFailure::Settle => return refused((Reason::UnexpectedSettleError, "told to fail")),
            SandboxFailure::SettleAnswer => true,
            SandboxFailure::Never | SandboxFailure::Verify => false,
        };
        let transfer = match self.transfer(order, now) {
            Ok(transfer) => transfer,
            Err(refusal) => return refused(refusal),
        };
        // Its own statement: the guard must be gone before anything else happens.
        let made = self.books().make(&transfer, now);
        match made {
            Err(refusal) => refused(refusal),
            Ok(_) if answer_is_lost => Settlement::Unknown {
                facilitator: self.name.clone(),
                transaction: None,
                detail: "told to lose its answer".to_owned(),
            },
            Ok(transaction) => Settlement::Settled {
                facilitator: self.name.clone(),
                transaction,
                payer: Some(transfer.from.to_string()),
            },
        }
    }

    async fn supported(&self) -> Result<Supported, Fault> {
        let kind = |x402_version, network: &str| SupportedKind {
            x402_version,
            scheme: Scheme::Exact.name().to_owned(),
            network: network.to_owned(),
            extra: Map::new(),
        };
        let v1_names = Network::aliases().filter(|alias| {
            Network::parse(alias).is_ok_and(|network| network.evm_chain_id().is_some() && network.v1_name().is_some())
        });
        let mut kinds = vec![kind(2, EVERY_EVM_NETWORK)];
        kinds.extend(v1_names.map(|name| kind(1, name)));
        Ok(Supported { kinds })
    }
}

fn unix_now() -> u64 {
    // A clock before 1970 finds every payment not yet valid.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests;
