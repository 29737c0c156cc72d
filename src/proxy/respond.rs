//! Writing the gateway's own answers.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};

use crate::gate::answer::Answer;

/// A request body up to this many bytes is read and thrown away: a client that is still sending would see a reset
/// connection instead of its answer.
const DRAIN_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// How long that may take.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Fields that Pingora adds to every response: `Date` and `Connection`.
const PINGORAS_FIELDS: usize = 2;

/// Writes an answer instead of what an upstream would say.
pub(super) async fn write(session: &mut Session, answer: Answer) -> Result<()> {
    let bodiless = session.req_header().method == Method::HEAD;
    let drains = small_body(&session.req_header().headers);
    if drains {
        session.set_close_on_response_before_downstream_finish(false);
        session.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
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
    // Pingora does it by itself where it keeps the connection, and only there.
    if drains && downstream.as_http1().is_some_and(|http1| !http1.will_keepalive()) {
        // The answer has gone out: whether the rest of the request comes is the client's affair.
        let _ = downstream.drain_request_body().await;
    }
    Ok(())
}

/// A body that is announced, small and on its way. One that waits for a `100 Continue` may never come.
fn small_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    length.is_some_and(|bytes| bytes <= DRAIN_BYTES_MAX) && !headers.contains_key(header::EXPECT)
}

/// An error that ends a request whose answer has been or will be written elsewhere.
pub(super) fn internal(what: &'static str) -> Box<Error> {
    Error::explain(ErrorType::InternalError, what)
}
