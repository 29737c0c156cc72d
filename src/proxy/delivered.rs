//! Whether a response was written in full to its client, for those whose payment is to be told.

use pingora::proxy::Session;

use super::context::Context;
use super::listener::Clock;

/// Before each part of a response is queued or written: it is to go out with a later flush.
pub(super) fn note(session: &Session, ctx: &mut Context) {
    if is_awaited(ctx)
        && let Some(outflow) = Clock::of(session).and_then(Clock::outflow)
    {
        ctx.flushes = outflow.flushes();
    }
}

/// Whether a response that the engine has carried through was written: over HTTP/2 it does not wait for that. A client
/// that takes nothing for longer than it may has not got it.
pub(super) async fn in_full(session: &Session, ctx: &Context) -> bool {
    if !is_awaited(ctx) {
        return false;
    }
    let Some((outflow, live)) = Clock::of(session).and_then(Clock::outflow).zip(ctx.live.as_ref()) else { return true };
    let limit = live.generation.config.server.connections.send_timeout;
    // Boxed, or every request would carry it.
    Box::pin(tokio::time::timeout(limit, outflow.has_gone_out(ctx.flushes))).await.unwrap_or(false)
}

fn is_awaited(ctx: &Context) -> bool {
    ctx.ticket.is_some() || ctx.undelivered.is_some()
}
