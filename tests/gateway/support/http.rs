//! HTTP/1.1 as bytes: a client that can stop anywhere, and the message reader that it shares with the test servers.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::payer::Payment;
use super::within;

/// Header fields in the order they were sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, String)>);

impl Headers {
    /// The one field of that name; panics when there are several.
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} stands {} times in {self:?}", all.len());
        all.first().copied()
    }

    /// Every field of that name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
    }

    /// Whether a comma-separated field holds a token, in any case.
    pub fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name).iter().flat_map(|value| value.split(',')).any(|item| item.trim().eq_ignore_ascii_case(token))
    }
}

/// A request as it will be sent; `Host` is added by the connection unless it is set here.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub headers: Headers,
    pub body: Option<Vec<u8>>,
}

impl Request {
    pub fn new(method: &str, target: &str) -> Request {
        Request { method: method.into(), target: target.into(), headers: Headers::default(), body: None }
    }

    pub fn get(target: &str) -> Request {
        Request::new("GET", target)
    }

    pub fn head(target: &str) -> Request {
        Request::new("HEAD", target)
    }

    pub fn post(target: &str, body: impl Into<Vec<u8>>) -> Request {
        Request { body: Some(body.into()), ..Request::new("POST", target) }
    }

    pub fn header(mut self, name: &str, value: impl Into<String>) -> Request {
        self.headers.0.push((name.into(), value.into()));
        self
    }

    /// Adds a payment in the header of its dialect.
    pub fn paid(self, payment: &Payment) -> Request {
        let (name, value) = payment.header();
        self.header(name, value)
    }

    /// The bytes on the wire.
    pub fn to_bytes(&self, host: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        if self.headers.all("host").is_empty() {
            head.push_str(&format!("Host: {host}\r\n"));
        }
        for (name, value) in &self.headers.0 {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(body) = &self.body {
            head.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(self.body.as_deref().unwrap_or_default());
        bytes
    }
}

/// The head of a final response.
#[derive(Debug, Clone)]
pub struct Head {
    pub status: u16,
    pub headers: Headers,
    /// The statuses of the interim responses before it.
    pub interim: Vec<u16>,
    framing: Framing,
}

/// A response that was read as far as it came.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: Headers,
    pub body: Vec<u8>,
    /// Whether the body ended as its framing had announced, rather than with the connection.
    pub complete: bool,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error} in the body of {self:?}"))
    }

    /// The `error` of a JSON body.
    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_else(|| panic!("no error in {}", self.text())).to_owned()
    }

    /// `PAYMENT-RESPONSE`, decoded.
    pub fn settlement(&self) -> Option<Value> {
        self.header("payment-response").map(super::payer::decode)
    }

    /// `X-PAYMENT-RESPONSE`, decoded.
    pub fn settlement_v1(&self) -> Option<Value> {
        self.header("x-payment-response").map(super::payer::decode)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    None,
    Length(usize),
    Chunked,
    UntilClose,
}

/// One connection to a server.
pub struct Connection {
    peer: SocketAddr,
    reader: Reader,
}

impl Connection {
    pub async fn open(peer: SocketAddr) -> Connection {
        Connection::try_open(peer).await.expect("connected")
    }

    /// `None` when the peer does not listen.
    pub async fn try_open(peer: SocketAddr) -> Option<Connection> {
        let stream = within("a connection", TcpStream::connect(peer)).await.ok()?;
        stream.set_nodelay(true).ok()?;
        Some(Connection { peer, reader: Reader::new(stream) })
    }

    /// Sends a request and reads its response in full.
    pub async fn exchange(&mut self, request: &Request) -> Response {
        self.send(request).await;
        let head = self.head(&request.method).await;
        self.finish(head).await
    }

    /// Sends a request. A peer that has answered already and closed is no error here: the answer is what counts.
    pub async fn send(&mut self, request: &Request) {
        self.send_bytes(&request.to_bytes(self.peer)).await;
    }

    /// Sends bytes as they are.
    pub async fn send_bytes(&mut self, bytes: &[u8]) {
        let _ = self.try_send_bytes(bytes).await;
    }

    /// Sends bytes as they are, to a peer that has to take them all.
    pub async fn try_send_bytes(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        within("the request to be written", self.reader.stream.write_all(bytes)).await
    }

    /// Sends the bytes of a whole `GET` as they are, and reads its response in full.
    pub async fn exchange_bytes(&mut self, bytes: &[u8]) -> Response {
        self.send_bytes(bytes).await;
        let head = self.head("GET").await;
        self.finish(head).await
    }

    /// The first line of the next response, which is left to be read.
    pub async fn start_line(&mut self) -> String {
        within("a response's first line", async {
            loop {
                if let Some(end) = self.reader.buffer.windows(2).position(|window| window == b"\r\n") {
                    return String::from_utf8_lossy(&self.reader.buffer[..end]).into_owned();
                }
                assert_ne!(self.reader.fill().await, 0, "a response before the connection ends");
            }
        })
        .await
    }

    /// Says that nothing more is sent; answers can still be read.
    pub async fn finish_sending(&mut self) {
        let _ = self.reader.stream.shutdown().await;
    }

    /// Reads the head of the final response to a request of that method.
    pub async fn head(&mut self, method: &str) -> Head {
        within("a response's head", self.try_head(method)).await.expect("a response's head before the connection ends")
    }

    /// The same, or `None` when the connection ends first.
    pub async fn try_head(&mut self, method: &str) -> Option<Head> {
        let mut interim = Vec::new();
        loop {
            let (start, headers) = self.reader.head().await?;
            let status: u16 = start.split(' ').nth(1).expect("a status").parse().expect("a numeric status");
            if status / 100 == 1 && status != 101 {
                interim.push(status);
                continue;
            }
            let framing = match status {
                _ if method == "HEAD" => Framing::None,
                204 | 304 => Framing::None,
                _ => framing_of(&headers).unwrap_or(Framing::UntilClose),
            };
            return Some(Head { status, headers, interim, framing });
        }
    }

    /// Reads the rest of a response.
    pub async fn finish(&mut self, head: Head) -> Response {
        let (body, complete) = within("a response's body", self.reader.body(head.framing)).await;
        Response { status: head.status, headers: head.headers, body, complete }
    }

    /// The next piece of a chunked body as its sender wrote it; `None` at its end.
    pub async fn chunk(&mut self, head: &Head) -> Option<Vec<u8>> {
        assert_eq!(head.framing, Framing::Chunked, "the body is not chunked: {head:?}");
        within("a chunk", self.reader.chunk()).await.expect("a chunk before the connection ends")
    }

    /// At least one byte of a body, of any framing.
    pub async fn some_body(&mut self) -> usize {
        within("some of the body", self.reader.fill()).await;
        self.reader.buffer.len()
    }

    /// Is gone without a word more than a reset, and takes nothing that is still on its way.
    pub fn vanish(self) {
        self.reader.stream.set_zero_linger().expect("a socket option");
    }

    /// Whether the peer has closed the connection without sending anything more.
    pub async fn is_closed(&mut self) -> bool {
        self.reader.buffer.is_empty() && within("the end of the connection", self.reader.fill()).await == 0
    }
}

/// Reads messages off a stream.
pub struct Reader {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Reader {
    pub fn new(stream: TcpStream) -> Reader {
        Reader { stream, buffer: Vec::new() }
    }

    /// Reads once; 0 when the peer has finished or reset the connection.
    pub async fn fill(&mut self) -> usize {
        let mut piece = vec![0; 64 * 1024];
        let count = self.stream.read(&mut piece).await.unwrap_or(0);
        self.buffer.extend_from_slice(&piece[..count]);
        count
    }

    /// Start line and fields of the next message; `None` when the connection ends before them.
    pub async fn head(&mut self) -> Option<(String, Headers)> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8(self.take(end + 4)).expect("a head in UTF-8");
                let mut lines = head.trim_end().split("\r\n");
                let start = lines.next().expect("a start line").to_owned();
                let fields = lines.map(|line| {
                    let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("no field: {line:?}"));
                    (name.to_owned(), value.trim().to_owned())
                });
                return Some((start, Headers(fields.collect())));
            }
            if self.fill().await == 0 {
                return None;
            }
        }
    }

    /// The body of a request with these fields; `None` when the connection ends before it does.
    pub async fn request_body(&mut self, headers: &Headers) -> Option<Vec<u8>> {
        let (body, complete) = self.body(framing_of(headers).unwrap_or(Framing::None)).await;
        complete.then_some(body)
    }

    async fn body(&mut self, framing: Framing) -> (Vec<u8>, bool) {
        match framing {
            Framing::None => (Vec::new(), true),
            Framing::Length(length) => {
                while self.buffer.len() < length {
                    if self.fill().await == 0 {
                        return (std::mem::take(&mut self.buffer), false);
                    }
                }
                (self.take(length), true)
            }
            Framing::Chunked => {
                let mut body = Vec::new();
                loop {
                    match self.chunk().await {
                        Some(Some(chunk)) => body.extend(chunk),
                        Some(None) => return (body, true),
                        None => return (body, false),
                    }
                }
            }
            Framing::UntilClose => {
                while self.fill().await > 0 {}
                (std::mem::take(&mut self.buffer), true)
            }
        }
    }

    /// `Some(None)` is the last chunk, `None` a connection that ended before it.
    async fn chunk(&mut self) -> Option<Option<Vec<u8>>> {
        let size = self.line().await?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).unwrap_or_else(|_| panic!("no chunk size: {size:?}"));
        if size == 0 {
            while !self.line().await?.is_empty() {}
            return Some(None);
        }
        while self.buffer.len() < size + 2 {
            if self.fill().await == 0 {
                return None;
            }
        }
        let mut chunk = self.take(size + 2);
        assert_eq!(chunk.split_off(size), b"\r\n", "the end of a chunk");
        Some(Some(chunk))
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let mut line = self.take(end + 2);
                line.truncate(end);
                return Some(String::from_utf8(line).expect("a line in UTF-8"));
            }
            if self.fill().await == 0 {
                return None;
            }
        }
    }

    fn take(&mut self, count: usize) -> Vec<u8> {
        let rest = self.buffer.split_off(count);
        std::mem::replace(&mut self.buffer, rest)
    }
}

fn framing_of(headers: &Headers) -> Option<Framing> {
    if headers.lists("transfer-encoding", "chunked") {
        assert!(headers.all("content-length").is_empty(), "both framings: {headers:?}");
        return Some(Framing::Chunked);
    }
    headers.get("content-length").map(|length| Framing::Length(length.parse().expect("a numeric length")))
}
