//! One kept connection, on which one request follows another.

use std::net::SocketAddr;

use axum::body::{Body, Bytes};
use http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Failure;

/// More than any answer has here.
const BODY_BYTES_MAX: usize = 1 << 20;

/// A connection.
pub struct Connection {
    sender: SendRequest<Body>,
}

/// An answer that was read to its end.
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Every header field.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Connection {
    /// Opens one.
    pub async fn open(address: SocketAddr) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // What goes wrong with it is said to the request that needs it.
        tokio::spawn(connection);
        Ok(Connection { sender })
    }

    /// Asks for a path, with a payment if there is one.
    pub async fn get(&mut self, path: &str, payment: Option<HeaderValue>) -> Result<Answer, Failure> {
        let mut request = Request::get(path).body(Body::empty())?;
        request.headers_mut().extend(payment.map(|payment| (super::PAYMENT_SIGNATURE, payment)));
        self.send(request).await
    }

    /// Sends JSON.
    pub async fn post(&mut self, path: &str, json: Vec<u8>) -> Result<Answer, Failure> {
        let request = Request::post(path).header(header::CONTENT_TYPE, "application/json").body(Body::from(json))?;
        self.send(request).await
    }

    async fn send(&mut self, mut request: Request<Body>) -> Result<Answer, Failure> {
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("api.example.com"));
        self.sender.ready().await?;
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        let body = axum::body::to_bytes(Body::new(body), BODY_BYTES_MAX).await?;
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}
