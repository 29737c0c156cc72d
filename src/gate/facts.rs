//! What the gate wants to know of a request.

use std::net::IpAddr;

use http::{HeaderMap, Method};
use ipnet::IpNet;
use url::Url;

use super::forwarded;
use crate::config::ClientHeader;
use crate::ledger::UnixMillis;
use crate::route::canonical::CanonicalTarget;

const X_FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED: &str = "forwarded";

/// A request's facts, borrowed from whoever speaks HTTP.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The method as sent.
    pub method: &'a Method,
    /// The origin-form target as sent: path and query.
    pub target: &'a [u8],
    /// The authority as sent, with its port if it had one.
    pub authority: &'a str,
    /// Its host in canonical form; empty where the request names none (HTTP/1.0).
    pub host: &'a str,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
    /// The address at the other end of the connection.
    pub peer: IpAddr,
    /// All header fields.
    pub headers: &'a HeaderMap,
    /// When the request arrived.
    pub now: UnixMillis,
}

impl<'a> Facts<'a> {
    /// Whether a proxy in front may speak for the client.
    pub fn from_trusted_proxy(&self, trusted: &[IpNet]) -> bool {
        let peer = self.peer.to_canonical();
        trusted.iter().any(|net| net.contains(&peer))
    }

    /// Who the client is: behind trusted proxies, whom the last of them names that is none itself; else the peer.
    ///
    /// Proxies write where a request came from at the end of a list: what stands before the last address that is not
    /// a trusted proxy's own, a stranger may have written. A list that cannot be read is believed up to there.
    pub fn client(&self, trusted: &[IpNet], header: ClientHeader) -> IpAddr {
        let peer = self.peer.to_canonical();
        let is_proxy = |address: IpAddr| trusted.iter().any(|net| net.contains(&address));
        if trusted.is_empty() || !is_proxy(peer) {
            return peer;
        }
        let named = |name: &str| self.headers.get_all(name).iter().rev();
        let simple = || named(X_FORWARDED_FOR).flat_map(|value| forwarded::x_forwarded_for(value.as_bytes()));
        let standard = || named(FORWARDED).flat_map(|value| forwarded::forwarded(value.as_bytes()));
        match header {
            ClientHeader::XForwardedFor => farthest(peer, simple(), is_proxy),
            ClientHeader::Forwarded => farthest(peer, standard(), is_proxy),
            ClientHeader::Either if self.headers.contains_key(X_FORWARDED_FOR) => farthest(peer, simple(), is_proxy),
            ClientHeader::Either => farthest(peer, standard(), is_proxy),
        }
    }

    /// `https` or `http`, as the client sees it.
    pub fn scheme(&self, trusted: &[IpNet]) -> &'static str {
        let forwarded = self.forwarded("x-forwarded-proto", trusted);
        match forwarded {
            Some(proto) if proto.eq_ignore_ascii_case("https") => "https",
            Some(proto) if proto.eq_ignore_ascii_case("http") => "http",
            _ if self.encrypted => "https",
            _ => "http",
        }
    }

    /// The URL that a challenge names: under `public_url`, else as the client sees this gateway.
    pub fn resource_url(&self, target: &CanonicalTarget<'_>, public_url: Option<&Url>, trusted: &[IpNet]) -> String {
        let [scheme, colon, authority] = match public_url {
            Some(base) => ["", "", base.as_str().trim_end_matches('/')],
            None => {
                let authority = self.forwarded("x-forwarded-host", trusted).unwrap_or(self.authority);
                [self.scheme(trusted), "://", authority]
            }
        };
        let [mark, query] = target.query().map_or(["", ""], |query| ["?", query]);
        [scheme, colon, authority, target.path(), mark, query].concat()
    }

    /// A single-valued forwarding header, believed only from a trusted proxy and only when it looks like one.
    fn forwarded(&self, name: &str, trusted: &[IpNet]) -> Option<&'a str> {
        if trusted.is_empty() || !self.from_trusted_proxy(trusted) {
            return None;
        }
        let value = self.headers.get(name)?.to_str().ok()?;
        let value = value.split(',').next()?.trim();
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']' | b'_');
        (!value.is_empty() && value.bytes().all(plain)).then_some(value)
    }
}

/// The first of these that is no proxy, or the last before what is no address.
fn farthest(peer: IpAddr, named: impl Iterator<Item = Option<IpAddr>>, is_proxy: impl Fn(IpAddr) -> bool) -> IpAddr {
    let mut client = peer;
    for address in named {
        let Some(address) = address else { break };
        client = address;
        if !is_proxy(address) {
            break;
        }
    }
    client
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts<'a>(method: &'a Method, headers: &'a HeaderMap, peer: &str) -> Facts<'a> {
        Facts {
            method,
            target: b"/a?b=c",
            authority: "Shop.Example:8080",
            host: "shop.example",
            encrypted: false,
            peer: peer.parse().unwrap(),
            headers,
            now: 0,
        }
    }

    #[test]
    fn forwarding_headers_are_believed_from_trusted_proxies_only() {
        let method = Method::GET;
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "9.9.9.9, 203.0.113.7, 10.0.0.2".parse().unwrap());
        headers.insert("x-forwarded-proto", "https".parse().unwrap());
        headers.insert("x-forwarded-host", "public.example".parse().unwrap());
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let target = CanonicalTarget::parse(b"/a?b=c").unwrap();

        let proxied = facts(&method, &headers, "10.0.0.1");
        assert_eq!(proxied.client(&trusted, ClientHeader::Either).to_string(), "203.0.113.7");
        assert_eq!(proxied.resource_url(&target, None, &trusted), "https://public.example/a?b=c");

        let stranger = facts(&method, &headers, "192.0.2.1");
        assert_eq!(stranger.client(&trusted, ClientHeader::Either).to_string(), "192.0.2.1");
        assert_eq!(stranger.resource_url(&target, None, &trusted), "http://Shop.Example:8080/a?b=c");

        let base = Url::parse("https://api.example.com/").unwrap();
        assert_eq!(proxied.resource_url(&target, Some(&base), &trusted), "https://api.example.com/a?b=c");
    }

    /// Behind 10.0.0.0/8 and 2001:db8:ff::/48: the client as the peer, `X-Forwarded-For` and `Forwarded` make it.
    #[test]
    fn the_client_is_whom_the_last_trusted_proxy_names() {
        use ClientHeader::{Either, Forwarded, XForwardedFor};
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "2001:db8:ff::/48"].map(|net| net.parse().unwrap()).into();
        type Sent<'a> = &'a [(&'static str, &'static str)];
        let cases: &[(&str, ClientHeader, Sent, &str)] = &[
            // Nobody says anything, or nobody who is believed.
            ("192.0.2.1", Either, &[], "192.0.2.1"),
            ("10.0.0.1", Either, &[], "10.0.0.1"),
            ("192.0.2.1", Either, &[("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=203.0.113.7")], "192.0.2.1"),
            ("::ffff:192.0.2.1", Either, &[], "192.0.2.1"),
            // A trusted proxy, however its address is spelt.
            ("10.0.0.1", Either, &[("x-forwarded-for", "203.0.113.7")], "203.0.113.7"),
            ("::ffff:10.0.0.1", Either, &[("x-forwarded-for", "203.0.113.7")], "203.0.113.7"),
            ("2001:db8:ff::1", Either, &[("x-forwarded-for", "2001:db8::7")], "2001:db8::7"),
            ("10.0.0.1", Either, &[("x-forwarded-for", "::ffff:203.0.113.7")], "203.0.113.7"),
            // What the client wrote itself stands before what a proxy saw.
            ("10.0.0.1", Either, &[("x-forwarded-for", "9.9.9.9, 203.0.113.7")], "203.0.113.7"),
            ("10.0.0.1", Either, &[("x-forwarded-for", "10.0.0.9, 203.0.113.7")], "203.0.113.7"),
            ("10.0.0.1", Either, &[("x-forwarded-for", "9.9.9.9, 203.0.113.7, 10.0.0.2, 10.0.0.3")], "203.0.113.7"),
            ("10.0.0.1", Either, &[("x-forwarded-for", "9.9.9.9"), ("x-forwarded-for", "203.0.113.7")], "203.0.113.7"),
            // All of them proxies: the farthest.
            ("10.0.0.1", Either, &[("x-forwarded-for", "10.0.0.9, 10.0.0.2")], "10.0.0.9"),
            // With ports, brackets and empty places.
            ("10.0.0.1", Either, &[("x-forwarded-for", "203.0.113.7:4711")], "203.0.113.7"),
            ("10.0.0.1", Either, &[("x-forwarded-for", "[2001:db8::7]:4711")], "2001:db8::7"),
            ("10.0.0.1", Either, &[("x-forwarded-for", "[2001:db8::7]")], "2001:db8::7"),
            ("10.0.0.1", Either, &[("x-forwarded-for", " , 203.0.113.7 ,, ")], "203.0.113.7"),
            // Nonsense ends the list.
            ("10.0.0.1", Either, &[("x-forwarded-for", "203.0.113.7, unknown")], "10.0.0.1"),
            ("10.0.0.1", Either, &[("x-forwarded-for", "203.0.113.7, unknown, 10.0.0.2")], "10.0.0.2"),
            ("10.0.0.1", Either, &[("x-forwarded-for", "")], "10.0.0.1"),
            ("10.0.0.1", Either, &[("x-forwarded-for", "999.0.0.1")], "10.0.0.1"),
            ("10.0.0.1", Either, &[("x-forwarded-for", "203.0.113.7:99999")], "10.0.0.1"),
            ("10.0.0.1", Either, &[("x-forwarded-for", "[203.0.113.7]")], "10.0.0.1"),
            // The standard one.
            ("10.0.0.1", Either, &[("forwarded", "for=203.0.113.7")], "203.0.113.7"),
            ("10.0.0.1", Either, &[("forwarded", "proto=https;For=203.0.113.7;by=10.0.0.1")], "203.0.113.7"),
            ("10.0.0.1", Either, &[("forwarded", "for=\"203.0.113.7:4711\"")], "203.0.113.7"),
            ("10.0.0.1", Either, &[("forwarded", "for=\"[2001:db8::7]:4711\"")], "2001:db8::7"),
            ("10.0.0.1", Either, &[("forwarded", "for=9.9.9.9, for=203.0.113.7, for=10.0.0.2")], "203.0.113.7"),
            ("10.0.0.1", Either, &[("forwarded", "for=9.9.9.9"), ("forwarded", "for=203.0.113.7")], "203.0.113.7"),
            ("10.0.0.1", Either, &[("forwarded", "for=9.9.9.9, for=unknown, for=10.0.0.2")], "10.0.0.2"),
            ("10.0.0.1", Either, &[("forwarded", "for=9.9.9.9, for=_hidden")], "10.0.0.1"),
            ("10.0.0.1", Either, &[("forwarded", "for=9.9.9.9, proto=https")], "10.0.0.1"),
            // A comma, a semicolon or an escape inside quotes begins nothing.
            ("10.0.0.1", Either, &[("forwarded", "for=203.0.113.7;x=\", for=9.9.9.9\"")], "203.0.113.7"),
            ("10.0.0.1", Either, &[("forwarded", "for=203.0.113.7;x=\"\\\", for=9.9.9.9\"")], "203.0.113.7"),
            ("10.0.0.1", Either, &[("forwarded", "for=\"9.9.9.9, for=203.0.113.7")], "10.0.0.1"),
            // Said twice in one element: said by nobody.
            ("10.0.0.1", Either, &[("forwarded", "for=203.0.113.7;for=9.9.9.9")], "10.0.0.1"),
            // Both: the one that nearly every proxy writes, unless the file names the other.
            ("10.0.0.1", Either, &[("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=9.9.9.9")], "203.0.113.7"),
            ("10.0.0.1", Forwarded, &[("x-forwarded-for", "9.9.9.9"), ("forwarded", "for=203.0.113.7")], "203.0.113.7"),
            ("10.0.0.1", Forwarded, &[("x-forwarded-for", "9.9.9.9")], "10.0.0.1"),
            ("10.0.0.1", XForwardedFor, &[("forwarded", "for=9.9.9.9")], "10.0.0.1"),
        ];
        let method = Method::GET;
        for (peer, header, sent, expected) in cases {
            let headers = sent
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)));
            let headers = headers.collect::<HeaderMap>();
            let client = facts(&method, &headers, peer).client(&trusted, *header);
            assert_eq!(client.to_string(), *expected, "{peer} {header:?} {sent:?}");
        }
    }

    #[test]
    fn a_forwarded_host_that_is_no_host_is_not_believed() {
        let method = Method::GET;
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-host", "evil.example/x?".parse().unwrap());
        let trusted: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let target = CanonicalTarget::parse(b"/a").unwrap();
        let facts = facts(&method, &headers, "10.0.0.1");
        assert_eq!(facts.resource_url(&target, None, &trusted), "http://Shop.Example:8080/a");
    }
}
