//! A clock that can be set: [`unix_millis`](crate::gate::unix_millis) asks it how far it is ahead.

use std::cell::Cell;
use std::time::Duration;

use crate::ledger::UnixMillis;

thread_local! {
    static AHEAD: Cell<UnixMillis> = const { Cell::new(0) };
}

/// Milliseconds by which this thread's clock is ahead of the machine's.
pub fn ahead() -> UnixMillis {
    AHEAD.get()
}

/// This thread's clock, for as long as a test holds it: right at first, and right again when dropped.
pub struct Clock(());

impl Clock {
    pub fn hold() -> Clock {
        Clock(())
    }

    pub fn forward(&self, time: Duration) {
        AHEAD.set(AHEAD.get() + i64::try_from(time.as_millis()).unwrap());
    }

    pub fn back(&self, time: Duration) {
        AHEAD.set(AHEAD.get() - i64::try_from(time.as_millis()).unwrap());
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        AHEAD.set(0);
    }
}
