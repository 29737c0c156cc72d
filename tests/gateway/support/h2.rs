//! HTTP/2 by prior knowledge, whose request fields are written as they are given: no client tidies them.
//!
//! The `h2` crate keeps the connection and reads responses. It would not send every `:path`, so each header block that
//! it writes is replaced by one of literals (RFC 7541 section 6.2.2) on its way to the socket.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::SendRequest;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::http::{Headers, Request, Response};
use super::within;

/// What a client says first (RFC 9113 section 3.4).
pub const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// The largest frame that every server takes.
const FRAME_BYTES: usize = 16 * 1024;

/// A connection that speaks HTTP/2; it is closed with this value.
pub struct Http2 {
    authority: String,
    scheme: &'static str,
    requests: SendRequest<Bytes>,
    /// The header blocks of the requests that are sent next.
    next: mpsc::UnboundedSender<Next>,
    /// The connection and what lies between it and the socket.
    tasks: JoinSet<()>,
}

/// The header block of a request, and whom to tell that it is on its way.
type Next = (Vec<u8>, oneshot::Sender<()>);

impl Http2 {
    /// One to a cleartext listener.
    pub async fn open(address: SocketAddr) -> Http2 {
        let stream = within("a connection", TcpStream::connect(address)).await.expect("a connection");
        stream.set_nodelay(true).expect("a socket option");
        Http2::over(stream, address.to_string(), "http").await
    }

    /// Is gone without a word more than a reset, where its socket was opened so.
    pub async fn vanish(mut self) {
        self.tasks.shutdown().await;
    }

    /// One on a stream that is open already, such as one of TLS.
    pub async fn over<S>(stream: S, authority: String, scheme: &'static str) -> Http2
    where
        S: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (next, blocks) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(carry(far, stream, blocks));
        let (requests, connection) = within("HTTP/2", h2::client::handshake(near)).await.expect("an HTTP/2 connection");
        tasks.spawn(async move {
            let _ = connection.await;
        });
        Http2 { authority, scheme, requests, next, tasks }
    }

    /// One request on a stream of its own, and the whole response. A field named `:authority` or `:scheme` stands for
    /// the connection's own.
    pub async fn exchange(&mut self, request: &Request) -> Response {
        self.try_exchange(request).await.unwrap_or_else(|error| panic!("{error} instead of an answer to {request:?}"))
    }

    /// As [`Http2::exchange`]; an error where the stream or the connection was ended instead.
    pub async fn try_exchange(&mut self, request: &Request) -> Result<Response, h2::Error> {
        Ok(self.exchange_with_trailers(request).await?.0)
    }

    /// The response, and the fields behind its body.
    pub async fn exchange_with_trailers(&mut self, request: &Request) -> Result<(Response, Headers), h2::Error> {
        let response = self.begin(request, true).await?.0;
        within("the answer", finish(response)).await
    }

    /// Sends a head, and a body that `ends` the stream or leaves it open; what comes back, and where to send more.
    pub async fn begin(
        &mut self,
        request: &Request,
        ends: bool,
    ) -> Result<(h2::client::ResponseFuture, h2::SendStream<Bytes>), h2::Error> {
        let requests = within("room for a stream", self.requests.clone().ready()).await?;
        let block = self.block(request);
        self.requests = requests;
        let (sent, on_its_way) = oneshot::channel();
        // Where the connection is over nobody takes it.
        let _ = self.next.send((block, sent));
        let body = request.body.clone().unwrap_or_default();
        let head = http::Request::builder().method("GET").uri("http://replaced/").body(()).expect("a head");
        let (response, mut stream) = self.requests.send_request(head, ends && body.is_empty())?;
        if !body.is_empty() {
            stream.send_data(body.into(), ends)?;
        }
        // The next header block must not overtake this one. Where the connection is over, the response says so.
        let _ = within("the head on its way", on_its_way).await;
        Ok((response, stream))
    }

    /// How many streams the server lets be open at once, as far as it has said.
    pub fn streams_max(&self) -> usize {
        self.requests.current_max_send_streams()
    }

    fn block(&self, request: &Request) -> Vec<u8> {
        let own = |name: &str, default: &str| request.headers.get(name).unwrap_or(default).to_owned();
        let mut block = Vec::new();
        literal(&mut block, ":method", request.method.as_bytes());
        literal(&mut block, ":scheme", own(":scheme", self.scheme).as_bytes());
        literal(&mut block, ":authority", own(":authority", &self.authority).as_bytes());
        literal(&mut block, ":path", request.target.as_bytes());
        for (name, value) in &request.headers.0 {
            if !matches!(name.as_str(), ":authority" | ":scheme") {
                literal(&mut block, &name.to_ascii_lowercase(), value.as_bytes());
            }
        }
        block
    }
}

/// Reads a response to its end.
pub async fn finish(response: h2::client::ResponseFuture) -> Result<(Response, Headers), h2::Error> {
    let (head, mut body) = response.await?.into_parts();
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        bytes.extend_from_slice(&piece);
        body.flow_control().release_capacity(piece.len())?;
    }
    let trailers = body.trailers().await?.unwrap_or_default();
    let response =
        Response { status: head.status.as_u16(), headers: fields(&head.headers), body: bytes, complete: true };
    Ok((response, fields(&trailers)))
}

fn fields(headers: &http::HeaderMap) -> Headers {
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    Headers(headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect())
}

/// A field that enters no table, its name and value uncompressed.
fn literal(block: &mut Vec<u8>, name: &str, value: &[u8]) {
    block.push(0);
    for text in [name.as_bytes(), value] {
        length(block, text.len());
        block.extend_from_slice(text);
    }
}

/// An integer with a prefix of 7 bits (RFC 7541 section 5.1).
fn length(block: &mut Vec<u8>, length: usize) {
    if length < 127 {
        block.push(length as u8);
        return;
    }
    block.push(127);
    let mut rest = length - 127;
    while rest >= 128 {
        block.push((rest % 128) as u8 | 128);
        rest /= 128;
    }
    block.push(rest as u8);
}

/// The payload of a frame with this head, and as many frames behind it as the header block needs.
fn header_frames(head: &mut [u8; 9], block: &[u8]) -> Vec<u8> {
    let (first, rest) = block.split_at(block.len().min(FRAME_BYTES));
    let ends = |last: bool| if last { END_HEADERS } else { 0 };
    let size = |payload: &[u8]| (payload.len() as u32).to_be_bytes();
    head[..3].copy_from_slice(&size(first)[1..]);
    head[4] = head[4] & END_STREAM | ends(rest.is_empty());
    let mut payload = first.to_vec();
    let mut pieces = rest.chunks(FRAME_BYTES).peekable();
    while let Some(piece) = pieces.next() {
        payload.extend_from_slice(&size(piece)[1..]);
        payload.extend([CONTINUATION, ends(pieces.peek().is_none())]);
        payload.extend_from_slice(&head[5..]);
        payload.extend_from_slice(piece);
    }
    payload
}

/// Between the client and the socket; ends when either does.
async fn carry<S>(near: DuplexStream, stream: S, mut blocks: mpsc::UnboundedReceiver<Next>)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (mut from_client, mut to_client) = tokio::io::split(near);
    let (mut from_server, mut to_server) = tokio::io::split(stream);
    let sending = async move {
        let mut preface = vec![0; PREFACE.len()];
        from_client.read_exact(&mut preface).await?;
        to_server.write_all(&preface).await?;
        loop {
            let mut head = [0; 9];
            from_client.read_exact(&mut head).await?;
            let size = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
            let mut payload = vec![0; size];
            from_client.read_exact(&mut payload).await?;
            let replacement = if head[3] == HEADERS { blocks.try_recv().ok() } else { None };
            if let Some((block, sent)) = replacement {
                payload = header_frames(&mut head, &block);
                let _ = sent.send(());
            }
            to_server.write_all(&[&head[..], &payload].concat()).await?;
            to_server.flush().await?;
        }
        #[expect(unreachable_code, reason = "names the error's type")]
        std::io::Result::Ok(())
    };
    let receiving = async move {
        tokio::io::copy(&mut from_server, &mut to_client).await?;
        to_client.shutdown().await
    };
    // The server may still speak when the client has nothing more to say.
    let (_, _): (_, std::io::Result<()>) = tokio::join!(sending, receiving);
}
