//! A connection before a request is read: how many there may be, how long each may take, the PROXY header, TLS, and
//! which version of HTTP it speaks.
//!
//! Pingora's own listeners have no place for a limit on connections or for a deadline over a whole head; its proxy
//! takes any stream, and these are the streams.

mod beside;
mod clock;
mod edge;
mod files;
mod outflow;
mod proxy_header;
mod socket;
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use pingora::apps::HttpServerApp as _;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::Stream;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

use beside::watched;
pub(super) use clock::Clock;
use clock::Limits;
use edge::Edge;
use socket::Socket;

use super::door::Door;
use super::gateway::Gateway;
use super::house::House;
use crate::telemetry::{Closed, Connected};

/// How long nothing is accepted after that failed: most likely no file can be opened, and some are about to close.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What all connections share.
struct Reception {
    house: Arc<House>,
    proxy: Arc<HttpProxy<Gateway>>,
    tls: Acceptor,
    open: AtomicUsize,
    /// How many connections the process's limit of open files is enough for.
    files_for: usize,
}

/// Whether a listener speaks TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Plain,
    Tls,
}

/// Accepts connections until `stopping`; requests that run then are not waited for.
pub(super) async fn serve(
    house: Arc<House>,
    proxy: HttpProxy<Gateway>,
    plain: Vec<TcpListener>,
    tls: Vec<TcpListener>,
    stopping: ShutdownWatch,
) -> Result<(), rustls::Error> {
    let files_for = files::connections(files::raise_limit());
    let wanted = house.live().generation.config.server.connections.max;
    if files_for < wanted {
        warn!(
            connections = files_for,
            "the process may open too few files for server.connections: raise its limit (LimitNOFILE, ulimit -n)"
        );
    }
    let tls_acceptor = tls::acceptor(house.clone())?;
    let proxy = Arc::new(proxy);
    let reception =
        Arc::new(Reception { house, proxy: proxy.clone(), tls: tls_acceptor, open: AtomicUsize::new(0), files_for });
    let mut accepting = JoinSet::new();
    for (listeners, transport) in [(plain, Transport::Plain), (tls, Transport::Tls)] {
        for listener in listeners {
            accepting.spawn(reception.clone().accept(listener, transport, stopping.clone()));
        }
    }
    accepting.join_all().await;
    // Ends connections of HTTP/1 that wait for a request.
    proxy.http_cleanup().await;
    Ok(())
}

impl Reception {
    async fn accept(self: Arc<Self>, listener: TcpListener, transport: Transport, stopping: ShutdownWatch) {
        let mut stopped = stopping.clone();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                _ = stopped.wait_for(|stopped| *stopped) => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    if let Some(place) = self.place() {
                        tokio::spawn(self.clone().connection(stream, peer, transport, place, stopping.clone()));
                    }
                }
                Err(error) => {
                    error!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_AGAIN).await;
                }
            }
        }
    }

    /// A place for one more connection; `None`: there are as many as there may be.
    fn place(self: &Arc<Self>) -> Option<Place> {
        let max = self.house.live().generation.config.server.connections.max.min(self.files_for);
        if self.open.fetch_add(1, Ordering::Relaxed) >= max {
            self.open.fetch_sub(1, Ordering::Relaxed);
            self.house.metrics.closed(Closed::Surplus);
            return None;
        }
        Some(Place { reception: self.clone(), _counted: self.house.metrics.connected() })
    }

    /// One connection, from its first byte to its last.
    async fn connection(
        self: Arc<Self>,
        stream: TcpStream,
        peer: SocketAddr,
        transport: Transport,
        _place: Place,
        stopping: ShutdownWatch,
    ) {
        let live = self.house.live();
        let connections = &live.generation.config.server.connections;
        // Answers leave in as few writes as there can be; waiting for more only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "a client was gone at once");
            return;
        }
        let socket = Socket::new(stream, peer, connections.send_timeout, self.house.metrics.clone());
        let clock = socket.clock().clone();
        let expects_header = connections.begins_with_proxy_header(peer.ip());
        let opening = self.open(socket, transport, expects_header);
        let opened = tokio::time::timeout(connections.header_timeout, opening).await;
        let header_bytes = live.generation.config.server.header_bytes;
        drop(live);
        let stream = match opened {
            Ok(Ok(stream)) => stream,
            Ok(Err(closed)) => return self.house.metrics.closed(closed),
            Err(_) => return self.house.metrics.closed(Closed::Header),
        };
        clock.opened(transport == Transport::Tls);
        let Some(door) = Door::new(self.house.clone(), clock.clone(), &stream) else {
            return debug!("a client was gone at once");
        };
        let edge = Arc::new(Edge::new(self.proxy.clone(), clock.clone(), header_bytes));
        let stops = || {
            let mut stopping = stopping.clone();
            async move {
                let _ = stopping.wait_for(|stopped| *stopped).await;
            }
        };
        let limits = || Limits::from(&self.house.live().generation.config.server.connections);
        let served = edge.serve(stream, &door, &stopping);
        // When a limit was passed no request runs: nothing of one is cut off.
        if let Some(Some(closed)) = watched(served, clock.passes(limits, stops())).await {
            self.house.metrics.closed(closed);
        }
    }

    /// Takes off what stands before the first request. An error says what was wrong.
    async fn open(&self, mut socket: Socket, transport: Transport, expects_header: bool) -> Result<Stream, Closed> {
        if expects_header {
            proxy_header::take(&mut socket).await.map_err(|error| {
                debug!(%error, "a connection was closed");
                Closed::ProxyHeader
            })?;
        }
        match transport {
            Transport::Plain => Ok(Box::new(socket)),
            Transport::Tls => match self.tls.tls_handshake(socket).await {
                Ok(stream) => Ok(Box::new(stream)),
                Err(error) => {
                    debug!(%error, "a connection was closed");
                    Err(Closed::Handshake)
                }
            },
        }
    }
}

/// A connection's place among those that there may be.
struct Place {
    reception: Arc<Reception>,
    _counted: Connected,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.reception.open.fetch_sub(1, Ordering::Relaxed);
    }
}
