//! A client's socket: what it reads and writes, and what Pingora asks of a stream.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, BytesMut};
use pingora::http::ResponseHeader;
use pingora::protocols::raw_connect::ProxyDigest;
use pingora::protocols::{
    GetProxyDigest, GetSocketDigest, GetTimingDigest, Peek, Shutdown, SocketDigest, Ssl, TimingDigest, UniqueID,
    UniqueIDType,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::clock::Clock;
use super::outflow::Outflow;
use crate::telemetry::{Closed, Metrics};

/// Bytes that are gathered before they are written to a client: a whole challenge leaves in one write.
const WRITE_BUFFER_BYTES: usize = 16 * 1024;

/// One end of a connection with a client.
pub(super) struct Socket {
    stream: BufWriter<TcpStream>,
    /// What was read to look at it, and is to be read again.
    unread: BytesMut,
    /// Tells time; the hooks find it in the digest.
    clock: Arc<Clock>,
    digest: Arc<ProxyDigest>,
    peer: Arc<SocketDigest>,
    stall: Stall,
}

/// A write that waits for the client to read.
struct Stall {
    limit: Duration,
    /// Runs while nothing can be written.
    timer: Option<Pin<Box<Sleep>>>,
    metrics: Arc<Metrics>,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Socket").field("stream", self.stream.get_ref()).finish_non_exhaustive()
    }
}

impl Socket {
    /// A connection that was accepted from this peer. A client may read nothing for `send_timeout`.
    pub(super) fn new(stream: TcpStream, peer: SocketAddr, send_timeout: Duration, metrics: Arc<Metrics>) -> Socket {
        let clock = Arc::new(Clock::start());
        let (empty, ()) = http::Response::new(()).into_parts();
        let digest = ProxyDigest::new(Box::new(ResponseHeader::from(empty)), Some(Box::new(clock.clone())));
        let mut socket = Socket {
            peer: Arc::new(SocketDigest::from_raw_fd(stream.as_raw_fd())),
            stream: BufWriter::with_capacity(WRITE_BUFFER_BYTES, stream),
            unread: BytesMut::new(),
            clock,
            digest: Arc::new(digest),
            stall: Stall { limit: send_timeout, timer: None, metrics },
        };
        socket.set_peer(peer);
        socket
    }

    pub(super) fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// Whom it comes from, as far as requests are told.
    pub(super) fn set_peer(&mut self, peer: SocketAddr) {
        let digest = SocketDigest::from_raw_fd(self.stream.get_ref().as_raw_fd());
        // A socket for both families sees IPv4 as `::ffff:…`, which no network of IPv4 holds.
        let address = match peer.ip().to_canonical() {
            IpAddr::V4(ip) => SocketAddr::from((ip, peer.port())),
            IpAddr::V6(_) => peer,
        };
        let _ = digest.peer_addr.set(Some(address.into()));
        self.peer = Arc::new(digest);
    }

    /// Reads more of what [`Socket::unread`] holds; how many bytes came, none at the end.
    pub(super) async fn look_further(&mut self, at_most: usize) -> io::Result<usize> {
        let stream = self.stream.get_mut();
        let count = stream.take(u64::try_from(at_most).unwrap_or(u64::MAX)).read_buf(&mut self.unread).await?;
        Ok(count)
    }

    /// What has come and will be read again.
    pub(super) fn unread(&self) -> &[u8] {
        &self.unread
    }

    /// Takes so many bytes off what would be read again.
    pub(super) fn skip(&mut self, bytes: usize) {
        self.unread.advance(bytes.min(self.unread.len()));
    }
}

impl Drop for Socket {
    /// What was gathered goes out as far as it can at once: when an upstream breaks off its answer, Pingora drops the
    /// connection, and the client is to have what came until then.
    fn drop(&mut self) {
        let rest = self.stream.buffer();
        if !rest.is_empty()
            && let Err(error) = self.stream.get_ref().try_write(rest)
        {
            tracing::debug!(%error, "the last bytes for a client were lost");
        }
        if let Some(outflow) = self.clock.outflow() {
            outflow.over();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        if !socket.unread.is_empty() {
            let count = buf.remaining().min(socket.unread.len());
            buf.put_slice(&socket.unread.split_to(count));
            socket.clock.bytes_came();
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut socket.stream).poll_read(cx, buf))?;
        if buf.filled().len() > before {
            socket.clock.bytes_came();
        }
        Poll::Ready(Ok(()))
    }
}

impl Stall {
    /// An error when a write has waited for too long; `poll` is what the write itself said.
    fn watch<T>(&mut self, cx: &mut Context<'_>, poll: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if poll.is_ready() {
            self.timer = None;
            return poll;
        }
        let limit = self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + limit)));
        ready!(timer.as_mut().poll(cx));
        self.metrics.closed(Closed::Send);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing of what is sent to it")))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        let poll = Pin::new(&mut socket.stream).poll_write(cx, buf);
        socket.clock.outflow().into_iter().for_each(Outflow::given);
        socket.stall.watch(cx, poll)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        let poll = Pin::new(&mut socket.stream).poll_write_vectored(cx, bufs);
        socket.clock.outflow().into_iter().for_each(Outflow::given);
        socket.stall.watch(cx, poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        let poll = Pin::new(&mut socket.stream).poll_flush(cx);
        if let Some(outflow) = socket.clock.outflow() {
            match &poll {
                Poll::Ready(Ok(())) => outflow.flushed(),
                Poll::Ready(Err(_)) | Poll::Pending => {}
            }
        }
        socket.stall.watch(cx, poll)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        let poll = Pin::new(&mut socket.stream).poll_shutdown(cx);
        socket.stall.watch(cx, poll)
    }
}

#[async_trait]
impl Shutdown for Socket {
    async fn shutdown(&mut self) {
        if let Err(error) = AsyncWriteExt::shutdown(self).await {
            tracing::debug!(%error, "a client was gone before its connection was closed");
        }
    }
}

#[async_trait]
impl Peek for Socket {
    /// Reads until `buf` is full or differs from HTTP/2's preface, whichever comes first, and leaves it all to be read
    /// again. (Pingora looks for the preface, and would wait for as many bytes of whatever comes.)
    async fn try_peek(&mut self, buf: &mut [u8]) -> io::Result<bool> {
        while self.unread.len() < buf.len() && super::edge::H2_PREFACE.starts_with(&self.unread) {
            let missing = buf.len().saturating_sub(self.unread.len());
            if self.look_further(missing).await? == 0 {
                break;
            }
            self.clock.bytes_came();
        }
        buf.iter_mut().zip(&self.unread).for_each(|(to, from)| *to = *from);
        Ok(true)
    }
}

impl UniqueID for Socket {
    fn id(&self) -> UniqueIDType {
        self.stream.get_ref().as_raw_fd()
    }
}

impl Ssl for Socket {}

impl GetTimingDigest for Socket {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        Vec::new()
    }
}

impl GetProxyDigest for Socket {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        Some(self.digest.clone())
    }
}

impl GetSocketDigest for Socket {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        Some(self.peer.clone())
    }
}
