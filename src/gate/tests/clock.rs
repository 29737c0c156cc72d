//! A clock that can be set: [`unix_millis`](crate::gate::unix_millis) asks it how far it is ahead.

use std::cell::Cell;
use std::time::Duration;

use crate::ledger::UnixMillis;

thread_local! {
    /// What has passed while a test holds the clock: setting it back takes nothing of it away.
    static PASSED: Cell<Option<Duration>> = const { Cell::new(None) };
    static AHEAD: Cell<UnixMillis> = const { Cell::new(0) };
}

/// Milliseconds by which this thread's clock is ahead of the machine's.
pub fn ahead() -> UnixMillis {
    AHEAD.get()
}

/// The time by which limits are counted, while this thread's clock is held: it passes as the test says and not else.
pub fn elapsed() -> Option<Duration> {
    PASSED.get()
}

/// This thread's clock, for as long as a test holds it: right at first, and right again when dropped.
pub struct Clock(());

impl Clock {
    pub fn hold() -> Clock {
        PASSED.set(Some(Duration::ZERO));
        Clock(())
    }

    pub fn forward(&self, time: Duration) {
        AHEAD.set(AHEAD.get() + i64::try_from(time.as_millis()).unwrap());
        PASSED.set(PASSED.get().map(|passed| passed + time));
    }

    pub fn back(&self, time: Duration) {
        AHEAD.set(AHEAD.get() - i64::try_from(time.as_millis()).unwrap());
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        AHEAD.set(0);
        PASSED.set(None);
    }
}
