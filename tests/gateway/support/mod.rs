//! What the tests are made of: a scripted upstream, a scripted facilitator, a payer, a client that controls each
//! byte, and the built binary between them.

pub mod facilitator;
pub mod fleet;
pub mod gateway;
pub mod h2;
pub mod http;
pub mod ledger;
pub mod metrics;
pub mod payer;
pub mod ports;
pub mod postgres;
pub mod server;
pub mod setup;
pub mod tls;
pub mod upstream;
pub mod usage;

use std::future::Future;
use std::time::Duration;

pub use facilitator::{FakeFacilitator, Settle, Verify};
pub use gateway::Gateway;
pub use h2::Http2;
pub use http::{Connection, Request, Response};
pub use payer::{Challenge, Payer, Payment};
pub use server::Answer;
pub use setup::Setup;
pub use upstream::Upstream;

/// How long anything that must happen may take on a loaded machine. No test waits for it to pass.
pub const LIMIT: Duration = Duration::from_secs(30);

/// The future's output; panics, naming what was awaited, when it does not come.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(LIMIT, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {LIMIT:?} in vain for {what}"),
    }
}

/// Asks again and again until the answer is `Some`; for what only another process can tell.
pub async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    within(what, async {
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
}

/// A gateway with one priced route, `paid` at `/paid/*` for one cent, and one free one, `free` at `/free/*`.
pub struct House {
    /// The backend.
    pub upstream: Upstream,
    /// Who verifies and settles.
    pub facilitator: FakeFacilitator,
    /// The binary under test.
    pub gateway: Gateway,
    /// Somebody with a key.
    pub payer: Payer,
}

impl House {
    /// One whose priced route has these further keys.
    pub async fn with_route(keys: &str) -> House {
        House::build(keys, |setup| setup).await
    }

    /// One whose file is changed before the gateway starts.
    pub async fn build(route_keys: &str, change: impl FnOnce(Setup) -> Setup) -> House {
        let upstream = Upstream::start().await;
        let facilitator = FakeFacilitator::start().await;
        let setup = Setup::new(&upstream, &facilitator)
            .route("paid", "/paid/*", &format!("price = \"$0.01\"\n{route_keys}"))
            .route("free", "/free/*", "price = \"free\"");
        let gateway = Gateway::start(change(setup)).await;
        House { upstream, facilitator, gateway, payer: Payer::new() }
    }

    /// Asks for a path without paying and reads the terms.
    pub async fn challenge(&self, path: &str) -> Challenge {
        Challenge::of(&self.gateway.send(Request::get(path)).await)
    }

    /// A new v2 payment for a path.
    pub async fn payment(&self, path: &str) -> Payment {
        self.payer.pay_v2(&self.challenge(path).await)
    }

    /// Sends a payment for a path.
    pub async fn redeem(&self, path: &str, payment: &Payment) -> Response {
        self.gateway.send(Request::get(path).paid(payment)).await
    }
}
