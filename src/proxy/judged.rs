//! What becomes of a request once it is judged: it is taken over to its upstream, answered, or refused.

use std::time::Instant;

use pingora::Result;
use pingora::proxy::Session;

use super::context::Context;
use super::gateway::Gateway;
use super::respond::{self, internal};
use crate::gate::answer::{Answer, Trouble};
use crate::gate::unfit::Unfit;
use crate::gate::{Entry, Forward};
use crate::telemetry::Outcome;

impl Gateway {
    /// Takes over what the gate decided of a request that is forwarded.
    pub(super) fn admit(&self, ctx: &mut Context, forward: Forward) -> Result<()> {
        let Forward { route, upstream, rewritten, entry, outcome } = forward;
        let decided = Instant::now();
        ctx.asked = Some(decided);
        let live = ctx.live.as_ref().ok_or_else(|| internal("a request is forwarded on no config"))?;
        ctx.upstream = live.upstreams.get(&upstream).cloned();
        let priced = route.and_then(|route| live.generation.route(route)).is_some_and(|route| route.quote.is_some());
        ctx.body_bytes_max = priced.then_some(live.generation.config.server.request_body_bytes);
        ctx.route = route;
        ctx.rewritten = rewritten;
        ctx.outcome = outcome;
        match entry {
            Entry::Free => {}
            // What others pay for is for this client alone.
            Entry::Allowance => ctx.private = true,
            Entry::Window { identity, undelivered } => {
                ctx.private = true;
                ctx.payment = Some(identity.payment_id.clone());
                ctx.identity = Some(identity);
                ctx.undelivered = undelivered;
            }
            Entry::Paid { ticket, identity } => {
                ctx.private = true;
                ctx.payment = Some(identity.payment_id.clone());
                ctx.identity = Some(identity);
                ctx.money = ticket.money().cloned();
                ctx.ticket = Some(ticket);
                return Ok(());
            }
        }
        self.house.metrics.gateway(decided.duration_since(ctx.started));
        Ok(())
    }

    /// The upstream failed before its head was judged.
    pub(super) async fn failed(&self, ctx: &mut Context, trouble: Trouble) -> Answer {
        ctx.outcome = match trouble {
            Trouble::Unfit(_) => Outcome::BadTarget,
            Trouble::RequestTimeout => Outcome::ClientGone,
            Trouble::Internal => Outcome::InternalError,
            Trouble::BodyTooLarge { .. } => Outcome::Limited,
            _ => Outcome::UpstreamError,
        };
        let Some(ticket) = &mut ctx.ticket else { return Answer::trouble(&trouble, None) };
        let waiting = Instant::now();
        let unpaid = ticket.upstream_failed(trouble).await;
        ctx.settle_time = Some(waiting.elapsed());
        ctx.money = ticket.money().cloned();
        ctx.outcome = unpaid.outcome;
        unpaid.answer
    }
}

/// Refuses a request that has two readings. So has what follows it: the connection ends.
pub(super) async fn refuse(session: &mut Session, ctx: &mut Context, unfit: Unfit) -> Result<bool> {
    session.set_keepalive(None);
    let outcome = match unfit {
        Unfit::HeadTooLarge => Outcome::HeadTooLarge,
        _ => Outcome::BadTarget,
    };
    answer(session, ctx, Answer::trouble(&Trouble::Unfit(unfit), None), outcome).await
}

/// Answers a request instead of an upstream.
pub(super) async fn answer(session: &mut Session, ctx: &mut Context, made: Answer, outcome: Outcome) -> Result<bool> {
    ctx.outcome = outcome;
    ctx.lingers = respond::write(session, made).await?;
    Ok(true)
}
