//! Writing the gateway's own answers.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use crate::gate::answer::Answer;

/// So many bytes of a request's body are read and thrown away behind an answer: a client that is still sending would
/// see a reset connection instead of it.
const LINGER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How long that may take.
const LINGER_TIMEOUT: Duration = Duration::from_secs(10);

/// Fields that Pingora adds to every response: `Date` and `Connection`.
const PINGORAS_FIELDS: usize = 2;

/// Writes an answer instead of what an upstream would say; whether [`linger`] is to follow.
pub(super) async fn write(session: &mut Session, answer: Answer) -> Result<bool> {
    let bodiless = session.req_header().method == Method::HEAD;
    // A body that waits for a `100 Continue` may never come.
    let comes = !session.is_body_empty()
        && (session.response_written().is_some() || !session.req_header().headers.contains_key(header::EXPECT));
    if comes && is_short(&session.req_header().headers) {
        // Pingora reads it, and keeps the connection.
        session.set_close_on_response_before_downstream_finish(false);
        session.set_total_drain_timeout(Some(LINGER_TIMEOUT));
    }
    // Not with Pingora's own methods: they copy each name for its spelling, also where none is kept.
    let (mut head, ()) = http::Response::new(()).into_parts();
    head.status = answer.status;
    head.headers.reserve(answer.headers.len().saturating_add(PINGORAS_FIELDS + 1));
    for (name, value) in answer.headers {
        head.headers.append(name, value);
    }
    if answer.status != StatusCode::NO_CONTENT {
        head.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(answer.body.len()));
    }
    let downstream = session.as_downstream_mut();
    downstream.write_response_header(Box::new(ResponseHeader::from(head))).await?;
    let body = if bodiless { bytes::Bytes::new() } else { answer.body };
    downstream.write_response_body(body, true).await?;
    Ok(comes && downstream.as_http1().is_some_and(|http1| !http1.will_keepalive()))
}

/// The head of what a client was answered. An interim response is no answer, except the one that changes the protocol.
pub(super) fn answered(session: &Session) -> Option<&ResponseHeader> {
    let is_final =
        |head: &&ResponseHeader| !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS;
    session.response_written().filter(is_final)
}

/// Reads the rest of a request's body, of which nobody wants anything, before its connection is closed: until it ends,
/// the client does, or it is too much.
pub(super) async fn linger(session: &mut Session) {
    let downstream = session.as_downstream_mut();
    let rest = async {
        let mut left = LINGER_BYTES_MAX;
        while left > 0 {
            let Ok(Some(piece)) = downstream.read_request_body().await else { return };
            left = left.saturating_sub(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        }
    };
    // The answer has gone out: whether the rest comes is the client's affair.
    let _ = tokio::time::timeout(LINGER_TIMEOUT, rest).await;
}

/// Whether a body announces that it is read to its end.
fn is_short(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    length.is_some_and(|bytes| bytes <= LINGER_BYTES_MAX)
}

/// An error that ends a request whose answer has been or will be written elsewhere.
pub(super) fn internal(what: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InternalError, what)
}
