//! The phases of a request, as Pingora calls them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use http::{StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use super::access_log;
use super::context::{Body, Context};
use super::delivered;
use super::failure::{self, BODY_TOO_LARGE, UNPAID, is_our_own};
use super::forward::{self, Client};
use super::heads;
use super::house::House;
use super::judged::{answer, refuse};
use super::listener::Clock;
use super::request::{self, Addressed};
use super::respond::{self, answered, internal};
use super::strip;
use crate::gate::answer::{Answer, Trouble};
use crate::gate::life::{self, Head};
use crate::gate::{Verdict, unix_seconds};
use crate::telemetry::{Closed, Limit, Outcome};

/// The proxy's hooks.
pub(super) struct Gateway {
    pub(super) house: Arc<House>,
}

#[async_trait]
impl ProxyHttp for Gateway {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::new()
    }

    /// None: the default builds a disabled compression module for each request.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    /// The head has been read: from here on other limits hold.
    async fn early_request_filter(&self, session: &mut Session, _ctx: &mut Context) -> Result<()> {
        if let Some(clock) = Clock::of(session) {
            clock.head_came();
        }
        let (body_timeout, send_timeout) = {
            let connections = &self.house.look().generation.config.server.connections;
            (connections.body_timeout, connections.send_timeout)
        };
        session.set_read_timeout(Some(body_timeout));
        // Over HTTP/1.1 the socket watches it, and knows when something was taken; the engine's time would be for a whole
        // piece of a body, and be over first now and then.
        if session.is_http2() {
            session.set_write_timeout(Some(send_timeout));
        }
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Context) -> Result<bool> {
        ctx.in_flight = Some(self.house.enter());
        let live = self.house.live();
        // This one is counted already: of those that are served there are never more.
        if self.house.in_flight() > live.generation.config.server.requests_in_flight {
            self.house.metrics.refused(Limit::RequestsInFlight);
            return answer(session, ctx, Answer::trouble(&Trouble::TooManyRequests, None), Outcome::Limited).await;
        }
        let verdict = {
            let header_bytes = live.generation.config.server.header_bytes;
            let fit = request::check(session, header_bytes).and_then(|()| Addressed::read(session.req_header()));
            let addressed = match fit {
                Ok(addressed) => addressed,
                Err(unfit) => return refuse(session, ctx, unfit).await,
            };
            let Some(facts) = addressed.facts(session) else { return Err(internal("a client has no address")) };
            let server = &live.generation.config.server;
            let trusted = &server.trusted_proxies;
            ctx.client = Some(Client {
                address: facts.client(trusted, server.client_header),
                peer: facts.peer,
                trusted: facts.from_trusted_proxy(trusted).then_some(server.client_header),
                scheme: facts.scheme(trusted),
            });
            let mut verdict = self.house.gate.decide(&live.generation, &facts).await;
            if let Verdict::Forward(forward) = &mut verdict
                && forward.rewritten.is_none()
                && !addressed.is_forwarded_as_it_is(session.req_header())
            {
                forward.rewritten = std::str::from_utf8(facts.target).map(str::to_owned).ok();
            }
            verdict
        };
        ctx.live = Some(live);
        match verdict {
            Verdict::Answer { answer: made, outcome, route, payment } => {
                ctx.route = route;
                ctx.payment = payment;
                if outcome == Outcome::Challenge {
                    self.house.metrics.gateway(ctx.started.elapsed());
                }
                answer(session, ctx, made, outcome).await
            }
            Verdict::Forward(forward) => {
                self.admit(ctx, *forward)?;
                // The upstream's copy is made of this one, and need not know how the client spelled each name.
                let head = session.req_header_mut();
                *head = heads::take_request(head).into();
                Ok(false)
            }
        }
    }

    async fn upstream_peer(&self, _session: &mut Session, ctx: &mut Context) -> Result<Box<HttpPeer>> {
        match &ctx.upstream {
            Some(upstream) => upstream.peer(),
            None => Err(internal("a request is forwarded to no upstream")),
        }
    }

    async fn upstream_request_filter(
        &self,
        _session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        // A retry sends again what has been counted.
        ctx.body_bytes = 0;
        ctx.body = Body::Awaited;
        let mut parts = heads::take_request(request);
        if let Some(target) = &ctx.rewritten {
            parts.uri = target.parse().map_err(|_| internal("a canonical target is not a URI"))?;
        }
        if ctx.upstream.as_ref().is_some_and(|upstream| upstream.sells) {
            strip::strip_detours(
                &mut parts.headers,
                ctx.client.as_ref().is_some_and(|client| client.trusted.is_some()),
            );
        }
        forward::strip_ours(&mut parts.headers);
        forward::strip_cookies(&mut parts.headers);
        forward::make_room(&mut parts.headers, ctx.identity.as_deref());
        if let Some(client) = &ctx.client {
            forward::add_forwarded(&mut parts.headers, client);
        }
        if let Some(upstream) = &ctx.upstream {
            forward::set_host(&mut parts.headers, &upstream.config.host);
        }
        if let Some(identity) = &ctx.identity {
            forward::add_identity(&mut parts.headers, identity);
        }
        if let Some(signer) = ctx.live.as_ref().and_then(|live| live.generation.signer.as_ref()) {
            forward::sign(&mut parts, signer, unix_seconds());
        }
        *request = parts.into();
        Ok(())
    }

    /// Counts a priced request's body that did not say its length, and sees how far any body has come.
    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Context,
    ) -> Result<()> {
        ctx.body = if end_of_stream { Body::Whole } else { Body::Begun };
        let (Some(bytes_max), Some(body)) = (ctx.body_bytes_max, body) else { return Ok(()) };
        // What goes through a WebSocket is no body.
        if session.was_upgraded() {
            return Ok(());
        }
        ctx.body_bytes = ctx.body_bytes.saturating_add(u64::try_from(body.len()).unwrap_or(u64::MAX));
        if ctx.body_bytes <= bytes_max {
            return Ok(());
        }
        self.house.metrics.refused(Limit::RequestBodyBytes);
        if answered(session).is_none() {
            // Boxed, or every forwarded request would carry it.
            let made = Box::pin(self.failed(ctx, Trouble::BodyTooLarge { bytes_max })).await;
            ctx.instead = Some(made);
        }
        ctx.outcome = Outcome::Limited;
        let mut error = Error::explain(BODY_TOO_LARGE, "the request's body is longer than what is taken");
        error.set_retry(false);
        Err(error)
    }

    /// The upstream's head: where a payment is settled, or its settlement waited for.
    async fn upstream_response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        let status = response.status;
        // Its connection is another one, and its version its own: the engine would hand both on (RFC 9110, 6.2, 7.6.1).
        if status != StatusCode::SWITCHING_PROTOCOLS {
            strip::strip_hop_by_hop(response);
        }
        if response.version < Version::HTTP_11 {
            response.set_version(Version::HTTP_11);
        }
        // 1xx heads come through here too, and are not the answer.
        if (status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS) || ctx.judged {
            return Ok(());
        }
        ctx.judged = true;
        ctx.upstream_time = ctx.asked.map(|asked| asked.elapsed());
        if let (Some(upstream), Some(elapsed)) = (&ctx.upstream, ctx.upstream_time) {
            upstream.metrics.head(elapsed);
        }
        if !ctx.private {
            return Ok(());
        }
        ctx.good = !life::refused_by_upstream(status);
        delivered::note(session, ctx);
        let mut parts = heads::take_response(response);
        forward::strip_ours(&mut parts.headers);
        if let Some(ticket) = &mut ctx.ticket {
            let waiting = Instant::now();
            // Boxed, or every forwarded request would carry a settlement's future.
            let head = Box::pin(ticket.head(status)).await;
            ctx.settle_time = Some(waiting.elapsed());
            ctx.money = ticket.money().cloned();
            match head {
                Head::Send(patch) => {
                    if ctx.money.is_none() {
                        ctx.outcome = Outcome::Released;
                    }
                    forward::patch_response(&mut parts.headers, patch);
                }
                Head::Replace(unpaid) => {
                    ctx.outcome = unpaid.outcome;
                    ctx.instead = Some(unpaid.answer);
                    let mut error = Error::explain(UNPAID, "the payment did not settle");
                    error.set_retry(false);
                    return Err(error);
                }
            }
        }
        parts.headers.reserve(2);
        forward::make_readable(&mut parts.headers);
        forward::make_private(&mut parts.headers);
        *response = parts.into();
        Ok(())
    }

    /// Before each piece is queued or written. An end without a byte may have been sent with what came before it.
    fn response_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        ctx: &mut Context,
    ) -> Result<Option<Duration>> {
        if body.as_ref().is_some_and(|body| !body.is_empty()) {
            delivered::note(session, ctx);
        }
        Ok(None)
    }

    /// Only a connection that failed before anything was sent, or a request that may be sent twice, is tried again.
    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        error: Box<Error>,
        ctx: &mut Context,
        client_reused: bool,
    ) -> Box<Error> {
        let mut error = error.more_context(format!("upstream {peer}"));
        let again = session.req_header().method.is_idempotent()
            && !session.as_ref().retry_buffer_truncated()
            && !ctx.judged
            && !is_our_own(&error);
        if again {
            error.retry.decide_reuse(client_reused);
        } else {
            error.set_retry(false);
        }
        error
    }

    /// No byte was sent: another server, where there is one, may be up.
    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Context,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.set_retry(ctx.upstream.as_ref().is_some_and(|upstream| upstream.has_alternatives()));
        error
    }

    async fn fail_to_proxy(&self, session: &mut Session, error: &Error, ctx: &mut Context) -> FailToProxy {
        let answered = answered(session).is_some();
        let trouble = failure::trouble(session, ctx, error);
        if matches!(trouble, Some(Trouble::RequestTimeout)) {
            self.house.metrics.closed(Closed::Body);
        }
        if *error.esource() == ErrorSource::Downstream && *error.etype() == ErrorType::WriteTimedout {
            self.house.metrics.closed(Closed::Send);
        }
        let made = match (ctx.instead.take(), trouble) {
            (Some(made), _) => Some(made),
            (None, Some(trouble)) if !answered => Some(self.failed(ctx, trouble).await),
            (None, _) => None,
        };
        let Some(made) = made else {
            // The client is gone, or has the head already: there is nobody to tell.
            if !answered {
                ctx.outcome = Outcome::ClientGone;
            }
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        };
        let error_code = made.status.as_u16();
        session.set_keepalive(None);
        match respond::write(session, made).await {
            Ok(lingers) => ctx.lingers = lingers,
            Err(error) => tracing::debug!(%error, "a client was gone before it could be answered"),
        }
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    /// The gateway's own refusals are its daily work, and a failed request writes its access line.
    fn suppress_error_log(&self, _session: &Session, ctx: &Context, error: &Error) -> bool {
        is_our_own(error) || matches!(ctx.outcome, Outcome::ClientGone | Outcome::BadTarget | Outcome::HeadTooLarge)
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Context) {
        let delivered = error.is_none() && ctx.good && delivered::in_full(session, ctx).await;
        if let Some(ticket) = ctx.ticket.take() {
            ticket.finish(delivered);
        }
        if let Some(undelivered) = ctx.undelivered.take() {
            undelivered.finish(delivered);
        }
        access_log::write(&self.house, session, ctx);
        // What a client goes on sending keeps nobody else from being served, and no shutdown waiting.
        ctx.in_flight = None;
        if ctx.lingers {
            // Boxed, or every request would carry it.
            Box::pin(respond::linger(session)).await;
        }
    }
}
