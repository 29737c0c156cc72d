//! What the gate wants to know of a request.

use std::net::IpAddr;

use http::{HeaderMap, Method};
use ipnet::IpNet;
use url::Url;

use crate::ledger::UnixMillis;
use crate::route::canonical::CanonicalTarget;

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
        trusted.iter().any(|net| net.contains(&self.peer))
    }

    /// Who the client is: the last address of `X-Forwarded-For` that is not a trusted proxy, else the peer.
    pub fn client(&self, trusted: &[IpNet]) -> IpAddr {
        if !self.from_trusted_proxy(trusted) {
            return self.peer;
        }
        let mut client = self.peer;
        for value in self.headers.get_all("x-forwarded-for").iter().rev() {
            let Ok(value) = value.to_str() else { break };
            for part in value.rsplit(',') {
                let Ok(address) = part.trim().parse::<IpAddr>() else { return client };
                client = address;
                if !trusted.iter().any(|net| net.contains(&address)) {
                    return client;
                }
            }
        }
        client
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
        let mut url = match public_url {
            Some(base) => base.as_str().trim_end_matches('/').to_owned(),
            None => {
                let authority = self.forwarded("x-forwarded-host", trusted).unwrap_or(self.authority);
                format!("{}://{authority}", self.scheme(trusted))
            }
        };
        url.push_str(target.path());
        if let Some(query) = target.query() {
            url.push('?');
            url.push_str(query);
        }
        url
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
        assert_eq!(proxied.client(&trusted).to_string(), "203.0.113.7");
        assert_eq!(proxied.resource_url(&target, None, &trusted), "https://public.example/a?b=c");

        let stranger = facts(&method, &headers, "192.0.2.1");
        assert_eq!(stranger.client(&trusted).to_string(), "192.0.2.1");
        assert_eq!(stranger.resource_url(&target, None, &trusted), "http://Shop.Example:8080/a?b=c");

        let base = Url::parse("https://api.example.com/").unwrap();
        assert_eq!(proxied.resource_url(&target, Some(&base), &trusted), "https://api.example.com/a?b=c");
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
