//! What an upstream sees of a request, and what a client sees of a paid response.

use std::borrow::Cow;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request;

use crate::access::strip_passes;
use crate::config::{ClientHeader, UpstreamHost};
use crate::gate::answer::{EXPOSED, FAREBOX_PAYMENT_ID};
use crate::gate::identity::{FAREBOX_SIGNATURE, Signer};
use crate::gate::life::HeadPatch;
use crate::gate::{Identity, is_ours};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

const FAREBOX_ROUTE: HeaderName = HeaderName::from_static("farebox-route");
const FAREBOX_PAYER: HeaderName = HeaderName::from_static("farebox-payer");
const FAREBOX_NETWORK: HeaderName = HeaderName::from_static("farebox-network");
const FAREBOX_ASSET: HeaderName = HeaderName::from_static("farebox-asset");
const FAREBOX_AMOUNT: HeaderName = HeaderName::from_static("farebox-amount");
const FAREBOX_TRANSACTION: HeaderName = HeaderName::from_static("farebox-transaction");

/// The longest text of an IPv4 address.
const IPV4_BYTES_MAX: usize = 15;

/// Who asked.
pub(super) struct Client {
    /// Who the client is, as far as trusted proxies say: for the log.
    pub(super) address: IpAddr,
    /// The other end of the connection.
    pub(super) peer: IpAddr,
    /// Where it says whom it speaks for; `None`: it is not believed.
    pub(super) trusted: Option<ClientHeader>,
    /// As the client sees it.
    pub(super) scheme: &'static str,
}

/// Makes room for what is added to a request, once: a map that grows under the fields copies them all.
pub(super) fn make_room(headers: &mut HeaderMap, identity: Option<&Identity>) {
    const FORWARDED_FIELDS: usize = 4;
    const SIGNATURE_FIELDS: usize = 1;
    let identity_fields: usize = match identity.map(|identity| &identity.paid) {
        None => 0,
        Some(None) => 3,
        Some(Some(_)) => 7,
    };
    headers.reserve(identity_fields.saturating_add(FORWARDED_FIELDS + SIGNATURE_FIELDS));
}

/// Takes out what only Farebox may say: of a request payments, passes and claims of who paid, of a response receipts.
pub(super) fn strip_ours(headers: &mut HeaderMap) {
    let ours: Vec<HeaderName> = headers.keys().filter(|name| is_ours(name)).cloned().collect();
    for name in &ours {
        headers.remove(name);
    }
}

/// Takes passes out of cookies, and leaves the others byte for byte.
pub(super) fn strip_cookies(headers: &mut HeaderMap) {
    if !headers.contains_key(header::COOKIE) {
        return;
    }
    let mut changed = false;
    let mut kept = Vec::new();
    for cookie in headers.get_all(header::COOKIE) {
        match strip_passes(cookie.as_bytes()) {
            Some(Cow::Borrowed(_)) => kept.push(cookie.clone()),
            Some(Cow::Owned(rest)) => {
                changed = true;
                kept.extend(HeaderValue::from_bytes(&rest).ok());
            }
            None => changed = true,
        }
    }
    if changed {
        headers.remove(header::COOKIE);
        for cookie in kept {
            headers.append(header::COOKIE, cookie);
        }
    }
}

/// Says who the client is and which authority it named, for upstreams that look. What is not a trusted proxy's word,
/// anybody may have written: upstreams do not see it.
pub(super) fn add_forwarded(headers: &mut HeaderMap, client: &Client) {
    if let Some(chain) = forwarded_for(headers, client) {
        headers.insert(X_FORWARDED_FOR, chain);
    }
    match forwarded(headers, client) {
        Some(chain) => headers.insert(header::FORWARDED, chain),
        None => headers.remove(header::FORWARDED),
    };
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(client.scheme));
    if !(client.trusted.is_some() && headers.contains_key(X_FORWARDED_HOST)) {
        match headers.get(header::HOST).cloned() {
            Some(authority) => headers.insert(X_FORWARDED_HOST, authority),
            None => headers.remove(X_FORWARDED_HOST),
        };
    }
}

/// The peer's address, behind what a trusted proxy said before.
fn forwarded_for(headers: &HeaderMap, client: &Client) -> Option<HeaderValue> {
    let believed = matches!(client.trusted, Some(ClientHeader::Either | ClientHeader::XForwardedFor));
    let mut chain = said_before(headers, &X_FORWARDED_FOR, believed);
    if !chain.is_empty() {
        write!(chain, "{}", client.peer).ok()?;
        return HeaderValue::from_bytes(&chain).ok();
    }
    // Without a proxy, as almost always.
    match client.peer {
        IpAddr::V4(peer) => HeaderValue::try_from(dotted(peer)).ok(),
        IpAddr::V6(peer) => HeaderValue::try_from(peer.to_string()).ok(),
    }
}

/// As the address shows itself, without the formatter: every request says it.
fn dotted(address: Ipv4Addr) -> String {
    let mut text = String::with_capacity(IPV4_BYTES_MAX);
    for octet in address.octets() {
        if !text.is_empty() {
            text.push('.');
        }
        text.push_str(itoa::Buffer::new().format(octet));
    }
    text
}

/// `Forwarded` (RFC 7239) with the peer's address behind what a trusted proxy said; `None` where none has said anything:
/// `X-Forwarded-For` is what upstreams look for.
fn forwarded(headers: &HeaderMap, client: &Client) -> Option<HeaderValue> {
    let believed = matches!(client.trusted, Some(ClientHeader::Either | ClientHeader::Forwarded));
    let mut chain = said_before(headers, &header::FORWARDED, believed);
    if chain.is_empty() {
        return None;
    }
    match client.peer {
        IpAddr::V4(peer) => write!(chain, "for={peer}").ok()?,
        IpAddr::V6(peer) => write!(chain, "for=\"[{peer}]\"").ok()?,
    }
    HeaderValue::from_bytes(&chain).ok()
}

/// The lines of a list in one, with room for what follows.
fn said_before(headers: &HeaderMap, name: &HeaderName, believed: bool) -> Vec<u8> {
    let mut chain = Vec::new();
    if !believed {
        return chain;
    }
    for value in headers.get_all(name) {
        chain.extend_from_slice(value.as_bytes());
        chain.extend_from_slice(b", ");
    }
    chain
}

/// Sets the `Host` that the upstream is configured to see.
pub(super) fn set_host(headers: &mut HeaderMap, host: &UpstreamHost) {
    match host {
        UpstreamHost::Keep => {}
        UpstreamHost::Set(name) => set(headers, header::HOST, name),
    }
}

/// Says who paid what.
pub(super) fn add_identity(headers: &mut HeaderMap, identity: &Identity) {
    set(headers, FAREBOX_ROUTE, &identity.route);
    set(headers, FAREBOX_PAYMENT_ID, identity.payment_id.as_str());
    if !identity.payer.is_empty() {
        set(headers, FAREBOX_PAYER, &identity.payer);
    }
    if let Some(paid) = &identity.paid {
        set(headers, FAREBOX_NETWORK, paid.network.caip2());
        set(headers, FAREBOX_ASSET, &paid.asset);
        set(headers, FAREBOX_AMOUNT, &paid.amount.to_string());
        if let Some(transaction) = &paid.transaction {
            set(headers, FAREBOX_TRANSACTION, transaction);
        }
    }
}

/// Proves to the upstream what was said of the request, which is as it goes out.
pub(super) fn sign(request: &mut request::Parts, signer: &Signer, now: u64) {
    let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
    if let Some(value) = signer.sign(&request.method, target, &request.headers, now) {
        request.headers.insert(FAREBOX_SIGNATURE, value);
    }
}

/// What is said here comes from the config or has been checked: all of it is printable.
fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Puts the settlement and the pass on a paid response.
pub(super) fn patch_response(headers: &mut HeaderMap, patch: HeadPatch) {
    headers.extend(patch.set);
    if let Some(cookie) = patch.cookie {
        headers.append(header::SET_COOKIE, cookie);
    }
    let theirs = headers.get(header::ACCESS_CONTROL_EXPOSE_HEADERS).and_then(|value| value.to_str().ok());
    let exposed = match theirs {
        Some(theirs) if !theirs.is_empty() => HeaderValue::try_from(format!("{theirs}, {EXPOSED}")).ok(),
        Some(_) | None => None,
    };
    let exposed = exposed.unwrap_or(HeaderValue::from_static(EXPOSED));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
}

/// A script that could read the challenge and pay may read what it paid for; where the upstream says who may, it does.
pub(super) fn make_readable(headers: &mut HeaderMap) {
    headers.entry(header::ACCESS_CONTROL_ALLOW_ORIGIN).or_insert(HeaderValue::from_static("*"));
}

/// What one payer paid for is not for a shared cache. What else the upstream says of caching stays said.
pub(super) fn make_private(headers: &mut HeaderMap) {
    let policy = match headers.contains_key(header::CACHE_CONTROL) {
        false => Some(HeaderValue::from_static("private")),
        true => private_policy(headers),
    };
    if let Some(policy) = policy {
        headers.insert(header::CACHE_CONTROL, policy);
    }
}

/// The upstream's directives without those for shared caches; `None` where it keeps those out itself.
fn private_policy(headers: &HeaderMap) -> Option<HeaderValue> {
    let theirs = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let mut policy = "private".to_owned();
    for directive in theirs.flat_map(|value| value.split(',')).map(str::trim).filter(|part| !part.is_empty()) {
        let name = directive.split('=').next().unwrap_or_default().trim();
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        if is("no-store") || is("private") {
            return None;
        }
        if !is("public") && !is("s-maxage") {
            policy.push_str(", ");
            policy.push_str(directive);
        }
    }
    HeaderValue::try_from(policy).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    proptest! {
        #[test]
        fn an_address_is_written_as_it_shows_itself(address in any::<Ipv4Addr>()) {
            prop_assert_eq!(dotted(address), address.to_string());
        }
    }

    #[test]
    fn what_one_payer_paid_for_is_kept_out_of_shared_caches_and_no_less_strictly() {
        for (theirs, ours) in [
            (&[][..], "private"),
            (&["public, max-age=60"], "private, max-age=60"),
            (&["s-maxage=9, max-age=60"], "private, max-age=60"),
            (&["no-cache, must-revalidate"], "private, no-cache, must-revalidate"),
            (&["max-age=1", "immutable"], "private, max-age=1, immutable"),
            (&["No-Store"], "No-Store"),
            (&["private, max-age=5"], "private, max-age=5"),
        ] {
            let mut headers: HeaderMap =
                theirs.iter().map(|value| (header::CACHE_CONTROL, HeaderValue::from_static(value))).collect();
            make_private(&mut headers);
            assert_eq!(headers.get(header::CACHE_CONTROL).unwrap(), ours, "{theirs:?}");
        }
    }

    #[test]
    fn only_a_trusted_proxy_adds_to_who_forwarded() {
        let sent = [
            ("host", "api.example"),
            ("x-forwarded-for", "203.0.113.9"),
            ("x-forwarded-host", "front.example"),
            ("forwarded", "for=203.0.113.9"),
        ];
        let two = ("203.0.113.9, 10.0.0.1", "front.example", Some("for=203.0.113.9, for=10.0.0.1"));
        for (trusted, (chain, host, forwarded)) in [
            (Some(ClientHeader::Either), two),
            (Some(ClientHeader::XForwardedFor), (two.0, two.1, None)),
            (Some(ClientHeader::Forwarded), ("10.0.0.1", two.1, two.2)),
            (None, ("10.0.0.1", "api.example", None)),
        ] {
            let address: IpAddr = [10, 0, 0, 1].into();
            let mut headers = headers(&sent);
            add_forwarded(&mut headers, &Client { address, peer: address, trusted, scheme: "https" });
            assert_eq!(headers.get(X_FORWARDED_FOR).unwrap(), chain);
            assert_eq!(headers.get(X_FORWARDED_HOST).unwrap(), host);
            assert_eq!(headers.get(X_FORWARDED_PROTO).unwrap(), "https");
            let said = headers.get(header::FORWARDED).map(|value| value.to_str().unwrap());
            assert_eq!(said, forwarded, "{trusted:?}");
        }
        let peer: IpAddr = "2001:db8::1".parse().unwrap();
        let mut headers = headers(&[("forwarded", "for=203.0.113.9")]);
        let trusted = Some(ClientHeader::Either);
        add_forwarded(&mut headers, &Client { address: peer, peer, trusted, scheme: "https" });
        assert_eq!(headers.get(header::FORWARDED).unwrap(), "for=203.0.113.9, for=\"[2001:db8::1]\"");
    }

    #[test]
    fn nothing_of_a_request_passes_for_farebox_and_other_cookies_stay() {
        let mut headers = headers(&[
            ("farebox-payer", "0x1"),
            ("farebox_payer", "0x1"),
            ("x_forwarded_for", "1.2.3.4"),
            ("payment-signature", "e30="),
            ("x-payment", "e30="),
            ("cookie", "a=1; farebox-pass-00aa11bb=token; b=2"),
            ("x-other", "stays"),
        ]);
        strip_ours(&mut headers);
        strip_cookies(&mut headers);
        assert_eq!(headers.len(), 2, "{headers:?}");
        assert_eq!(headers.get(header::COOKIE).unwrap(), "a=1; b=2");
    }
}
