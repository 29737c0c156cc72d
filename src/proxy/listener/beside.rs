//! A watch beside what it watches, in one task.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures::task::AtomicWaker;

/// Runs `main` and `watch` until one of them ends; what the watch said, `None` where `main` ended first.
///
/// A connection wakes up several times a request and its watch every few seconds: the watch is polled only when it was
/// woken itself.
pub(super) async fn watched<T>(main: impl Future<Output = ()>, watch: impl Future<Output = T>) -> Option<T> {
    let mut main = pin!(main);
    let mut watch = pin!(watch);
    let woken = Arc::new(Woken { yes: AtomicBool::new(true), task: AtomicWaker::new() });
    let waker = Waker::from(woken.clone());
    poll_fn(|context| {
        if main.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        // First, or a wake between the two would wake nobody.
        woken.task.register(context.waker());
        if !woken.yes.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        watch.as_mut().poll(&mut Context::from_waker(&waker)).map(Some)
    })
    .await
}

/// Whether the watch was woken since it was polled, and the task that polls it.
struct Woken {
    yes: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.yes.store(true, Ordering::Release);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use tokio::sync::oneshot;
    use tokio::task::yield_now;
    use tokio::time::sleep;

    use super::*;

    async fn wakes(times: usize) {
        for _ in 0..times {
            yield_now().await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whichever_ends_first_ends_both() {
        assert_eq!(watched(wakes(9), std::future::pending::<u8>()).await, None);
        assert_eq!(watched(std::future::pending(), sleep(Duration::from_secs(60))).await, Some(()));
        assert_eq!(watched(sleep(Duration::from_secs(2)), sleep(Duration::from_secs(1))).await, Some(()));
        assert_eq!(watched(sleep(Duration::from_secs(1)), sleep(Duration::from_secs(2))).await, None);
        // Both at once: the request is served.
        assert_eq!(watched(async {}, async {}).await, None);
    }

    #[tokio::test]
    async fn a_watch_is_polled_when_it_is_woken_and_not_for_what_it_watches() {
        let polled = AtomicUsize::new(0);
        let (say, mut said) = oneshot::channel::<u8>();
        let watch = poll_fn(|context| {
            polled.fetch_add(1, Ordering::Relaxed);
            std::pin::Pin::new(&mut said).poll(context)
        });
        let main = async {
            wakes(1000).await;
            assert_eq!(polled.load(Ordering::Relaxed), 1);
            say.send(7).unwrap();
            std::future::pending().await
        };
        assert_eq!(watched(main, watch).await, Some(Ok(7)));
        assert_eq!(polled.load(Ordering::Relaxed), 2);
    }
}
