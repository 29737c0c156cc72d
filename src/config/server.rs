//! `[server]`: the listener that clients speak to.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use url::Url;

use super::connection::{self, Connections};
use super::declared::Declarations;
use super::diagnostic::Diagnostic;
use super::listen::{self, Admin};
use super::peers;
use super::rate::{self, Rate};
use super::secret::{self, Secret};
use super::section::{At, Keys, Reader, Section, Text};
use super::tls::Tls;
use super::upstream::Upstream;

/// `[server]`: the listener that clients speak to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where it listens without TLS. A change needs a restart.
    pub listen: Vec<SocketAddr>,
    /// Where it listens with TLS, and its certificate.
    pub tls: Option<Tls>,
    /// What a connection may take.
    pub connections: Connections,
    /// What challenges advertise: a base whose path does not end in a slash, except that [`Url`] always writes
    /// the root as `/`. `None`: taken from the request.
    pub public_url: Option<Url>,
    /// What is done with a request that no route matches.
    pub unmatched: Unmatched,
    /// Whose `X-Forwarded-*` and `Forwarded` are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Where they say who the client is.
    pub client_header: ClientHeader,
    /// Worker threads; a change needs a restart. `None`: one per core.
    pub threads: Option<usize>,
    /// How long a shutdown waits for requests in flight.
    pub drain_timeout: Duration,
    /// Bytes of a payment header's value that are read; a longer one is refused.
    pub payment_header_bytes: usize,
    /// Bytes of a request's head, its request line included; a larger one is refused.
    pub header_bytes: usize,
    /// Settled payments with a window that are known without asking the ledger.
    pub receipts_in_memory: usize,
    /// Each signs what upstreams are told of a request; none: nothing is signed.
    pub upstream_secrets: Vec<Secret>,
    /// Bytes of a request's body on a priced route.
    pub request_body_bytes: u64,
    /// Requests that may be in flight at once, on all listeners together.
    pub requests_in_flight: usize,
    /// How often one client address may bring a payment that the ledger and a facilitator are asked about.
    pub payment_limit: Rate,
}

/// Where a trusted proxy says who the client is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientHeader {
    /// In `X-Forwarded-For` where there is one, else in `Forwarded` (RFC 7239).
    Either,
    /// In `X-Forwarded-For` alone.
    XForwardedFor,
    /// In `Forwarded` alone.
    Forwarded,
}

/// What is done with a request that no route matches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unmatched {
    /// 404.
    Deny,
    /// Forwarded free of charge to this upstream (`unmatched_upstream`; may be left out where there is only one).
    Free {
        /// The `[upstreams.NAME]`.
        upstream: Arc<str>,
    },
}

pub(super) const SERVER: Keys = Keys {
    section: "[server]",
    names: &[
        "listen",
        "public_url",
        "unmatched",
        "unmatched_upstream",
        "trusted_proxies",
        "client_header",
        "threads",
        "drain_timeout",
        "payment_header_bytes",
        "receipts_in_memory",
        "tls",
        "connections",
        "header_timeout",
        "idle_timeout",
        "body_timeout",
        "send_timeout",
        "proxy_protocol",
        "upstream_secret",
        "request_body_bytes",
        "requests_in_flight",
        "payment_limit",
        "header_bytes",
    ],
};

const DRAIN_DEFAULT: Duration = Duration::from_secs(30);
const PAYMENT_HEADER_BYTES_DEFAULT: usize = 16 * 1024;
/// A signed payment is about 1 KiB; a smart account's is several.
const PAYMENT_HEADER_BYTES: std::ops::RangeInclusive<u64> = 1024..=256 * 1024;
/// What an answer reads of a body that nobody wants: who sends no more can read it.
const REQUEST_BODY_BYTES_DEFAULT: u64 = 16 * 1024 * 1024;
const REQUEST_BODY_BYTES: std::ops::RangeInclusive<u64> = 0..=1024 * 1024 * 1024 * 1024;
/// About 60 KiB each.
const REQUESTS_IN_FLIGHT_DEFAULT: usize = 10_000;
const REQUESTS_IN_FLIGHT: std::ops::RangeInclusive<u64> = 1..=1_000_000;
/// More than any honest caller, and too few to fill a facilitator's calls in flight.
const PAYMENT_LIMIT_DEFAULT: Rate = Rate { count: 100, per: Duration::from_secs(1) };
const HEADER_BYTES_DEFAULT: usize = 64 * 1024;
/// The engine reads no more than 1 MiB.
const HEADER_BYTES: std::ops::RangeInclusive<u64> = 4 * 1024..=1024 * 1024 - 1;
const THREADS: std::ops::RangeInclusive<u64> = 1..=1024;
const RECEIPTS_DEFAULT: usize = 100_000;
/// From the least that makes sense in a test to what a large machine's memory holds.
const RECEIPTS: std::ops::RangeInclusive<u64> = 1..=100_000_000;

const PUBLIC_URL_HELP: &str = "write the address that clients use, such as \"https://api.example.com\"";

const PROXIES: peers::Words = peers::Words {
    help: "write addresses or networks, such as [\"10.0.0.0/8\", \"192.0.2.7\"]",
    everybody: "everybody is a trusted proxy: any client can choose the host that challenges advertise",
    instead: "name the networks of your own proxies",
};

/// The two listeners, and where the file has what later checks point at.
pub(super) struct Listeners<'a> {
    /// `unmatched` is [`Unmatched::Deny`] until [`read_unmatched`] has been asked: it refers to upstreams.
    pub(super) server: Server,
    pub(super) section: Section<'a>,
    pub(super) public_url_at: Option<At<()>>,
    /// Of `[server]`, with and without TLS.
    pub(super) listen: Vec<At<SocketAddr>>,
    pub(super) admin: Admin,
}

/// Reads `[server]` and `[admin]`.
pub(super) fn read<'a>(reader: &mut Reader<'_>, root: &Section<'a>) -> Listeners<'a> {
    let section = root.section(reader, "server", &SERVER);
    let mut listen = listen::read_plain(reader, &section);
    let plain = listen.iter().map(|at| at.value).collect();
    let tls = listen::read_tls(reader, &section, &mut listen);
    let public_url = section.text(reader, "public_url", PUBLIC_URL_HELP);
    let payment_header_bytes = section.whole(reader, "payment_header_bytes", PAYMENT_HEADER_BYTES);
    let header_bytes = section.whole(reader, "header_bytes", HEADER_BYTES);
    report_no_room(reader, payment_header_bytes.as_ref(), header_bytes.as_ref());
    let server = Server {
        listen: plain,
        tls,
        connections: connection::read(reader, &section),
        public_url: public_url.as_ref().and_then(|text| public_url_of(reader, text)),
        unmatched: Unmatched::Deny,
        trusted_proxies: peers::read(reader, &section, "trusted_proxies", &PROXIES),
        client_header: read_client_header(reader, &section),
        threads: section.whole(reader, "threads", THREADS).and_then(|at| usize::try_from(at.value).ok()),
        drain_timeout: section.timeout(reader, "drain_timeout", DRAIN_DEFAULT),
        payment_header_bytes: bytes(payment_header_bytes.as_ref(), PAYMENT_HEADER_BYTES_DEFAULT),
        header_bytes: bytes(header_bytes.as_ref(), HEADER_BYTES_DEFAULT),
        receipts_in_memory: section
            .whole(reader, "receipts_in_memory", RECEIPTS)
            .and_then(|at| usize::try_from(at.value).ok())
            .unwrap_or(RECEIPTS_DEFAULT),
        upstream_secrets: secret::read_upstream_secrets(reader, &section),
        request_body_bytes: section
            .whole(reader, "request_body_bytes", REQUEST_BODY_BYTES)
            .map_or(REQUEST_BODY_BYTES_DEFAULT, |at| at.value),
        requests_in_flight: section.size(reader, "requests_in_flight", REQUESTS_IN_FLIGHT, REQUESTS_IN_FLIGHT_DEFAULT),
        payment_limit: rate::read(reader, &section, "payment_limit", PAYMENT_LIMIT_DEFAULT),
    };
    let public_url_at = public_url.map(|text| At { value: (), span: text.span });
    let admin = listen::read_admin(reader, root, &listen);
    Listeners { server, section, public_url_at, listen, admin }
}

fn bytes(said: Option<&At<u64>>, default: usize) -> usize {
    said.and_then(|at| usize::try_from(at.value).ok()).unwrap_or(default)
}

/// A payment travels in the head: one of the size that is promised has to fit in.
fn report_no_room(reader: &mut Reader<'_>, payment: Option<&At<u64>>, head: Option<&At<u64>>) {
    let wanted = bytes(payment, PAYMENT_HEADER_BYTES_DEFAULT);
    let Some(at) = payment.or(head).filter(|_| bytes(head, HEADER_BYTES_DEFAULT) <= wanted) else { return };
    reader.report(Diagnostic::error(
        at.span.clone(),
        format!("no head has room for a payment of {wanted} bytes"),
        "make `header_bytes` (65536 where left out) larger than `payment_header_bytes` (16384 where left out)",
    ));
}

fn public_url_of(reader: &mut Reader<'_>, text: &Text) -> Option<Url> {
    let mut url = web_url(reader, text, PUBLIC_URL_HELP)?;
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    Some(url)
}

/// An `http://` or `https://` URL without credentials, query or fragment.
pub(super) fn web_url(reader: &mut Reader<'_>, text: &Text, help: &str) -> Option<Url> {
    let url = Url::parse(&text.value).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let Some(url) = url else {
        reader.report(Diagnostic::error(text.span.clone(), "not an http:// or https:// URL", help));
        return None;
    };
    let surplus = if !url.username().is_empty() || url.password().is_some() {
        "a user or a password has no place in this URL"
    } else if url.query().is_some() {
        "a query has no place here"
    } else if url.fragment().is_some() {
        "a fragment has no place here"
    } else {
        return Some(url);
    };
    reader.report(Diagnostic::error(text.span.clone(), surplus, help));
    None
}

/// Reads `unmatched` and what it refers to.
pub(super) fn read_unmatched(
    reader: &mut Reader<'_>,
    section: &Section<'_>,
    upstreams: &Declarations<Upstream>,
) -> Unmatched {
    #[derive(Clone, Copy)]
    enum Mode {
        Deny,
        Free,
    }
    let mode = section.choice(reader, "unmatched", &[("deny", Mode::Deny), ("free", Mode::Free)]);
    let named = section.text(reader, "unmatched_upstream", "write the NAME of an [upstreams.NAME]");
    match mode.as_ref().map_or(Mode::Deny, |mode| mode.value) {
        Mode::Deny => {
            if named.is_some() {
                reader.report(Diagnostic::warning(
                    section.key_span("unmatched_upstream"),
                    "`unmatched_upstream` has no effect while `unmatched` is \"deny\"",
                    "write `unmatched = \"free\"` to forward what no route matches, or take it out",
                ));
            }
            Unmatched::Deny
        }
        Mode::Free => {
            let upstream = match &named {
                Some(named) => upstreams.find(reader, named),
                None => upstreams.only(),
            };
            match upstream {
                Some((name, _)) => Unmatched::Free { upstream: name.clone() },
                None => {
                    if section.value("unmatched_upstream").is_none() {
                        reader.report(Diagnostic::absence(
                            mode.map_or(section.span.clone(), |mode| mode.span),
                            "`unmatched = \"free\"` does not say where to forward to",
                            "add `unmatched_upstream` with the NAME of an [upstreams.NAME]",
                        ));
                    }
                    Unmatched::Deny
                }
            }
        }
    }
}

fn read_client_header(reader: &mut Reader<'_>, section: &Section<'_>) -> ClientHeader {
    let headers = [("X-Forwarded-For", ClientHeader::XForwardedFor), ("Forwarded", ClientHeader::Forwarded)];
    let Some(header) = section.choice(reader, "client_header", &headers) else { return ClientHeader::Either };
    if section.value("trusted_proxies").is_none() {
        reader.report(Diagnostic::warning(
            section.key_span("client_header"),
            "`client_header` has no effect without `trusted_proxies`: nobody's word is taken for who a client is",
            "name the networks of your own proxies in `trusted_proxies`, or take it out",
        ));
    }
    header.value
}
