//! Why a request that was forwarded failed.

use http::header;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType};

use super::context::{Body, Context};
use super::respond::answered;
use crate::gate::answer::Trouble;
use crate::gate::unfit::Unfit;

/// What a request ends with when its payment did not settle: the answer has been made, the upstream's is dropped.
pub(super) const UNPAID: ErrorType = ErrorType::new("unpaid");

/// What a priced request ends with whose body turned out too long.
pub(super) const BODY_TOO_LARGE: ErrorType = ErrorType::new("body too large");

/// What the client is told; `None` where there is no client any more.
pub(super) fn trouble(session: &Session, ctx: &Context, error: &Error) -> Option<Trouble> {
    match whose(error) {
        // Over HTTP/2 the engine has no time of its own for a body that stands still.
        Some(Trouble::UpstreamTimeout)
            if answered(session).is_none() && *error.etype() == ErrorType::ReadTimedout && owes_body(session, ctx) =>
        {
            Some(Trouble::RequestTimeout)
        }
        trouble => trouble,
    }
}

/// An error by which the gateway ends a request itself.
pub(super) fn is_our_own(error: &Error) -> bool {
    [UNPAID, BODY_TOO_LARGE].contains(error.etype())
}

/// Whose fault an error is, as far as a client is told; `None` where there is no client any more.
fn whose(error: &Error) -> Option<Trouble> {
    match error.esource() {
        ErrorSource::Upstream => Some(match error.etype() {
            ErrorType::ConnectTimedout
            | ErrorType::TLSHandshakeTimedout
            | ErrorType::ReadTimedout
            | ErrorType::WriteTimedout => Trouble::UpstreamTimeout,
            ErrorType::ConnectRefused
            | ErrorType::ConnectNoRoute
            | ErrorType::ConnectError
            | ErrorType::ConnectProxyFailure
            | ErrorType::BindError
            | ErrorType::SocketError
            | ErrorType::TLSHandshakeFailure
            | ErrorType::InvalidCert
            | ErrorType::HandshakeError => Trouble::UpstreamUnreachable,
            _ => Trouble::UpstreamBroken,
        }),
        ErrorSource::Downstream => match error.etype() {
            ErrorType::WriteError
            | ErrorType::WriteTimedout
            | ErrorType::ReadError
            | ErrorType::ConnectionClosed
            | ErrorType::H2Error => None,
            ErrorType::ReadTimedout => Some(Trouble::RequestTimeout),
            _ => Some(Trouble::Unfit(Unfit::Unreadable)),
        },
        ErrorSource::Internal | ErrorSource::Unset => Some(match error.etype() {
            ErrorType::ConnectNoRoute => Trouble::UpstreamUnreachable,
            _ => Trouble::Internal,
        }),
    }
}

/// Whether the client has yet to send a part of its body, for which an upstream waits with its answer. Who asked for
/// leave to send any owes nothing before it is given.
fn owes_body(session: &Session, ctx: &Context) -> bool {
    match ctx.body {
        Body::Whole => false,
        Body::Begun => true,
        Body::Awaited => !session.req_header().headers.contains_key(header::EXPECT),
    }
}
