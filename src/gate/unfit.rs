//! Why a request is refused before it is judged: it could be read in two ways, or it asks for what no proxy should do.

use http::StatusCode;

/// What is wrong with a request's head. The connection is closed behind the answer: where a head has two readings,
/// so has what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unfit {
    /// HTTP/1.1 without `Host` (RFC 9112 section 3.2), HTTP/2 without `:authority`.
    #[error("the request names no host: HTTP/1.1 wants a `Host` field")]
    NoHost,
    /// An authority that names no host.
    #[error("the request's host is none: a name, an IPv4 address or an IPv6 address in brackets, perhaps with a port")]
    NotAHost,
    /// `CONNECT`, or a target in authority-form.
    #[error("the gateway does not tunnel")]
    Tunnel,
    /// `TRACE` echoes what the gateway tells its upstream (RFC 9110 section 9.3.8).
    #[error("the gateway does not forward TRACE")]
    Trace,
    /// A line that ends in LF alone: other servers take it for the middle of a line.
    #[error("a line of the request's head ends in LF without CR")]
    BareLineFeed,
    /// `Content-Length` beside `Transfer-Encoding` (RFC 9112 section 6.1).
    #[error("the request has a Content-Length and a Transfer-Encoding")]
    TwoFramings,
    /// Several `Content-Length`, or a list of lengths.
    #[error("the request has more than one Content-Length")]
    ContentLength,
    /// Any `Transfer-Encoding` but one of `chunked`.
    #[error("the request has a Transfer-Encoding other than `chunked`")]
    TransferEncoding,
    /// `Connection` names a field that the gateway answers for, too many fields, or something that is no name.
    #[error("the request's Connection field names what it must not")]
    Connection,
    /// More than `[server] header_bytes`, or more fields than are read.
    #[error("the request's head is larger than this gateway reads")]
    HeadTooLarge,
    /// Anything else that the engine cannot read.
    #[error("the request cannot be read")]
    Unreadable,
}

impl Unfit {
    /// Every reason, for tables and tests.
    pub const ALL: [Unfit; 11] = [
        Unfit::NoHost,
        Unfit::NotAHost,
        Unfit::Tunnel,
        Unfit::Trace,
        Unfit::BareLineFeed,
        Unfit::TwoFramings,
        Unfit::ContentLength,
        Unfit::TransferEncoding,
        Unfit::Connection,
        Unfit::HeadTooLarge,
        Unfit::Unreadable,
    ];

    /// The machine-readable code. `Display` is a sentence for people.
    pub fn reason(self) -> &'static str {
        match self {
            Unfit::NoHost => "no_host",
            Unfit::NotAHost => "not_a_host",
            Unfit::Tunnel => "tunnel",
            Unfit::Trace => "trace",
            Unfit::BareLineFeed => "bare_line_feed",
            Unfit::TwoFramings => "two_framings",
            Unfit::ContentLength => "content_length",
            Unfit::TransferEncoding => "transfer_encoding",
            Unfit::Connection => "connection",
            Unfit::HeadTooLarge => "head_too_large",
            Unfit::Unreadable => "unreadable",
        }
    }

    /// What it is answered with.
    pub fn status(self) -> StatusCode {
        match self {
            Unfit::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            // Not 405, which would have to name the methods that the upstream knows.
            Unfit::Trace => StatusCode::NOT_IMPLEMENTED,
            Unfit::NoHost
            | Unfit::NotAHost
            | Unfit::Tunnel
            | Unfit::BareLineFeed
            | Unfit::TwoFramings
            | Unfit::ContentLength
            | Unfit::TransferEncoding
            | Unfit::Connection
            | Unfit::Unreadable => StatusCode::BAD_REQUEST,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_distinct() {
        let codes: std::collections::HashSet<_> = Unfit::ALL.iter().map(|unfit| unfit.reason()).collect();
        assert_eq!(codes.len(), Unfit::ALL.len());
    }
}
