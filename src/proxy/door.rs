//! Where a connection of HTTP/1 begins, and comes back to after each request: unpaid requests are answered here.
//!
//! A challenge forwards nothing, and a third of what the engine does for one is to set up a request that is forwarded.
//! The door reads a plain head, asks the gate, and writes. What it does not answer it leaves to the proxy as it came,
//! to the byte, which reads that head again; and what it answers the proxy would have answered the same.

pub(crate) mod head;
mod unpaid;

use std::net::IpAddr;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use bytes::{Buf as _, BytesMut};
use pingora::protocols::Stream;
use pingora::server::ShutdownWatch;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::coop::consume_budget;

use self::head::Seen;
use self::unpaid::Unpaid;
use super::house::House;
use super::listener::Clock;
use super::live::Live;

/// Bytes that are read at once: a head of usual size.
const READ_BYTES: usize = 2 * 1024;

/// What stands before the proxy on one connection.
pub(super) struct Door {
    house: Arc<House>,
    clock: Arc<Clock>,
    peer: IpAddr,
    encrypted: bool,
}

/// What comes after the requests that were answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// A request for the proxy.
    Request,
    /// Nothing: the connection is over.
    End,
}

impl Door {
    /// For a connection over this stream; `None` where nobody knows whom it is with.
    pub(super) fn new(house: Arc<House>, clock: Arc<Clock>, stream: &Stream) -> Option<Door> {
        let digest = stream.get_socket_digest()?;
        let peer = digest.peer_addr()?.as_inet()?.ip().to_canonical();
        Some(Door { house, clock, peer, encrypted: stream.get_ssl_digest().is_some() })
    }

    /// Answers requests for as long as they are unpaid. `came` holds what was read and not answered.
    pub(super) async fn answer(&self, stream: &mut Stream, came: &mut BytesMut, stopping: &ShutdownWatch) -> Next {
        loop {
            // Requests may have come together: others have their turn between two of them.
            consume_budget().await;
            if !came.is_empty() {
                // The proxy tells a client that its connection ends.
                if *stopping.borrow() {
                    return Next::Request;
                }
                let read = Instant::now();
                let live = self.house.live();
                match head::read(came, |head| self.judge(&live, &head)) {
                    Seen::Plain(unpaid) => {
                        came.advance(unpaid.request_bytes);
                        if self.write(stream, &live, unpaid, read).await.is_break() {
                            return Next::End;
                        }
                        if !came.is_empty() {
                            self.clock.bytes_came();
                        }
                        continue;
                    }
                    Seen::Part if came.len() <= live.generation.config.server.header_bytes => {}
                    Seen::Part | Seen::Other => return Next::Request,
                }
            }
            came.reserve(READ_BYTES);
            if !matches!(stream.read_buf(came).await, Ok(1..)) {
                return Next::End;
            }
        }
    }

    /// Writes an answer and counts its request; breaks where the connection ends with it.
    async fn write(&self, stream: &mut Stream, live: &Live, unpaid: Unpaid, read: Instant) -> ControlFlow<()> {
        let _in_flight = self.house.enter();
        self.clock.head_came();
        self.house.metrics.gateway(read.elapsed());
        let written = async {
            stream.write_all(&unpaid.reply).await?;
            if unpaid.keeps { stream.flush().await } else { stream.shutdown().await }
        };
        let written = written.await;
        unpaid.tell(live, read);
        if written.is_err() || !unpaid.keeps {
            return ControlFlow::Break(());
        }
        self.clock.next_request();
        ControlFlow::Continue(())
    }
}
