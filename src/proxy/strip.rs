//! What does not pass through: fields that concern one connection, and those by which a backend is led astray.

use http::header::{self, HeaderMap, HeaderName};
use pingora::http::ResponseHeader;

/// Fields by which some backends take another URL or method than the request line's.
///
/// `X-Original-URL` and `X-Rewrite-URL` are read by IIS and by frameworks that grew up behind it (Symfony, Zend),
/// the override of a method by nearly every framework, the `X-Forwarded-` kin by what expects a proxy that routes.
/// A priced resource could be had over a free route with any of them.
const DETOURS: [&str; 25] = [
    "x-original-url",
    "x-original-uri",
    "x-original-path",
    "x-original-method",
    "x-ms-original-url",
    "x-rewrite-url",
    "x-rewrite-uri",
    "x-override-url",
    "x-request-uri",
    "x-request-path",
    "x-proxy-url",
    "x-replaced-path",
    "x-script-name",
    "x-path-info",
    "x-http-destinationurl",
    "x-waws-unencoded-url",
    "x-envoy-original-path",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-forwarded-method",
    "x-forwarded-path",
    "x-forwarded-uri",
    "x-forwarded-url",
    X_FORWARDED_PREFIX,
];

/// Only the base of links that a backend writes: a trusted proxy may say it.
const X_FORWARDED_PREFIX: &str = "x-forwarded-prefix";

/// Fields of a response that are about the connection to the upstream alone (RFC 9110 section 7.6.1). The engine reads
/// `Transfer-Encoding` to frame the body anew, and writes a `Connection` of its own.
static HOP_BY_HOP: [HeaderName; 7] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
];

/// Takes out of a request what could lead a backend that sells something to another resource.
pub(super) fn strip_detours(headers: &mut HeaderMap, from_trusted_proxy: bool) {
    let is_detour = |name: &&HeaderName| is_detour(name.as_str(), from_trusted_proxy);
    let detours: Vec<HeaderName> = headers.keys().filter(is_detour).cloned().collect();
    for name in &detours {
        headers.remove(name);
    }
}

fn is_detour(name: &str, from_trusted_proxy: bool) -> bool {
    if !name.starts_with(['x', 'X']) {
        return false;
    }
    let known = |name: &str| DETOURS.contains(&name) && !(from_trusted_proxy && name == X_FORWARDED_PREFIX);
    // CGI and WSGI read `x_original_url` alike.
    if name.contains('_') { DETOURS.contains(&&*name.replace('_', "-")) } else { known(name) }
}

/// Takes out of a response what concerns the connection that it came by, and what its `Connection` names; never what
/// frames it.
pub(super) fn strip_hop_by_hop(response: &mut ResponseHeader) {
    let mut hops: Vec<HeaderName> = response.headers.keys().filter(|name| HOP_BY_HOP.contains(name)).cloned().collect();
    if hops.contains(&header::CONNECTION) {
        let values = response.headers.get_all(header::CONNECTION).iter();
        let named = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
        // Found above where there is such a field, and almost always all that is named.
        let named = named.filter(|name| !name.eq_ignore_ascii_case(b"keep-alive"));
        let frames = |name: &HeaderName| matches!(*name, header::CONTENT_LENGTH | header::TRANSFER_ENCODING);
        hops.extend(named.filter_map(|name| HeaderName::from_bytes(name).ok()).filter(|name| !frames(name)));
    }
    for name in &hops {
        response.remove_header(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_backend_is_not_led_to_another_resource() {
        for name in DETOURS {
            for spelling in [name.to_owned(), name.replace('-', "_")] {
                assert!(is_detour(&spelling, false), "{spelling}");
            }
        }
        for name in ["x-original-host", "x-requested-with", "x-request-id", "x-forwarded-for", "original-url"] {
            assert!(!is_detour(name, false), "{name}");
        }
        for (name, trusted) in [("x-forwarded-prefix", false), ("x_forwarded_prefix", true), ("x-original-url", true)] {
            assert!(is_detour(name, trusted), "{name}");
        }
        assert!(!is_detour("x-forwarded-prefix", true));
    }

    #[test]
    fn a_response_keeps_its_framing_and_loses_its_connection() {
        let fields = [
            ("connection", "close, X-Hop, Content-Length, transfer-encoding, not a name"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("trailer", "x-sum"),
            ("upgrade", "h2c"),
            ("x-hop", "1"),
            ("x-end", "1"),
            ("content-length", "5"),
            ("transfer-encoding", "chunked"),
        ];
        let mut response = ResponseHeader::build(200, None).unwrap();
        for (name, value) in fields {
            response.insert_header(name, value).unwrap();
        }
        strip_hop_by_hop(&mut response);
        let mut left: Vec<&str> = response.headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "transfer-encoding", "x-end"]);
    }
}
