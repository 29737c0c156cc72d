//! How long a connection may wait for what.
//!
//! One number tells what a connection waits for and since when. Requests only write it; a watch beside them reads it
//! now and then and says when a limit was passed. So no request starts or stops a timer, and what is closed has no
//! request running.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use pingora::proxy::Session;
use tokio::time::Instant;

use super::outflow::Outflow;
use crate::config::Connections;
use crate::telemetry::Closed;

/// What one connection waits for, and since when.
#[derive(Debug)]
pub(in crate::proxy) struct Clock {
    born: Instant,
    /// Milliseconds since `born`, times four, and a [`Phase`].
    state: AtomicU64,
    /// Whether requests come on streams of their own (HTTP/2).
    multiplexed: AtomicBool,
    /// HTTP/2: streams that are open.
    streams: AtomicUsize,
    /// HTTP/2: what has gone out.
    outflow: Outflow,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No byte of a request has come.
    Idle = 0,
    /// Part of a request's head has come.
    Head = 1,
    /// A request is being answered.
    Busy = 2,
}

impl Clock {
    /// What watches the connection that a request came on.
    pub(in crate::proxy) fn of(session: &Session) -> Option<&Clock> {
        let digest = session.digest()?.proxy_digest.as_ref()?;
        digest.user_data.as_ref()?.downcast_ref::<Arc<Clock>>().map(|clock| &**clock)
    }

    /// One that waits for a first request from now on.
    pub(super) fn start() -> Clock {
        Clock {
            born: Instant::now(),
            state: AtomicU64::new(0),
            multiplexed: AtomicBool::new(false),
            streams: AtomicUsize::new(0),
            outflow: Outflow::default(),
        }
    }

    /// Bytes have come. The first of a head start its time; those of a body and of streams do not.
    pub(in crate::proxy) fn bytes_came(&self) {
        let idle = self.load().0 == Phase::Idle;
        if idle && !self.is_multiplexed() {
            self.set(Phase::Head);
        }
    }

    /// What stood before the first request has been read. Behind TLS that request's first bytes may have come with the
    /// last of the handshake: its time runs from here.
    pub(super) fn opened(&self, encrypted: bool) {
        self.set(if encrypted { Phase::Head } else { Phase::Idle });
    }

    /// The request before, if there was one, is over. Bytes of the next one may have come already.
    pub(in crate::proxy) fn next_request(&self) {
        if self.load().0 == Phase::Busy {
            self.set(Phase::Idle);
        }
    }

    /// The head is complete. (A stream's comes with the stream.)
    pub(in crate::proxy) fn head_came(&self) {
        if !self.is_multiplexed() {
            self.set(Phase::Busy);
        }
    }

    /// It is an HTTP/2 connection: from here on streams count, not bytes.
    pub(super) fn multiplex(&self) {
        self.multiplexed.store(true, Ordering::Relaxed);
        self.set(Phase::Idle);
    }

    /// What has gone out to the client, where the engine does not wait for it itself.
    pub(in crate::proxy) fn outflow(&self) -> Option<&Outflow> {
        self.is_multiplexed().then_some(&self.outflow)
    }

    /// Whether it is an HTTP/2 connection.
    fn is_multiplexed(&self) -> bool {
        self.multiplexed.load(Ordering::Relaxed)
    }

    /// Counts a stream as open for as long as the answer lives.
    pub(super) fn open_stream(&self) -> OpenStream<'_> {
        self.streams.fetch_add(1, Ordering::Relaxed);
        OpenStream(self)
    }

    /// Ready when a limit was passed, and says which; `limits` are asked for each time. `stopping` ends a connection
    /// that has no request, without a reason.
    pub(super) async fn passes(
        &self,
        limits: impl Fn() -> Limits,
        stopping: impl Future<Output = ()>,
    ) -> Option<Closed> {
        let mut stopping = std::pin::pin!(stopping);
        let mut stopped = false;
        loop {
            let Limits { header, idle } = limits();
            let now = Instant::now();
            // A phase that begins after this look ends no earlier than the shorter limit allows.
            let step = now + header.min(idle);
            let wake = match self.load() {
                (Phase::Idle | Phase::Head, _) if stopped && !self.is_multiplexed() => return None,
                (Phase::Idle, since) if now >= since + idle => return Some(Closed::Idle),
                (Phase::Head, since) if now >= since + header => return Some(Closed::Header),
                (Phase::Idle, since) => step.min(since + idle),
                (Phase::Head, since) => step.min(since + header),
                (Phase::Busy, _) => step,
            };
            tokio::select! {
                () = tokio::time::sleep_until(wake) => {}
                () = &mut stopping, if !stopped => stopped = true,
            }
        }
    }

    fn set(&self, phase: Phase) {
        let millis = u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX >> 2);
        self.state.store(millis << 2 | phase as u64, Ordering::Relaxed);
    }

    /// HTTP/2: a connection with open streams is busy.
    fn load(&self) -> (Phase, Instant) {
        let state = self.state.load(Ordering::Relaxed);
        let since = self.born + Duration::from_millis(state >> 2);
        let phase = match state & 3 {
            _ if self.streams.load(Ordering::Relaxed) > 0 => Phase::Busy,
            0 => Phase::Idle,
            1 => Phase::Head,
            _ => Phase::Busy,
        };
        (phase, since)
    }
}

/// An open stream.
pub(super) struct OpenStream<'a>(&'a Clock);

impl Drop for OpenStream<'_> {
    fn drop(&mut self) {
        // First the time, or the watch could see an idle connection with the time of long ago.
        self.0.set(Phase::Idle);
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The limits that a clock watches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) header: Duration,
    pub(super) idle: Duration,
}

impl From<&Connections> for Limits {
    fn from(connections: &Connections) -> Limits {
        Limits { header: connections.header_timeout, idle: connections.idle_timeout }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Duration = Duration::from_secs(10);
    const IDLE: Duration = Duration::from_secs(60);

    /// When the watch says something, and what, after `script` has run beside it.
    async fn watched(clock: &Clock, script: impl Future<Output = ()>) -> (Duration, Option<Closed>) {
        let start = Instant::now();
        let limits = || Limits { header: HEADER, idle: IDLE };
        let watch = async {
            let closed = clock.passes(limits, std::future::pending()).await;
            (start.elapsed(), closed)
        };
        let ((), outcome) = tokio::join!(script, watch);
        outcome
    }

    async fn after(seconds: u64) {
        tokio::time::sleep(Duration::from_secs(seconds)).await;
    }

    fn near(elapsed: Duration, seconds: u64) -> bool {
        let wanted = Duration::from_secs(seconds);
        elapsed >= wanted && elapsed < wanted + Duration::from_millis(100)
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_connection_is_idle_and_a_dripped_head_is_late() {
        let clock = Clock::start();
        let (elapsed, closed) = watched(&clock, async {}).await;
        assert!(near(elapsed, 60) && closed == Some(Closed::Idle), "{elapsed:?} {closed:?}");

        let clock = Clock::start();
        let drip = async {
            after(5).await;
            for _ in 0..8 {
                clock.bytes_came();
                after(2).await;
            }
        };
        let (elapsed, closed) = watched(&clock, drip).await;
        assert!(near(elapsed, 15) && closed == Some(Closed::Header), "{elapsed:?} {closed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_takes_its_time_and_the_next_one_has_all_of_its_own() {
        let clock = Clock::start();
        let requests = async {
            for _ in 0..3 {
                clock.bytes_came();
                after(9).await;
                clock.head_came();
                after(1000).await;
                clock.bytes_came();
                clock.next_request();
                after(59).await;
            }
        };
        let (elapsed, closed) = watched(&clock, requests).await;
        assert!(near(elapsed, 3 * 1068 + 1) && closed == Some(Closed::Idle), "{elapsed:?} {closed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_of_streams_is_idle_when_the_last_one_has_ended() {
        let clock = Clock::start();
        clock.multiplex();
        let streams = async {
            clock.bytes_came();
            after(50).await;
            let first = clock.open_stream();
            let second = clock.open_stream();
            after(500).await;
            drop(first);
            after(500).await;
            clock.bytes_came();
            drop(second);
        };
        let (elapsed, closed) = watched(&clock, streams).await;
        assert!(near(elapsed, 1110) && closed == Some(Closed::Idle), "{elapsed:?} {closed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_shutdown_ends_what_has_no_request_at_once() {
        let limits = || Limits { header: HEADER, idle: IDLE };
        let clock = Clock::start();
        assert_eq!(clock.passes(limits, std::future::ready(())).await, None);
        clock.head_came();
        let request = async {
            after(7).await;
            clock.next_request();
        };
        let watch = clock.passes(limits, std::future::ready(()));
        assert_eq!(tokio::join!(request, watch).1, None);
    }
}
