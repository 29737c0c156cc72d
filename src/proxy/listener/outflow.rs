//! What has gone out to a client over HTTP/2.
//!
//! Over HTTP/1.1 the engine waits for each write. Over HTTP/2 it queues a response's frames and goes on; the connection's
//! task writes them, and flushes its socket when there are no more.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::sync::Notify;

/// One connection's.
#[derive(Debug, Default)]
pub(in crate::proxy) struct Outflow {
    flushes: AtomicU64,
    /// Something was given to the socket since.
    is_behind: AtomicBool,
    /// There is no socket any more.
    is_over: AtomicBool,
    changed: Notify,
}

impl Outflow {
    /// How often the socket has taken everything that there was.
    pub(in crate::proxy) fn flushes(&self) -> u64 {
        self.flushes.load(Ordering::Acquire)
    }

    pub(super) fn flushed(&self) {
        self.is_behind.store(false, Ordering::Release);
        self.flushes.fetch_add(1, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    pub(super) fn given(&self) {
        self.is_behind.store(true, Ordering::Release);
    }

    pub(super) fn over(&self) {
        self.is_over.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Ready when what was queued after so many flushes has gone out; `false` where the connection ended before it had.
    pub(in crate::proxy) async fn has_gone_out(&self, flushes: u64) -> bool {
        loop {
            let mut changed = pin!(self.changed.notified());
            // From here on no change is missed.
            changed.as_mut().enable();
            if self.flushes() > flushes && !self.is_behind.load(Ordering::Acquire) {
                return true;
            }
            if self.is_over.load(Ordering::Acquire) {
                return false;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn what_was_queued_has_gone_out_when_all_is_flushed() {
        let outflow = Outflow::default();
        outflow.flushed();
        let before = outflow.flushes();
        let mut queued = Box::pin(outflow.has_gone_out(before));
        assert_eq!(queued.as_mut().now_or_never(), None);
        outflow.given();
        assert_eq!(queued.as_mut().now_or_never(), None);
        outflow.flushed();
        assert!(queued.await);
    }

    #[tokio::test]
    async fn a_connection_that_ends_first_has_not_written_it() {
        for is_behind in [false, true] {
            let outflow = Outflow::default();
            let before = outflow.flushes();
            if is_behind {
                // Another stream's frames, then the rest.
                outflow.flushed();
                outflow.given();
            }
            let mut queued = Box::pin(outflow.has_gone_out(before));
            assert_eq!(queued.as_mut().now_or_never(), None);
            outflow.over();
            assert!(!queued.await, "behind {is_behind}");
        }
    }

    #[tokio::test]
    async fn an_end_after_the_last_flush_takes_nothing_back() {
        let outflow = Outflow::default();
        outflow.flushed();
        outflow.over();
        assert!(outflow.has_gone_out(0).await);
        assert!(!outflow.has_gone_out(1).await);
    }
}
