//! A keep-alive upstream that reads requests to the letter, and complains of whatever another server might read
//! differently.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A request that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    pub target: String,
    pub body: Vec<u8>,
}

#[derive(Default)]
struct Seen {
    requests: Vec<Arrived>,
    complaints: Vec<String>,
}

/// Answers each request with its own target.
pub struct Strict {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    accepting: JoinHandle<()>,
}

impl Strict {
    pub async fn start() -> Strict {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let shared = seen.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = shared.clone();
                tokio::spawn(async move {
                    let mut reader = Bytes { stream, buffer: Vec::new() };
                    loop {
                        match reader.request().await {
                            Ok(Some(request)) => {
                                let target = request.target.clone();
                                seen.lock().expect("seen").requests.push(request);
                                let length = target.len();
                                let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{target}");
                                if reader.stream.write_all(answer.as_bytes()).await.is_err() {
                                    return;
                                }
                            }
                            Ok(None) => return,
                            Err(complaint) => {
                                let rest = String::from_utf8_lossy(&reader.buffer).into_owned();
                                seen.lock().expect("seen").complaints.push(format!("{complaint}: {rest:?}"));
                                return;
                            }
                        }
                    }
                });
            }
        });
        Strict { address, seen, accepting }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn requests(&self) -> Vec<Arrived> {
        self.seen.lock().expect("seen").requests.clone()
    }

    pub fn complaints(&self) -> Vec<String> {
        self.seen.lock().expect("seen").complaints.clone()
    }
}

impl Drop for Strict {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

struct Bytes {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Bytes {
    /// `None` when the connection ends, also in the middle of a request: its sender gave it up.
    async fn request(&mut self) -> Result<Option<Arrived>, String> {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if !self.fill().await {
                return Ok(None);
            }
        };
        let head = String::from_utf8(self.buffer[..end].to_vec()).map_err(|_| "a head that is no text")?;
        let mut lines = head.split("\r\n");
        let line: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let [_, target, "HTTP/1.1"] = line[..] else { return Err(format!("a request line of {line:?}")) };
        let (mut lengths, mut encodings) = (Vec::new(), Vec::new());
        for line in lines {
            let Some((name, value)) = line.split_once(": ") else { return Err(format!("a field of {line:?}")) };
            let token = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            if !name.bytes().all(token) || value.bytes().any(|byte| byte.is_ascii_control()) {
                return Err(format!("a field of {line:?}"));
            }
            match name.to_ascii_lowercase().as_str() {
                "content-length" => lengths.push(value.to_owned()),
                "transfer-encoding" => encodings.push(value.to_owned()),
                _ => {}
            }
        }
        let target = target.to_owned();
        self.buffer.drain(..end + 4);
        let body = match (lengths.as_slice(), encodings.as_slice()) {
            ([], []) => Some(Vec::new()),
            ([length], []) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.exactly(length.parse().map_err(|_| format!("a length of {length}"))?).await
            }
            ([], [encoding]) if encoding == "chunked" => self.chunks().await?,
            _ => return Err(format!("lengths {lengths:?} and encodings {encodings:?}")),
        };
        Ok(body.map(|body| Arrived { target, body }))
    }

    async fn chunks(&mut self) -> Result<Option<Vec<u8>>, String> {
        let mut body = Vec::new();
        loop {
            let Some(size) = self.line().await else { return Ok(None) };
            let plain = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_hexdigit());
            let size = Some(&size).filter(|_| plain).and_then(|size| usize::from_str_radix(size, 16).ok());
            let Some(size) = size else { return Err("no size of a chunk".into()) };
            let Some(chunk) = self.exactly(size).await else { return Ok(None) };
            body.extend(chunk);
            match self.line().await {
                Some(end) if end.is_empty() => {}
                Some(end) => return Err(format!("{end:?} behind a chunk")),
                None => return Ok(None),
            }
            if size == 0 {
                return Ok(Some(body));
            }
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..end + 2).take(end).collect();
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    async fn exactly(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if !self.fill().await {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }

    async fn fill(&mut self) -> bool {
        self.stream.read_buf(&mut self.buffer).await.is_ok_and(|count| count > 0)
    }
}
