//! Long work beside requests, which go before it.
//!
//! A config with a hundred thousand routes is read, put to work and dropped beside the requests that are answered meanwhile, and
//! perhaps on the same core. A thread that is as good as theirs keeps the core until the scheduler looks again, which it does
//! every few milliseconds; one that has stepped back makes room as soon as there is a request.

use std::io;
use std::thread;

use tokio::sync::oneshot;

/// How far it steps back. It gets a tenth of a core that others would keep busy without a pause, so that it comes to an end
/// there, too.
pub const NICENESS: i32 = 10;

/// Runs it on a thread of that name, which has stepped back. An error where there is no thread to be had, or where it
/// panicked. It is on no runtime: threads that one would start from there would have stepped back, too.
pub async fn aside<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let (tell, told) = oneshot::channel();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        step_back(NICENESS);
        // Fails where nobody waits for it any more.
        let _ = tell.send(work());
    })?;
    told.await.map_err(|_| io::Error::other(format!("the thread {name} panicked")))
}

/// Others go before this thread from now on, by so much of [`nice`](https://man7.org/linux/man-pages/man7/sched.7.html).
#[cfg(target_os = "linux")]
pub fn step_back(niceness: i32) {
    if let Err(error) = rustix::process::nice(niceness) {
        tracing::debug!(%error, "work beside requests goes on as if it were one");
    }
    // Else it keeps the core that it has until the scheduler looks again.
    thread::yield_now();
}

/// Elsewhere niceness is the whole process's.
#[cfg(not(target_os = "linux"))]
pub fn step_back(_niceness: i32) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn others_go_before_it_and_stay_where_they_are() {
        let here = || rustix::process::getpriority_process(None).unwrap();
        let before = here();
        let there = aside("test", here).await.unwrap();
        assert_eq!(there, (before + NICENESS).min(19));
        assert_eq!(here(), before);
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let panicked = aside("test", || assert!(std::hint::black_box(false), "as it should")).await;
        assert!(panicked.is_err());
    }
}
