//! One request at a time holds a payment, in this process.
//!
//! The ledger's reservation is what counts across restarts and between gateways; a hold is how a second request with the
//! same payment waits for the first one's outcome instead of polling for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::x402::PaymentId;

/// How far the request that holds a payment has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Its money is being decided on.
    Deciding,
    /// The money moved; the response is on its way.
    Delivering,
    /// The request is over, and the money moved.
    Over,
    /// The request is over; the money did not move, or nobody knows.
    GivenUp,
}

type Table = Mutex<HashMap<PaymentId, watch::Receiver<Phase>>>;

/// Every payment that a request holds right now.
#[derive(Debug, Default, Clone)]
pub struct Holds {
    held: Arc<Table>,
}

/// The hold of one request on one payment; given up when dropped.
#[derive(Debug)]
pub struct Hold {
    id: PaymentId,
    phase: watch::Sender<Phase>,
    held: Arc<Table>,
}

/// Another request holds the payment.
#[derive(Debug)]
pub struct Busy(watch::Receiver<Phase>);

impl Holds {
    /// Takes the payment, or says who has it.
    pub fn take(&self, id: &PaymentId) -> Result<Hold, Busy> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(phase) = held.get(id) {
            return Err(Busy(phase.clone()));
        }
        let (phase, watch) = watch::channel(Phase::Deciding);
        held.insert(id.clone(), watch);
        Ok(Hold { id: id.clone(), phase, held: self.held.clone() })
    }
}

impl Hold {
    /// Tells those who wait that the money moved.
    pub fn delivering(&self) {
        self.phase.send_replace(Phase::Delivering);
    }

    /// Tells those who wait that nothing more comes of it.
    pub fn over(&self) {
        self.phase.send_replace(Phase::Over);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
        let ended = match *self.phase.borrow() {
            Phase::Deciding | Phase::GivenUp => Phase::GivenUp,
            Phase::Delivering | Phase::Over => Phase::Over,
        };
        self.phase.send_replace(ended);
    }
}

impl Busy {
    /// Waits until the holder has come so far, and says how far it has come; for no longer than `limit`.
    pub async fn wait_for(&mut self, phase: Phase, limit: Duration) -> Phase {
        let reached = tokio::time::timeout(limit, self.0.wait_for(|now| *now >= phase)).await;
        // A hold that is gone has said so before it went.
        drop(reached);
        *self.0.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> PaymentId {
        PaymentId::parse(&"ab".repeat(32)).unwrap()
    }

    #[tokio::test]
    async fn one_holds_and_the_others_learn_how_it_went() {
        let holds = Holds::default();
        let hold = holds.take(&id()).unwrap();
        let mut busy = holds.take(&id()).unwrap_err();
        assert_eq!(busy.wait_for(Phase::Delivering, Duration::ZERO).await, Phase::Deciding, "nothing has happened yet");

        hold.delivering();
        assert_eq!(busy.wait_for(Phase::Delivering, Duration::from_secs(60)).await, Phase::Delivering);

        drop(hold);
        assert_eq!(busy.wait_for(Phase::Over, Duration::from_secs(60)).await, Phase::Over);

        let hold = holds.take(&id()).expect("free again when it is dropped");
        let mut busy = holds.take(&id()).unwrap_err();
        drop(hold);
        assert_eq!(busy.wait_for(Phase::Delivering, Duration::from_secs(60)).await, Phase::GivenUp);
    }
}
