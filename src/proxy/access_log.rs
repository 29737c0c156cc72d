//! What is counted and written of a request when it is over.

use http::header;
use pingora::proxy::Session;

use super::context::Context;
use super::house::House;
use super::respond::answered;
use crate::route::host::canonical_host;
use crate::telemetry::AccessLine;

/// Once a request, last.
pub(super) fn write(house: &House, session: &Session, ctx: &Context) {
    let live = ctx.live.as_ref().zip(ctx.route).and_then(|(live, route)| live.generation.route(route));
    match live {
        Some(live) => live.metrics.count(ctx.outcome),
        None => house.metrics.unrouted().count(ctx.outcome),
    }
    if !AccessLine::is_written() {
        return;
    }
    let request = session.req_header();
    // HTTP/2 names it in the target.
    let authority = match request.headers.get(header::HOST) {
        Some(host) => host.to_str().ok(),
        None => request.uri.authority().map(http::uri::Authority::as_str),
    };
    let host = canonical_host(authority.unwrap_or_default()).unwrap_or_default();
    let path = match &ctx.rewritten {
        Some(target) => target.split('?').next().unwrap_or_default(),
        None => request.uri.path(),
    };
    let paid = ctx.identity.as_ref().and_then(|identity| identity.paid.as_ref());
    let payer = ctx.identity.as_ref().map(|identity| identity.payer.as_ref()).filter(|payer| !payer.is_empty());
    AccessLine {
        method: request.method.as_str(),
        host: &host,
        path,
        route: live.map(|live| live.route.name.as_ref()),
        outcome: ctx.outcome,
        status: answered(session).map(|response| response.status.as_u16()),
        bytes_sent: u64::try_from(session.body_bytes_sent()).unwrap_or(u64::MAX),
        duration: ctx.started.elapsed(),
        upstream: ctx.upstream_time,
        settle: ctx.settle_time,
        payer,
        payment_id: ctx.payment.as_ref().map(|id| id.as_str()),
        network: paid.map(|paid| paid.network.caip2()),
        amount: paid.map(|paid| &paid.amount as &dyn std::fmt::Display),
        transaction: ctx.money.as_ref().map(|money| money.transaction.as_ref()),
        client: ctx.client.as_ref().map(|client| client.address),
    }
    .emit();
}
