//! What a request's head must be before anybody judges it: one framing, one authority, one target.
//!
//! The engine refuses by itself, with 400 and a closed connection: folded lines, a space before a colon, several
//! `Host`, a `Host` that is not the target's authority, user information in either, lengths that differ or are no
//! numbers, a `Transfer-Encoding` in HTTP/1.0 or one that does not end in `chunked`, more than 256 fields, more than
//! 1 MiB. What it mends or lets pass is refused here.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, Method, Version, header};
use pingora::http::RequestHeader;
use pingora::http::authority::{RawTargetAuthority, raw_target_authority};
use pingora::proxy::Session;

use crate::gate::facts::Facts;
use crate::gate::unfit::Unfit;
use crate::gate::unix_millis;
use crate::route::host::canonical_host;

/// The most fields of a head. The engine's own limit is 256.
pub(super) const FIELDS_MAX: usize = 128;

/// The most names in `Connection`. The engine refuses more, but only when the request is on its way to an upstream, and
/// its payment may be settled by then.
const NOMINATIONS_MAX: usize = 9;

/// What HTTP/2 counts for each field besides its name and value (RFC 9113 section 6.5.2).
const FIELD_OVERHEAD: usize = 32;

/// Where a request wants to go, as it says itself.
pub(super) struct Addressed<'a> {
    /// Path and query, whatever the target's form.
    pub(super) target: Cow<'a, [u8]>,
    /// As sent; empty where HTTP/1.0 names none.
    pub(super) authority: &'a str,
    /// Its host in canonical form.
    pub(super) host: Cow<'a, str>,
}

impl<'a> Addressed<'a> {
    /// Reads a request that has been [checked](check).
    pub(super) fn read(request: &'a RequestHeader) -> Result<Addressed<'a>, Unfit> {
        let raw = request.raw_path();
        let (target, named) = match raw_target_authority(raw) {
            RawTargetAuthority::None => (Cow::Borrowed(raw), None),
            RawTargetAuthority::Absolute { scheme, authority, path_and_query } if is_http(scheme) => {
                (origin_form(path_and_query), Some(authority))
            }
            // Left whole: it does not start with a slash, and has no canonical form.
            RawTargetAuthority::Absolute { .. } | RawTargetAuthority::AmbiguousAuthority => (Cow::Borrowed(raw), None),
        };
        let authority = match (request.headers.get(header::HOST), request.uri.authority(), named) {
            (Some(host), _, _) => host.to_str().map_err(|_| Unfit::NotAHost)?,
            (None, Some(authority), _) => authority.as_str(),
            // HTTP/1.0 knew no `Host`. A later version has one, also beside an absolute-form (RFC 9112 section 3.2).
            (None, None, _) if request.version >= Version::HTTP_11 => return Err(Unfit::NoHost),
            (None, None, Some(named)) => std::str::from_utf8(named).map_err(|_| Unfit::NotAHost)?,
            (None, None, None) => return Ok(Addressed { target, authority: "", host: Cow::Borrowed("") }),
        };
        let host = canonical_host(authority).map_err(|_| Unfit::NotAHost)?;
        Ok(Addressed { target, authority, host })
    }

    /// Whether the engine would forward this target; else the canonical one has to be set, even where nothing in it
    /// was changed.
    pub(super) fn is_forwarded_as_it_is(&self, request: &RequestHeader) -> bool {
        request.uri.path_and_query().is_some_and(|sent| sent.as_str().as_bytes() == &*self.target)
    }

    /// What the gate wants to know; `None` where the client's address is unknown.
    pub(super) fn facts(&'a self, session: &'a Session) -> Option<Facts<'a>> {
        let request = session.req_header();
        Some(Facts {
            method: &request.method,
            target: &self.target,
            authority: self.authority,
            host: &self.host,
            encrypted: session.digest().is_some_and(|digest| digest.ssl_digest.is_some()),
            peer: session.client_addr()?.as_inet()?.ip().to_canonical(),
            headers: &request.headers,
            now: unix_millis(),
        })
    }
}

/// Refuses what has two readings, and what is larger than `header_bytes`.
pub(super) fn check(session: &Session, header_bytes: usize) -> Result<(), Unfit> {
    let request = session.req_header();
    let raw = session.as_downstream().as_http1().map(|http1| http1.get_headers_raw_bytes());
    let bytes = raw.as_deref().map_or_else(|| list_bytes(request), <[u8]>::len);
    if bytes > header_bytes || request.headers.len() > FIELDS_MAX {
        return Err(Unfit::HeadTooLarge);
    }
    let named = Named::of(&request.headers);
    if let Some(raw) = &raw {
        check_lines(raw, named.transfer_encoding)?;
    }
    if named.transfer_encoding || named.content_length {
        check_framing(&request.headers)?;
    }
    if named.connection {
        check_nominations(&request.headers)?;
    }
    match &request.method {
        &Method::CONNECT => Err(Unfit::Tunnel),
        // In any case, as routes match methods.
        method if method.as_str().eq_ignore_ascii_case("TRACE") => Err(Unfit::Trace),
        _ => Ok(()),
    }
}

/// Which fields there are of those that are looked into here: one look at each name costs less than a search for each
/// field.
#[derive(Default)]
struct Named {
    connection: bool,
    content_length: bool,
    transfer_encoding: bool,
}

impl Named {
    fn of(headers: &HeaderMap) -> Named {
        let mut named = Named::default();
        for name in headers.keys() {
            match *name {
                header::CONNECTION => named.connection = true,
                header::CONTENT_LENGTH => named.content_length = true,
                header::TRANSFER_ENCODING => named.transfer_encoding = true,
                _ => {}
            }
        }
        named
    }
}

/// The size of a head that came compressed.
fn list_bytes(request: &RequestHeader) -> usize {
    request.headers.iter().fold(request.raw_path().len(), |bytes, (name, value)| {
        bytes.saturating_add(name.as_str().len()).saturating_add(value.len()).saturating_add(FIELD_OVERHEAD)
    })
}

/// Every line ends in CR LF, and a `Transfer-Encoding` stands alone: the engine takes a `Content-Length` beside it out
/// before anybody sees it.
pub(super) fn check_lines(head: &[u8], chunked: bool) -> Result<(), Unfit> {
    let mut begin = 0;
    for feed in memchr::memchr_iter(b'\n', head) {
        let line = head.get(begin..feed).and_then(|line| line.strip_suffix(b"\r")).ok_or(Unfit::BareLineFeed)?;
        let is_length = || line.get(..15).is_some_and(|start| start.eq_ignore_ascii_case(b"content-length:"));
        if chunked && is_length() {
            return Err(Unfit::TwoFramings);
        }
        begin = feed.saturating_add(1);
    }
    // The last line ends, too.
    if begin == head.len() { Ok(()) } else { Err(Unfit::BareLineFeed) }
}

fn check_framing(headers: &HeaderMap) -> Result<(), Unfit> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next()
        && (lengths.next().is_some() || !length.as_bytes().iter().all(u8::is_ascii_digit))
    {
        return Err(Unfit::ContentLength);
    }
    let mut encodings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(encoding) = encodings.next()
        && (encodings.next().is_some() || !encoding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Err(Unfit::TransferEncoding);
    }
    Ok(())
}

/// What `Connection` names is taken out before the gateway adds its own fields, so a client cannot have those dropped.
/// It must not drop those that say where a request goes and whence it came either.
fn check_nominations(headers: &HeaderMap) -> Result<(), Unfit> {
    let values = headers.get_all(header::CONNECTION).iter();
    let names = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    for (at, name) in names.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty()).enumerate() {
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        if at >= NOMINATIONS_MAX || !name.iter().all(token) {
            return Err(Unfit::Connection);
        }
        let Ok(name) = HeaderName::from_bytes(name) else { return Err(Unfit::Connection) };
        if matches!(name.as_str(), "host" | "x-forwarded-for" | "x-forwarded-host" | "x-forwarded-proto") {
            return Err(Unfit::Connection);
        }
    }
    Ok(())
}

/// The path and query of an absolute-form, which may leave the path out (RFC 9112 section 3.2.2).
fn origin_form(path_and_query: &[u8]) -> Cow<'_, [u8]> {
    match path_and_query.first() {
        None => Cow::Borrowed(b"/"),
        Some(b'/') => Cow::Borrowed(path_and_query),
        Some(_) => Cow::Owned([b"/", path_and_query].concat()),
    }
}

fn is_http(scheme: &[u8]) -> bool {
    scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(target: &str, version: Version, host: Option<&str>) -> Result<(String, String), Unfit> {
        let mut request = RequestHeader::build("GET", target.as_bytes(), None).unwrap();
        request.set_version(version);
        if let Some(host) = host {
            request.insert_header("host", host).unwrap();
        }
        let addressed = Addressed::read(&request)?;
        Ok((String::from_utf8(addressed.target.to_vec()).unwrap(), addressed.host.into_owned()))
    }

    #[test]
    fn an_absolute_target_is_read_from_its_path_on() {
        for (sent, target) in [
            ("/a?b", "/a?b"),
            ("http://host/a?b", "/a?b"),
            ("HTTPS://host:1/a", "/a"),
            ("http://host", "/"),
            ("http://host?q", "/?q"),
            ("http://host//a", "//a"),
            ("*", "*"),
            ("host:80", "host:80"),
            ("ws://host/a", "ws://host/a"),
            ("ftp://host/a", "ftp://host/a"),
            ("http:/a", "http:/a"),
            ("http:///a", "http:///a"),
            ("http://a\\b/c", "http://a\\b/c"),
        ] {
            let read = read(sent, Version::HTTP_11, Some("host"));
            assert_eq!(read, Ok((target.to_owned(), "host".to_owned())), "{sent:?}");
        }
    }

    #[test]
    fn only_http_1_0_may_leave_the_host_out() {
        let host = |host: &str| Ok(host.to_owned());
        for (target, version, sent, expected) in [
            ("/", Version::HTTP_11, Some("A.example:80"), host("a.example")),
            ("/", Version::HTTP_11, None, Err(Unfit::NoHost)),
            ("http://a.example/", Version::HTTP_11, None, Err(Unfit::NoHost)),
            ("/", Version::HTTP_10, None, host("")),
            ("http://a.example/", Version::HTTP_10, None, host("a.example")),
            ("/", Version::HTTP_10, Some("a.example"), host("a.example")),
            ("/", Version::HTTP_11, Some(""), Err(Unfit::NotAHost)),
            ("/", Version::HTTP_11, Some("a.example/b"), Err(Unfit::NotAHost)),
            ("/", Version::HTTP_11, Some("a.example, b.example"), Err(Unfit::NotAHost)),
            ("http://[::1/", Version::HTTP_10, None, Err(Unfit::NotAHost)),
        ] {
            let read = read(target, version, sent).map(|(_, host)| host);
            assert_eq!(read, expected, "{target} {version:?} {sent:?}");
        }
    }

    #[test]
    fn a_head_is_read_in_lines_that_end_in_crlf() {
        for (head, chunked, expected) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", false, Ok(())),
            ("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", false, Ok(())),
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", false, Err(Unfit::BareLineFeed)),
            ("GET / HTTP/1.1\r\nHost: a\n\r\n", false, Err(Unfit::BareLineFeed)),
            ("GET / HTTP/1.1\r\nHost: a\r\n\n", false, Err(Unfit::BareLineFeed)),
            ("GET / HTTP/1.1\r\nContent-Length: 1\r\n\r\n", false, Ok(())),
            ("GET / HTTP/1.1\r\ncontent-LENGTH: 1\r\n\r\n", true, Err(Unfit::TwoFramings)),
            ("GET / HTTP/1.1\r\nX-Content-Length: 1\r\n\r\n", true, Ok(())),
        ] {
            assert_eq!(check_lines(head.as_bytes(), chunked), expected, "{head:?}");
        }
    }

    #[test]
    fn a_body_has_one_framing() {
        for (fields, expected) in [
            (&[("content-length", "5")][..], Ok(())),
            (&[("content-length", "5"), ("content-length", "5")], Err(Unfit::ContentLength)),
            (&[("content-length", "5, 5")], Err(Unfit::ContentLength)),
            (&[("content-length", "+5")], Err(Unfit::ContentLength)),
            (&[("content-length", "0x5")], Err(Unfit::ContentLength)),
            (&[("transfer-encoding", "chunked")], Ok(())),
            (&[("transfer-encoding", "Chunked")], Ok(())),
            (&[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")], Err(Unfit::TransferEncoding)),
            (&[("transfer-encoding", "gzip, chunked")], Err(Unfit::TransferEncoding)),
            (&[("transfer-encoding", "\u{b}chunked")], Err(Unfit::TransferEncoding)),
        ] {
            assert_eq!(check_framing(&headers(fields)), expected, "{fields:?}");
        }
    }

    #[test]
    fn connection_names_fields_of_the_clients_own() {
        for (value, expected) in [
            ("close", Ok(())),
            ("keep-alive, X-Hop, farebox-payment-id", Ok(())),
            (", ,", Ok(())),
            ("Host", Err(Unfit::Connection)),
            ("x-forwarded-FOR", Err(Unfit::Connection)),
            ("\"x-forwarded-for\"", Err(Unfit::Connection)),
            ("a b", Err(Unfit::Connection)),
            (":authority", Err(Unfit::Connection)),
            ("a,b,c,d,e,f,g,h,i", Ok(())),
            ("a,b,c,d,e,f,g,h,i,j", Err(Unfit::Connection)),
        ] {
            assert_eq!(check_nominations(&headers(&[("connection", value)])), expected, "{value}");
        }
    }

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let value = |value: &str| http::HeaderValue::from_maybe_shared(bytes::Bytes::from(value.to_owned()));
        let field = |(name, text): &(&'static str, &str)| {
            let printable = value(text).unwrap_or(http::HeaderValue::from_static("\tchunked"));
            (HeaderName::from_static(name), printable)
        };
        fields.iter().map(field).collect()
    }
}
