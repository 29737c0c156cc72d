//! A plain HTTP/1.1 server whose every answer, good or bad, is chosen by the test.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::http::{Headers, Reader};
use super::within;

/// A request that reached a test server.
#[derive(Debug, Clone)]
pub struct Incoming {
    pub method: String,
    pub target: String,
    pub headers: Headers,
    pub body: Vec<u8>,
}

impl Incoming {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)
    }
}

/// What a test server does with a request.
#[derive(Debug)]
pub enum Answer {
    /// A whole response.
    Full { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// A chunked 200 of `text/event-stream`; each piece is written as it comes, the end when the sender is dropped.
    Stream(mpsc::Receiver<Vec<u8>>),
    /// A 200 that announces so many bytes; each piece is written as it comes.
    Announced(usize, mpsc::Receiver<Vec<u8>>),
    /// A response that waits to be let go.
    Held(oneshot::Receiver<()>, Box<Answer>),
    /// A response, and word when every byte of it has been written.
    Told(oneshot::Sender<()>, Box<Answer>),
    /// A 200 that announces 1000 bytes, sends 500 and closes.
    Half,
    /// Nothing, until the client gives up.
    Never,
    /// The connection is closed without a byte.
    Cut,
    /// These bytes, then the end of the connection.
    Raw(Vec<u8>),
}

impl Answer {
    pub fn text(status: u16, body: &str) -> Answer {
        Answer::Full { status, headers: vec![("Content-Type", "text/plain".into())], body: body.as_bytes().to_vec() }
    }

    pub fn json(status: u16, body: &serde_json::Value) -> Answer {
        Answer::Full {
            status,
            headers: vec![("Content-Type", "application/json".into())],
            body: body.to_string().into_bytes(),
        }
    }

    /// This answer, once [`Latch::release`] has been called.
    pub fn held(self) -> (Latch, Answer) {
        let (release, released) = oneshot::channel();
        (Latch(release), Answer::Held(released, Box::new(self)))
    }
}

/// Lets a held answer go.
pub struct Latch(oneshot::Sender<()>);

impl Latch {
    pub fn release(self) {
        let _ = self.0.send(());
    }
}

pub type Handler = Arc<dyn Fn(Incoming) -> Pin<Box<dyn Future<Output = Answer> + Send>> + Send + Sync>;

/// A listening server; it stops with this value.
pub struct Server {
    pub address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Server {
    pub async fn start(handler: Handler) -> Server {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
        // For a crowd that connects at once: beyond it the kernel hands out cookies, and resets some of their connections.
        let listener = socket.listen(4096).expect("a listener");
        Server::on(listener, handler)
    }

    pub fn on(listener: TcpListener, handler: Handler) -> Server {
        let address = listener.local_addr().expect("a bound address");
        let accepting = tokio::spawn(async move {
            // Dropped, and so aborted, with this task.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(connection(stream, handler.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Server { address, accepting }
    }

    /// Stops, and returns when its port is closed.
    pub async fn stop(mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn connection(stream: TcpStream, handler: Handler) {
    let _ = stream.set_nodelay(true);
    let mut reader = Reader::new(stream);
    while let Some((start, headers)) = reader.head().await {
        let mut words = start.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if headers.lists("expect", "100-continue")
            && reader.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_err()
        {
            return;
        }
        let Some(body) = reader.request_body(&headers).await else { return };
        let is_head = method == "HEAD";
        let close = headers.lists("connection", "close");
        let incoming = Incoming { method: method.into(), target: target.into(), headers, body };
        let answer = handler(incoming).await;
        if write(&mut reader, answer, is_head).await.is_none() || close {
            return;
        }
    }
}

/// `None` when the connection is over.
async fn write(reader: &mut Reader, answer: Answer, is_head: bool) -> Option<()> {
    match answer {
        Answer::Full { status, headers, body } => {
            let mut bytes = format!("HTTP/1.1 {status} Status\r\n");
            for (name, value) in headers {
                bytes.push_str(&format!("{name}: {value}\r\n"));
            }
            if status != 204 && status != 304 {
                bytes.push_str(&format!("Content-Length: {}\r\n", body.len()));
            }
            bytes.push_str("\r\n");
            let mut bytes = bytes.into_bytes();
            if !is_head {
                bytes.extend_from_slice(&body);
            }
            reader.stream.write_all(&bytes).await.ok()
        }
        Answer::Stream(mut pieces) => {
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
            reader.stream.write_all(head.as_bytes()).await.ok()?;
            while let Some(piece) = pieces.recv().await {
                let mut bytes = format!("{:x}\r\n", piece.len()).into_bytes();
                bytes.extend_from_slice(&piece);
                bytes.extend_from_slice(b"\r\n");
                reader.stream.write_all(&bytes).await.ok()?;
            }
            reader.stream.write_all(b"0\r\n\r\n").await.ok()
        }
        Answer::Announced(length, mut pieces) => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            reader.stream.write_all(head.as_bytes()).await.ok()?;
            while let Some(piece) = pieces.recv().await {
                reader.stream.write_all(&piece).await.ok()?;
            }
            Some(())
        }
        Answer::Held(released, answer) => {
            // A latch that is dropped lets go as well: a test that ends must not leave its gateway hanging.
            let _ = released.await;
            Box::pin(write(reader, *answer, is_head)).await
        }
        Answer::Told(tell, answer) => {
            Box::pin(write(reader, *answer, is_head)).await?;
            let _ = tell.send(());
            Some(())
        }
        Answer::Half => {
            let mut bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec();
            bytes.extend_from_slice(&[b'h'; 500]);
            let _ = reader.stream.write_all(&bytes).await;
            None
        }
        Answer::Never => {
            while reader.fill().await > 0 {}
            None
        }
        Answer::Cut => None,
        Answer::Raw(bytes) => {
            let _ = reader.stream.write_all(&bytes).await;
            None
        }
    }
}

/// A list that a server appends to and a test waits on.
pub struct Records<T>(watch::Sender<Vec<T>>);

impl<T: Clone> Records<T> {
    pub fn new() -> Records<T> {
        Records(watch::Sender::new(Vec::new()))
    }

    pub fn push(&self, record: T) {
        self.0.send_modify(|records| records.push(record));
    }

    pub fn all(&self) -> Vec<T> {
        self.0.borrow().clone()
    }

    pub fn count(&self) -> usize {
        self.0.borrow().len()
    }

    /// Waits until there are at least so many.
    pub async fn reach(&self, what: &str, count: usize) -> Vec<T> {
        let mut records = self.0.subscribe();
        within(what, async { records.wait_for(|records| records.len() >= count).await.expect("a server").clone() })
            .await
    }
}
