//! Those who can say what became of a payment: a node of its network, and its facilitator.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy::primitives::TxHash;

use super::verdict::{self, Resolution, Source};
use crate::evm::chain::{Chain, NodeConfig, Sought};
use crate::facilitator::{Facilitators, Order};
use crate::ledger::Unresolved;
use crate::x402::Network;
use crate::x402::payment::Payload;

/// How far a try goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Where a node says that the payment was not used so far, that is all: nobody waits for it.
    Look,
    /// Then it is settled: its client is at the door, or the operator wants it.
    Settle,
}

/// The nodes and the facilitators of one config.
pub struct Witnesses {
    chains: BTreeMap<Network, Chain>,
    facilitators: Arc<Facilitators>,
}

impl Witnesses {
    /// Asks nobody yet. Fails where a node cannot be spoken to at all.
    pub fn new(networks: &BTreeMap<Network, NodeConfig>, facilitators: Arc<Facilitators>) -> Result<Witnesses, String> {
        let mut chains = BTreeMap::new();
        for (network, node) in networks {
            let Some(id) = network.evm_chain_id() else { continue };
            let chain = Chain::new(id, node).map_err(|error| format!("networks.{}: {error}", network.alias()))?;
            chains.insert(network.clone(), chain);
        }
        Ok(Witnesses { chains, facilitators })
    }

    /// The facilitators.
    pub fn facilitators(&self) -> &Arc<Facilitators> {
        &self.facilitators
    }

    /// What became of a payment.
    pub(super) async fn ask(&self, unresolved: &Unresolved, effort: Effort) -> Resolution {
        let record = &unresolved.record;
        let Some(order) = Order::restore(&unresolved.settle_request, &record.way, &record.network) else {
            let why = "what was sent to its facilitator cannot be sent again: look for its nonce by hand".to_owned();
            return verdict::unknown(Source::Facilitator, why);
        };
        let chain = self.chains.get(&record.network).zip(sought(&order, unresolved));
        if let Some((chain, sought)) = &chain {
            let named = record.transaction.as_deref().and_then(|hash| hash.parse::<TxHash>().ok());
            match (verdict::by_chain(chain.look(sought, named).await), effort) {
                (Some(resolution), _) => return resolution,
                (None, Effort::Look) => {
                    let why = "not used so far, and still good: it fails when its time is over".to_owned();
                    return verdict::unknown(Source::Chain, why);
                }
                (None, Effort::Settle) => {}
            }
        }
        let used_is_settled = chain.is_none() && record.transaction.is_none();
        verdict::by_facilitator(
            self.facilitators.settle_again(record.facilitator.as_deref(), &order).await,
            used_is_settled,
        )
    }
}

/// What to look for on the chain; `None` for what is no EIP-3009 authorization.
fn sought(order: &Order, unresolved: &Unresolved) -> Option<Sought> {
    let Payload::Eip3009 { authorization, .. } = &order.payment.payload else { return None };
    Some(Sought {
        token: order.offer.asset.address.parse().ok()?,
        payer: authorization.from,
        nonce: authorization.nonce,
        pay_to: order.offer.pay_to.parse().ok()?,
        amount: order.offer.amount.as_u256(),
        valid_before: authorization.valid_before,
        since: u64::try_from(unresolved.record.reserved_at / 1000).unwrap_or(0),
    })
}
