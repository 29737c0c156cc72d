//! Where a payment can be when the gateway is killed, as seen from outside: the facilitator and the upstream are
//! asked in turn, and either can keep the gateway waiting.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

/// A place that every payment passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `/verify` has been asked: reserved, and nothing more.
    Verify,
    /// `/settle` has been asked: settling, and nothing has moved.
    Settling,
    /// The money has moved, and nobody has been told.
    Moved,
    /// The facilitator has said yes, every byte of it: nobody is kept there any more.
    Answered,
    /// The upstream has been asked, and has not answered.
    Head,
    /// Half of the body has been sent.
    Body,
}

/// What a place does to those who pass.
#[derive(Debug, Clone, Copy)]
pub struct Trap {
    pub place: Place,
    /// Springs when so many have come to it.
    pub nth: usize,
    /// Whether they are kept there, from this one on, until the gateway is dead.
    pub holds: bool,
    /// Whether what was kept is carried out after the kill, or lost with the connection.
    pub carries_on: bool,
}

/// Every place, of which one may have a trap.
#[derive(Default)]
pub struct Places(Mutex<Option<Set>>);

struct Set {
    trap: Trap,
    came: usize,
    sprung: Option<oneshot::Sender<()>>,
    dead: watch::Sender<bool>,
}

impl Places {
    /// Sets a trap; what is returned resolves when it springs.
    pub fn set(&self, trap: Trap) -> oneshot::Receiver<()> {
        let (sprung, springs) = oneshot::channel();
        *self.lock() = Some(Set { trap, came: 0, sprung: Some(sprung), dead: watch::Sender::new(false) });
        springs
    }

    /// The gateway is dead: whoever is kept is let go.
    pub fn lift(&self) {
        if let Some(set) = self.lock().take() {
            set.dead.send_replace(true);
        }
    }

    /// Passes a place; `false`: what was to happen there does not.
    pub async fn pass(&self, place: Place) -> bool {
        let (carries_on, mut dead) = {
            let mut set = self.lock();
            let Some(set) = set.as_mut().filter(|set| set.trap.place == place) else { return true };
            set.came += 1;
            if set.came < set.trap.nth {
                return true;
            }
            if let Some(sprung) = set.sprung.take() {
                let _ = sprung.send(());
            }
            if !set.trap.holds {
                return true;
            }
            (set.trap.carries_on, set.dead.subscribe())
        };
        // A trap that is gone without a word holds nobody.
        let _ = dead.wait_for(|dead| *dead).await;
        carries_on
    }

    fn lock(&self) -> MutexGuard<'_, Option<Set>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
