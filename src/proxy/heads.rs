//! Heads without the spelling of their names.
//!
//! Pingora keeps how each field's name was spelled in a second map beside the fields, clones both for the upstream
//! and looks names up in both at each change. Names are equal in any case (RFC 9110 section 5.1): a head that is taken
//! out and put back has one map.

use http::{request, response};
use pingora::http::{RequestHeader, ResponseHeader};

/// Takes a request's head out; what is left is empty.
pub(super) fn take_request(head: &mut RequestHeader) -> request::Parts {
    let (empty, ()) = http::Request::new(()).into_parts();
    std::mem::replace(head, empty.into()).into()
}

/// Takes a response's head out; what is left is empty.
pub(super) fn take_response(head: &mut ResponseHeader) -> response::Parts {
    let (empty, ()) = http::Response::new(()).into_parts();
    std::mem::replace(head, empty.into()).into()
}
