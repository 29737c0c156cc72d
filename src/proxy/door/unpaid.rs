//! An unpaid request and its answer.

use std::net::IpAddr;
use std::time::Instant;

use http::{HeaderName, Method, header};
use pingora::protocols::http::date::get_cached_date;

use super::Door;
use super::head::{Fields, Head};
use crate::gate::answer::Answer;
use crate::gate::facts::Facts;
use crate::gate::unix_millis;
use crate::gate::unpaid::Priced;
use crate::proxy::live::Live;
use crate::route::host::canonical_host;
use crate::telemetry::{AccessLine, Outcome};

/// Bytes of a head besides the values of its fields, more than enough: memory that grows is copied.
const HEAD_BYTES: usize = 512;

/// A request that is answered with a challenge.
pub(super) struct Unpaid {
    /// All of the answer.
    pub(super) reply: Vec<u8>,
    /// Whether the connection is kept.
    pub(super) keeps: bool,
    /// Bytes that the request took.
    pub(super) request_bytes: usize,
    status: u16,
    body_bytes: usize,
    route: usize,
    /// For the log, where there is one.
    asked: Option<Asked>,
}

/// Who asked for what.
struct Asked {
    method: Method,
    host: String,
    path: String,
    client: IpAddr,
}

impl Door {
    /// `None`: there is more to this request than a challenge.
    pub(super) fn judge(&self, live: &Live, head: &Head<'_>) -> Option<Unpaid> {
        let server = &live.generation.config.server;
        if head.bytes() > server.header_bytes || self.house.in_flight() >= server.requests_in_flight {
            return None;
        }
        let host = canonical_host(head.authority).ok()?;
        let priced = Priced::find(&live.generation, &head.method, &host, head.target, head.names())?;
        let Fields { headers, keeps } = head.fields()?;
        let facts = Facts {
            method: &head.method,
            target: head.target,
            authority: head.authority,
            host: &host,
            encrypted: self.encrypted,
            peer: self.peer,
            headers: &headers,
            now: unix_millis(),
        };
        let answer = priced.challenge(&facts)?;
        let asked = AccessLine::is_written().then(|| Asked {
            method: head.method.clone(),
            host: host.clone().into_owned(),
            path: priced.path().to_owned(),
            client: facts.client(&server.trusted_proxies, server.client_header),
        });
        let status = answer.status.as_u16();
        let body_bytes = if head.method == Method::HEAD { 0 } else { answer.body.len() };
        let reply = serialize(&answer, body_bytes, keeps);
        Some(Unpaid { reply, keeps, request_bytes: head.bytes(), status, body_bytes, route: priced.index(), asked })
    }
}

impl Unpaid {
    /// Counts it, and writes its line into the log; `read` is when its head had been.
    pub(super) fn tell(&self, live: &Live, read: Instant) {
        let Some(route) = live.generation.route(self.route) else { return };
        route.metrics.count(Outcome::Challenge);
        let Some(asked) = &self.asked else { return };
        AccessLine {
            method: asked.method.as_str(),
            host: &asked.host,
            path: &asked.path,
            route: Some(&route.route.name),
            outcome: Outcome::Challenge,
            status: Some(self.status),
            bytes_sent: u64::try_from(self.body_bytes).unwrap_or(u64::MAX),
            duration: read.elapsed(),
            upstream: None,
            settle: None,
            payer: None,
            payment_id: None,
            network: None,
            amount: None,
            transaction: None,
            client: Some(asked.client),
        }
        .emit();
    }
}

/// An answer as the engine writes it, with so much of its body.
fn serialize(answer: &Answer, body_bytes: usize, keeps: bool) -> Vec<u8> {
    let values = answer.headers.iter().map(|(_, value)| value.len()).fold(HEAD_BYTES, usize::saturating_add);
    let mut reply = Vec::with_capacity(values.saturating_add(body_bytes));
    let mut put = |parts: [&[u8]; 4]| parts.iter().for_each(|part| reply.extend_from_slice(part));
    let reason = answer.status.canonical_reason().unwrap_or_default();
    put([b"HTTP/1.1 ", answer.status.as_str().as_bytes(), b" ", reason.as_bytes()]);
    for (name, value) in &answer.headers {
        put([b"\r\n", spelled(name).as_bytes(), b": ", value.as_bytes()]);
    }
    put([b"\r\n", b"Content-Length", b": ", itoa::Buffer::new().format(answer.body.len()).as_bytes()]);
    put([b"\r\n", b"Date", b": ", get_cached_date().as_bytes()]);
    put([b"\r\n", b"Connection", b": ", if keeps { b"keep-alive" } else { b"close" }]);
    put([b"\r\n", b"\r\n", answer.body.get(..body_bytes).unwrap_or_default(), b""]);
    reply
}

/// A name as the engine spells it.
fn spelled(name: &HeaderName) -> &str {
    match *name {
        header::CONTENT_TYPE => "Content-Type",
        header::CACHE_CONTROL => "Cache-Control",
        _ => name.as_str(),
    }
}
