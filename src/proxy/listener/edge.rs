//! One connection between its socket and the proxy.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::BytesMut;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp as _};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::protocols::{ALPN, Stream};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;

use super::clock::Clock;
use crate::proxy::door::{Door, Next};
use crate::proxy::gateway::Gateway;

/// What an HTTP/2 connection begins with (RFC 9113 section 3.4).
pub(super) const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Requests that one HTTP/2 connection may have open; RFC 9113 section 6.5.2 asks for no fewer.
const H2_STREAMS_MAX: u32 = 100;

/// Bytes that HTTP/2 decodes of a head beyond `header_bytes`: for the pseudo-fields, which are not
/// [counted](crate::proxy::request::check), and so that who sends a little too much is told why. Beyond it the engine
/// answers 431 without a body.
const H2_HEADER_LIST_BYTES_BESIDES: usize = 4 * 1024;

/// Streams that a client may reset before they were looked at, and afterwards: more end the connection
/// (CVE-2023-44487).
const H2_RESETS_MAX: usize = 20;

/// HTTP/2 streams that may be ended for a fault of the client's: more end the connection (CVE-2025-8671).
const H2_FAULTS_MAX: usize = 100;

/// The proxy as one connection sees it.
pub(super) struct Edge {
    proxy: Arc<HttpProxy<Gateway>>,
    clock: Arc<Clock>,
    /// The largest head that is read; what a reload changes of it holds for later connections, and in
    /// the [check](crate::proxy::request::check) for this one.
    header_bytes: usize,
    options: HttpServerOptions,
}

impl Edge {
    pub(super) fn new(proxy: Arc<HttpProxy<Gateway>>, clock: Arc<Clock>, header_bytes: usize) -> Edge {
        let mut options = HttpServerOptions::default();
        options.h2c = true;
        Edge { proxy, clock, header_bytes, options }
    }

    /// Serves a connection to its end.
    pub(super) async fn serve(self: &Arc<Self>, mut stream: Stream, door: &Door, stopping: &ShutdownWatch) {
        if is_http2(&mut stream).await {
            self.process_new(stream, stopping).await;
            return;
        }
        let mut came = BytesMut::new();
        while door.answer(&mut stream, &mut came, stopping).await == Next::Request {
            let mut session = ServerSession::new_http1(stream);
            session.set_pipelined_prefix(std::mem::take(&mut came));
            // The clock watches it.
            session.set_keepalive(Some(KEEPALIVE_WITHOUT_END));
            let Some(kept) = self.proxy.process_new_http(session, stopping).await else { return };
            (stream, _) = kept.consume();
            self.clock.next_request();
        }
    }
}

/// What the client has chosen, in the handshake or by the first bytes.
async fn is_http2(stream: &mut Stream) -> bool {
    if stream.get_ssl_digest().is_some() {
        return matches!(stream.selected_alpn_proto(), Some(ALPN::H2));
    }
    let mut begin = [0; H2_PREFACE.len()];
    matches!(stream.try_peek(&mut begin).await, Ok(true)) && begin == H2_PREFACE
}

#[async_trait]
impl HttpServerApp for Edge {
    /// One stream of HTTP/2.
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let _open = self.clock.open_stream();
        self.proxy.process_new_http(session, shutdown).await
    }

    /// Asked for when a connection turns out to be one of HTTP/2.
    fn h2_options(&self) -> Option<H2Options> {
        self.clock.multiplex();
        let mut options = H2Options::default();
        let list_bytes = self.header_bytes.saturating_add(H2_HEADER_LIST_BYTES_BESIDES);
        options
            .max_concurrent_streams(H2_STREAMS_MAX)
            .max_header_list_size(u32::try_from(list_bytes).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(H2_RESETS_MAX)
            .max_local_error_reset_streams(Some(H2_FAULTS_MAX));
        Some(options)
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

/// Pingora's word for a connection that is kept for as long as nobody ends it.
const KEEPALIVE_WITHOUT_END: u64 = 0;
