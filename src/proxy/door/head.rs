//! The heads of requests that the door may answer: a `GET` or `HEAD` without a body, in one reading.
//!
//! Everything else is the proxy's, whole and untouched: it reads what is longer or odder, and refuses what has two
//! readings. So this may be as strict as it likes, and never has to say why.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::proxy::request::check_lines;

/// The most fields of a head that is looked at. A browser sends about twenty.
const FIELDS_MAX: usize = 32;

/// What has come of a request.
pub(crate) enum Seen<T> {
    /// Not all of its head.
    Part,
    /// A plain one, and what was made of it.
    Plain(T),
    /// Something else.
    Other,
}

/// The head of a plain request.
pub(crate) struct Head<'a> {
    /// `GET` or `HEAD`.
    pub(crate) method: Method,
    /// Path and query as sent: an origin-form.
    pub(crate) target: &'a [u8],
    /// The only `Host`, as sent.
    pub(crate) authority: &'a str,
    /// All of it, with the empty line.
    came: &'a [u8],
    fields: &'a [httparse::Header<'a>],
}

/// A plain head's fields.
pub(crate) struct Fields {
    pub(crate) headers: HeaderMap,
    /// Whether the connection is kept (RFC 9112 section 9.3).
    pub(crate) keeps: bool,
}

/// Shows a plain head to `make`, which may find that it is none of the door's after all.
pub(crate) fn read<T>(came: &[u8], make: impl FnOnce(Head<'_>) -> Option<T>) -> Seen<T> {
    let mut room = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut room);
    match request.parse(came) {
        Ok(httparse::Status::Complete(bytes)) => {
            plain(came, bytes, &request).and_then(make).map_or(Seen::Other, Seen::Plain)
        }
        Ok(httparse::Status::Partial) => Seen::Part,
        Err(_) => Seen::Other,
    }
}

fn plain<'a>(came: &'a [u8], bytes: usize, request: &'a httparse::Request<'_, 'a>) -> Option<Head<'a>> {
    let method = match request.method? {
        "GET" => Method::GET,
        "HEAD" => Method::HEAD,
        _ => return None,
    };
    let target = request.path?.as_bytes();
    if request.version != Some(1) || !target.starts_with(b"/") {
        return None;
    }
    let came = came.get(..bytes)?;
    check_lines(came, false).ok()?;
    let mut hosts = request.headers.iter().filter(|field| field.name.eq_ignore_ascii_case("host"));
    let authority = std::str::from_utf8(hosts.next()?.value).ok()?;
    if hosts.next().is_some() {
        return None;
    }
    Some(Head { method, target, authority, came, fields: request.headers })
}

impl Head<'_> {
    /// Of it, with the empty line.
    pub(crate) fn bytes(&self) -> usize {
        self.came.len()
    }

    /// Its fields' names, as sent.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|field| field.name)
    }

    /// All fields; `None` where one of them asks for more than an answer.
    pub(crate) fn fields(&self) -> Option<Fields> {
        let mut headers = HeaderMap::with_capacity(self.fields.len());
        let mut keeps = true;
        // One copy for all values.
        let came = Bytes::copy_from_slice(self.came);
        for field in self.fields {
            let name = HeaderName::from_bytes(field.name.as_bytes()).ok()?;
            let begin = field.value.as_ptr().addr().checked_sub(self.came.as_ptr().addr())?;
            let value = came.get(begin..)?.get(..field.value.len())?;
            let value = HeaderValue::from_maybe_shared(came.slice_ref(value)).ok()?;
            match name {
                header::CONTENT_LENGTH | header::TRANSFER_ENCODING | header::EXPECT | header::UPGRADE => return None,
                header::CONNECTION if headers.contains_key(header::CONNECTION) => return None,
                header::CONNECTION if value.as_bytes().eq_ignore_ascii_case(b"close") => keeps = false,
                header::CONNECTION if value.as_bytes().eq_ignore_ascii_case(b"keep-alive") => {}
                header::CONNECTION => return None,
                _ => {}
            }
            headers.append(name, value);
        }
        Some(Fields { headers, keeps })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read of a head: its target, its authority and whether the connection is kept.
    fn look(came: &[u8]) -> Seen<(String, String, bool, usize)> {
        read(came, |head| {
            let fields = head.fields()?;
            assert_eq!(fields.headers[header::HOST], head.authority);
            let target = String::from_utf8_lossy(head.target).into_owned();
            Some((target, head.authority.to_owned(), fields.keeps, head.bytes()))
        })
    }

    #[test]
    fn a_get_or_head_without_a_body_is_plain() {
        for (came, keeps) in [
            ("GET /a?b=c HTTP/1.1\r\nHost: Shop:80\r\n\r\n", true),
            ("HEAD /a?b=c HTTP/1.1\r\nhost: Shop:80\r\nConnection: Keep-Alive\r\n\r\n", true),
            ("GET /a?b=c HTTP/1.1\r\nAccept: */*\r\nHOST:Shop:80\r\nconnection: CLOSE\r\n\r\n", false),
        ] {
            let Seen::Plain(seen) = look(came.as_bytes()) else { panic!("{came:?}") };
            assert_eq!(seen, ("/a?b=c".to_owned(), "Shop:80".to_owned(), keeps, came.len()), "{came:?}");
            for end in 0..came.len() {
                assert!(matches!(look(&came.as_bytes()[..end]), Seen::Part), "{:?}", &came[..end]);
            }
            let Seen::Plain((.., bytes)) = look(format!("{came}GET /next").as_bytes()) else { panic!("{came:?}") };
            assert_eq!(bytes, came.len(), "what follows is another request's");
        }
    }

    #[test]
    fn everything_else_is_the_proxys() {
        let long = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(FIELDS_MAX));
        for came in [
            "POST / HTTP/1.1\r\nHost: a\r\n\r\n",
            "OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n",
            "get / HTTP/1.1\r\nHost: a\r\n\r\n",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
            "GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET * HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\nHost: a\n\n",
            "GET / HTTP/1.1\r\nHost : a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, host\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: \u{e9}\0\r\n\r\n",
            &long,
        ] {
            assert!(matches!(look(came.as_bytes()), Seen::Other), "{came:?}");
        }
    }
}
