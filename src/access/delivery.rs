//! Whether a payment that opened a window was delivered, as far as this process knows.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::receipts::Receipt;

/// One payment's, shared by all requests that it opens: the first that is served in full has it written down.
#[derive(Debug, Default)]
pub struct Delivery {
    made: AtomicBool,
}

impl Delivery {
    /// As the ledger has it.
    pub fn recorded(made: bool) -> Delivery {
        Delivery { made: AtomicBool::new(made) }
    }

    /// Whether a response was written in full: it is in the ledger, or about to be.
    pub fn is_made(&self) -> bool {
        self.made.load(Ordering::Relaxed)
    }

    /// A response was written in full. `true` for the first, whose request has that written down.
    pub fn make(&self) -> bool {
        !self.is_made() && !self.made.swap(true, Ordering::Relaxed)
    }
}

impl PartialEq for Delivery {
    fn eq(&self, other: &Delivery) -> bool {
        self.is_made() == other.is_made()
    }
}

impl Eq for Delivery {}

/// What is remembered of a payment that opened a window.
#[derive(Debug, Clone)]
pub enum Remembered {
    /// It was settled here, or was looked up when it came again.
    Receipt(Arc<Receipt>),
    /// Only its pass has come, which says nothing of its delivery: the ledger knows.
    Pass(Arc<Delivery>),
}

impl Remembered {
    /// The payment's, for every request alike.
    pub fn delivery(&self) -> &Arc<Delivery> {
        match self {
            Remembered::Receipt(receipt) => &receipt.delivery,
            Remembered::Pass(delivery) => delivery,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_alone_makes_it() {
        let delivery = Delivery::default();
        assert!(!delivery.is_made());
        assert_eq!([delivery.make(), delivery.make()], [true, false]);
        assert!(delivery.is_made());
        assert!(!Delivery::recorded(true).make(), "the ledger has it");
    }
}
