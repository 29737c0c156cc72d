//! Keeping web pages away from `POST /reload`.
//!
//! A browser on the operator's machine can reach a loopback listener, and any page can make it send a POST. Browsers
//! mark such a request with `Origin`. A page whose own name was pointed at 127.0.0.1 (DNS rebinding) has a matching
//! `Origin`, but then its name stands in `Host`.

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue};

/// Why a request may come from somebody else's web page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Foreign {
    #[error("the Host header must be one IP address or localhost, with or without a port")]
    Host,
    #[error("the Origin header names another site")]
    Origin,
}

/// Lets through what no foreign web page can send.
pub(super) fn check(headers: &HeaderMap) -> Result<(), Foreign> {
    let host = only(headers.get_all(HOST).iter()).ok_or(Foreign::Host)?;
    if !is_local_name(host) {
        return Err(Foreign::Host);
    }
    if !headers.contains_key(ORIGIN) {
        return Ok(());
    }
    let origin = only(headers.get_all(ORIGIN).iter()).ok_or(Foreign::Origin)?;
    let site = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")).ok_or(Foreign::Origin)?;
    if site.eq_ignore_ascii_case(host) { Ok(()) } else { Err(Foreign::Origin) }
}

fn only<'a>(mut values: impl Iterator<Item = &'a HeaderValue>) -> Option<&'a str> {
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

fn is_local_name(host: &str) -> bool {
    if host.contains('@') {
        return false;
    }
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Line = (http::HeaderName, &'static str);

    fn headers(lines: &[Line]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn only_what_no_web_page_can_send_gets_through() {
        let cases: &[(&[Line], Result<(), Foreign>)] = &[
            (&[(HOST, "127.0.0.1:9090")], Ok(())),
            (&[(HOST, "10.1.2.3")], Ok(())),
            (&[(HOST, "[::1]:9090")], Ok(())),
            (&[(HOST, "LOCALHOST:9090")], Ok(())),
            (&[(HOST, "localhost:9090"), (ORIGIN, "http://localhost:9090")], Ok(())),
            (&[(HOST, "127.0.0.1:9090"), (ORIGIN, "https://127.0.0.1:9090")], Ok(())),
            (&[], Err(Foreign::Host)),
            (&[(HOST, "")], Err(Foreign::Host)),
            (&[(HOST, "evil.example:9090")], Err(Foreign::Host)),
            (&[(HOST, "evil.example:9090"), (ORIGIN, "http://evil.example:9090")], Err(Foreign::Host)),
            (&[(HOST, "localhost.evil.example")], Err(Foreign::Host)),
            (&[(HOST, "127.0.0.1.evil.example")], Err(Foreign::Host)),
            (&[(HOST, "evil.example@127.0.0.1")], Err(Foreign::Host)),
            (&[(HOST, "127.0.0.1"), (HOST, "127.0.0.1")], Err(Foreign::Host)),
            (&[(HOST, "localhost:9090"), (ORIGIN, "http://evil.example")], Err(Foreign::Origin)),
            (&[(HOST, "localhost:9090"), (ORIGIN, "http://localhost:3000")], Err(Foreign::Origin)),
            (&[(HOST, "localhost:9090"), (ORIGIN, "null")], Err(Foreign::Origin)),
            (&[(HOST, "localhost:9090"), (ORIGIN, "")], Err(Foreign::Origin)),
            (
                &[(HOST, "localhost"), (ORIGIN, "http://localhost"), (ORIGIN, "http://evil.example")],
                Err(Foreign::Origin),
            ),
        ];
        for (lines, expected) in cases {
            assert_eq!(check(&headers(lines)), *expected, "{lines:?}");
        }
    }
}
