//! Two gateways over one database, behind a balancer.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use super::postgres::Postgres;
use super::{Challenge, Connection, FakeFacilitator, Gateway, Payer, Payment, Request, Response, Setup, Upstream};

/// As a [`House`](super::House), with two gateways.
pub struct Fleet {
    pub upstream: Upstream,
    pub facilitator: FakeFacilitator,
    pub gateways: [Gateway; 2],
    pub balancer: Balancer,
    pub payer: Payer,
}

impl Fleet {
    /// One whose priced route has these further keys, over a new database.
    pub async fn with_route(server: &Postgres, keys: &str) -> Fleet {
        let upstream = Upstream::start().await;
        let facilitator = FakeFacilitator::start().await;
        let setup = Setup::new(&upstream, &facilitator)
            .route("paid", "/paid/*", &format!("price = \"$0.01\"\n{keys}"))
            .route("free", "/free/*", "price = \"free\"")
            .ledger(&format!(
                "{}&sslmode=verify-full&sslrootcert={}",
                server.database().await,
                server.certificate().display()
            ));
        // At once: one of them makes the tables.
        let (one, two) = join(Gateway::start(setup.clone()), Gateway::start(setup)).await;
        let balancer = Balancer::start([one.address(), two.address()]).await;
        Fleet { upstream, facilitator, gateways: [one, two], balancer, payer: Payer::new() }
    }

    /// A new payment for a path.
    pub async fn payment(&self, path: &str) -> Payment {
        self.payer.pay_v2(&Challenge::of(&self.send(Request::get(path)).await))
    }

    /// One request through the balancer.
    pub async fn send(&self, request: Request) -> Response {
        Connection::open(self.balancer.address).await.exchange(&request).await
    }

    /// Sends a payment for a path through the balancer.
    pub async fn redeem(&self, path: &str, payment: &Payment) -> Response {
        self.send(Request::get(path).paid(payment)).await
    }

    /// A connection to one of the gateways, which takes it for the balancer's.
    pub async fn connect(&self, gateway: usize, request: Request) -> Connection {
        let mut connection = self.gateways[gateway].connect().await;
        connection.send(&request.header("Host", self.balancer.address.to_string())).await;
        connection
    }

    /// Sends a payment for a path to one of the gateways.
    pub async fn redeem_at(&self, gateway: usize, path: &str, payment: &Payment) -> Response {
        let mut connection = self.connect(gateway, Request::get(path).paid(payment)).await;
        let head = connection.head("GET").await;
        connection.finish(head).await
    }
}

/// Gives each connection to the next server that takes it.
pub struct Balancer {
    pub address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Balancer {
    async fn start(servers: [SocketAddr; 2]) -> Balancer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let next = Arc::new(AtomicUsize::new(0));
        let accepting = tokio::spawn(async move {
            // Dropped, and so aborted, with this task.
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let turn = next.fetch_add(1, Ordering::Relaxed);
                connections.spawn(async move {
                    for n in 0..servers.len() {
                        if let Ok(mut server) = TcpStream::connect(servers[(turn + n) % servers.len()]).await {
                            // An end of either side is the connection's end.
                            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                            return;
                        }
                    }
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Balancer { address, accepting }
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
