//! Finding an authorization's event by its time, in bounded steps.

use alloy::providers::Provider;
use alloy::rpc::types::Filter;
use alloy::sol_types::SolEvent;

use super::{
    AuthorizationCanceled, AuthorizationUsed, Block, CLOCK_MARGIN_SECONDS, Chain, ChainError, Event, Kind, Sought,
    answered,
};

/// Questions of one search for logs: at a thousand blocks each and a block every two seconds, more than a day.
const LOG_QUESTIONS_MAX: u64 = 50;

impl Chain {
    /// The event that spent the authorization: from just before the time when it was taken on.
    pub(super) async fn search(&self, sought: &Sought, latest: Block) -> Result<Event, ChainError> {
        // The first of them counts too.
        let further = self.config.block_range.saturating_sub(1);
        let first = self.first_block_from(sought.since.saturating_sub(CLOCK_MARGIN_SECONDS), latest).await?;
        let mut from = first;
        for _ in 0..LOG_QUESTIONS_MAX {
            let to = from.saturating_add(further).min(latest.number);
            if let Some(event) = self.event_between(sought, from, to).await? {
                return Ok(event);
            }
            if to >= latest.number {
                let text = format!("the nonce is spent, and no event between blocks {first} and {to} says how");
                return Err(ChainError::Contradiction(text));
            }
            from = to.saturating_add(1);
        }
        let text = format!("the nonce is spent, and no event between blocks {first} and {from} says how: look by hand");
        Err(ChainError::Contradiction(text))
    }

    async fn event_between(&self, sought: &Sought, from: u64, to: u64) -> Result<Option<Event>, ChainError> {
        let filter = Filter::new()
            .address(sought.token)
            .event_signature(vec![AuthorizationUsed::SIGNATURE_HASH, AuthorizationCanceled::SIGNATURE_HASH])
            .topic1(sought.payer.into_word())
            .topic2(sought.nonce)
            .from_block(from)
            .to_block(to);
        let logs = answered("eth_getLogs", self.provider.get_logs(&filter).await)?;
        // A node that ignores the filter is not believed either.
        let mut events = logs
            .iter()
            .filter_map(|log| Some(Event { kind: Kind::of(sought, log)?, transaction: log.transaction_hash? }));
        Ok(events.next())
    }

    /// The first block that is not older than `time`: back from the latest in doubling steps, then by halves.
    async fn first_block_from(&self, time: u64, latest: Block) -> Result<u64, ChainError> {
        let mut newer = latest.number;
        let mut step = 64;
        let mut older = loop {
            if newer == 0 {
                return Ok(0);
            }
            let number = newer.saturating_sub(step);
            if self.block(number).await?.timestamp < time {
                break number;
            }
            newer = number;
            step = step.saturating_mul(2);
        };
        while newer.saturating_sub(older) > 1 {
            let middle = older.midpoint(newer);
            if self.block(middle).await?.timestamp < time {
                older = middle;
            } else {
                newer = middle;
            }
        }
        Ok(newer)
    }
}
