//! The phases of a request, as Pingora calls them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use bytes::Bytes;
use http::{StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, Result};

use super::access_log;
use super::context::Context;
use super::forward::{self, Client};
use super::heads;
use super::house::House;
use super::listener::Clock;
use super::respond::{self, internal};
use crate::gate::answer::{Answer, Trouble};
use crate::gate::facts::Facts;
use crate::gate::life::{self, Head};
use crate::gate::{Entry, Forward, Verdict, unix_millis, unix_seconds};
use crate::route::host::canonical_host;
use crate::telemetry::{Closed, Limit, Outcome};

/// What a request ends with when its payment did not settle: the answer has been made, the upstream's is dropped.
const UNPAID: ErrorType = ErrorType::new("unpaid");

/// What a priced request ends with whose body turned out too long.
const BODY_TOO_LARGE: ErrorType = ErrorType::new("body too large");

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
        if let Some(clock) = clock_of(session) {
            clock.head_came();
        }
        let live = self.house.live();
        let limits = &live.generation.config.server.connections;
        session.set_read_timeout(Some(limits.body_timeout));
        session.set_write_timeout(Some(limits.send_timeout));
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
            let request = session.req_header();
            let host = host_of(request);
            let facts = host.as_ref().and_then(|(authority, host)| facts_of(session, request, authority, host));
            let Some(facts) = facts else {
                let trouble = Trouble::BadRequest("the request names no host, or is not one that a proxy forwards");
                return answer(session, ctx, Answer::trouble(&trouble, None), Outcome::BadTarget).await;
            };
            let server = &live.generation.config.server;
            let trusted = &server.trusted_proxies;
            ctx.client = Some(Client {
                address: facts.client(trusted, server.client_header),
                peer: facts.peer,
                trusted: facts.from_trusted_proxy(trusted),
                scheme: facts.scheme(trusted),
            });
            self.house.gate.decide(&live.generation, &facts).await
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
        let mut parts = heads::take_request(request);
        if let Some(target) = &ctx.rewritten {
            parts.uri = target.parse().map_err(|_| internal("a canonical target is not a URI"))?;
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

    /// Counts a priced request's body that did not say its length.
    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        _end_of_stream: bool,
        ctx: &mut Context,
    ) -> Result<()> {
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
        if session.response_written().is_none() {
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
        _session: &mut Session,
        response: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> Result<()> {
        let status = response.status;
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
        let trouble = trouble_of(error);
        if matches!(trouble, Some(Trouble::RequestTimeout)) {
            self.house.metrics.closed(Closed::Body);
        }
        let made = match (ctx.instead.take(), trouble) {
            (Some(made), _) => Some(made),
            (None, Some(trouble)) if session.response_written().is_none() => Some(self.failed(ctx, trouble).await),
            (None, _) => None,
        };
        let Some(made) = made else {
            // The client is gone, or has the head already: there is nobody to tell.
            if session.response_written().is_none() {
                ctx.outcome = Outcome::ClientGone;
            }
            return FailToProxy { error_code: 0, can_reuse_downstream: false };
        };
        let error_code = made.status.as_u16();
        session.set_keepalive(None);
        if let Err(error) = respond::write(session, made).await {
            tracing::debug!(%error, "a client was gone before it could be answered");
        }
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    /// The gateway's own refusals are its daily work, and a failed request writes its access line.
    fn suppress_error_log(&self, _session: &Session, ctx: &Context, error: &Error) -> bool {
        is_our_own(error) || matches!(ctx.outcome, Outcome::ClientGone | Outcome::BadTarget)
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Context) {
        if let Some(ticket) = ctx.ticket.take() {
            ticket.finish(error.is_none() && ctx.good);
        }
        access_log::write(&self.house, session, ctx);
    }
}

impl Gateway {
    /// Takes over what the gate decided of a request that is forwarded.
    fn admit(&self, ctx: &mut Context, forward: Forward) -> Result<()> {
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
            Entry::Window(identity) => {
                ctx.private = true;
                ctx.payment = Some(identity.payment_id.clone());
                ctx.identity = Some(identity);
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
    async fn failed(&self, ctx: &mut Context, trouble: Trouble) -> Answer {
        ctx.outcome = match trouble {
            Trouble::BadRequest(_) => Outcome::BadTarget,
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

async fn answer(session: &mut Session, ctx: &mut Context, made: Answer, outcome: Outcome) -> Result<bool> {
    ctx.outcome = outcome;
    respond::write(session, made).await?;
    Ok(true)
}

/// What watches the connection that a request came on.
fn clock_of(session: &Session) -> Option<&Clock> {
    let digest = session.digest()?.proxy_digest.as_ref()?;
    digest.user_data.as_ref()?.downcast_ref::<Arc<Clock>>().map(|clock| &**clock)
}

/// The authority that a request names, and its host in canonical form; `None` where that is no host, or missing.
fn host_of(request: &RequestHeader) -> Option<(&str, Cow<'_, str>)> {
    let authority = match request.headers.get(header::HOST) {
        Some(host) => host.to_str().ok()?,
        None => match request.uri.authority() {
            Some(authority) => authority.as_str(),
            // HTTP/1.0 knew no `Host`.
            None if request.version < Version::HTTP_11 => return Some(("", Cow::Borrowed(""))),
            None => return None,
        },
    };
    Some((authority, canonical_host(authority).ok()?))
}

/// `None` for a request that is not for a reverse proxy (`CONNECT`).
fn facts_of<'a>(
    session: &'a Session,
    request: &'a RequestHeader,
    authority: &'a str,
    host: &'a str,
) -> Option<Facts<'a>> {
    if request.method == http::Method::CONNECT {
        return None;
    }
    Some(Facts {
        method: &request.method,
        target: origin_form(request.raw_path()),
        authority,
        host,
        encrypted: session.digest().is_some_and(|digest| digest.ssl_digest.is_some()),
        peer: session.client_addr()?.as_inet()?.ip().to_canonical(),
        headers: &request.headers,
        now: unix_millis(),
    })
}

/// Path and query of an absolute-form target (RFC 9112 section 3.2.2); any other target as it is.
fn origin_form(target: &[u8]) -> &[u8] {
    let scheme = [&b"http://"[..], &b"https://"[..]];
    let after_scheme = scheme.iter().find_map(|scheme| {
        let (head, rest) = target.split_at_checked(scheme.len())?;
        head.eq_ignore_ascii_case(scheme).then_some(rest)
    });
    match after_scheme {
        None => target,
        Some(rest) => match rest.iter().position(|byte| matches!(byte, b'/' | b'?')) {
            Some(at) => rest.get(at..).unwrap_or_default(),
            None => b"/",
        },
    }
}

/// An error by which the gateway ends a request itself.
fn is_our_own(error: &Error) -> bool {
    [UNPAID, BODY_TOO_LARGE].contains(error.etype())
}

/// Whose fault an error is, as far as a client is told; `None` where there is no client any more.
fn trouble_of(error: &Error) -> Option<Trouble> {
    match error.esource() {
        ErrorSource::Upstream => Some(match error.etype() {
            ErrorType::ConnectTimedout
            | ErrorType::TLSHandshakeTimedout
            | ErrorType::ReadTimedout
            | ErrorType::WriteTimedout => Trouble::UpstreamTimeout,
            ErrorType::ConnectRefused
            | ErrorType::ConnectNoRoute
            | ErrorType::ConnectError
            | ErrorType::ConnectProxyFailure
            | ErrorType::BindError
            | ErrorType::SocketError
            | ErrorType::TLSHandshakeFailure
            | ErrorType::InvalidCert
            | ErrorType::HandshakeError => Trouble::UpstreamUnreachable,
            _ => Trouble::UpstreamBroken,
        }),
        ErrorSource::Downstream => match error.etype() {
            ErrorType::WriteError
            | ErrorType::WriteTimedout
            | ErrorType::ReadError
            | ErrorType::ConnectionClosed
            | ErrorType::H2Error => None,
            ErrorType::ReadTimedout => Some(Trouble::RequestTimeout),
            _ => Some(Trouble::BadRequest("the request cannot be read")),
        },
        ErrorSource::Internal | ErrorSource::Unset => Some(match error.etype() {
            ErrorType::ConnectNoRoute => Trouble::UpstreamUnreachable,
            _ => Trouble::Internal,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absolute_target_is_read_from_its_path_on() {
        for (target, read) in [
            ("/a?b", "/a?b"),
            ("http://host/a?b", "/a?b"),
            ("HTTPS://host:1/a", "/a"),
            ("http://host", "/"),
            ("http://host?q", "?q"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(origin_form(target.as_bytes()), read.as_bytes(), "{target:?}");
        }
    }
}
