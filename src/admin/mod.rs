//! The operator's listener: `/metrics`, `/healthz`, `/readyz`, `/status` and `POST /reload`.

mod answers;
mod listener;
mod origin;

pub use listener::serve;

use std::time::Duration;

use async_trait::async_trait;

/// What the running gateway answers its operator. The listener knows nothing else of the house.
#[async_trait]
pub trait Operations: Send + Sync + 'static {
    /// Why the gateway is not ready, one sentence each; empty when it is: the ledger is writable and each priced
    /// route has a facilitator that answered.
    async fn not_ready(&self) -> Vec<String>;

    /// Snapshot, facilitators, upstreams and ledger counts, as JSON.
    async fn status(&self) -> serde_json::Value;

    /// Loads the config file again and swaps it if it is right. Never cancelled half way.
    async fn reload(&self) -> ReloadAnswer;

    /// Brings metrics that are read rather than counted up to date: called before each scrape, which waits for it
    /// [`Limits::refresh_timeout`] at most.
    async fn refresh_metrics(&self) {}
}

/// What came of a reload.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ReloadAnswer {
    /// Whether the new file is in force (also when it is the old one, unchanged).
    pub ok: bool,
    /// The hash of the config that is in force now.
    pub config_hash: String,
    /// What changed in the file but needs a restart to take effect, such as `server.listen`.
    pub needs_restart: Vec<String>,
    /// The rendered errors of a file that was refused.
    pub errors: Option<String>,
    /// Rendered warnings.
    pub warnings: Vec<String>,
}

/// What the operator's listener puts up with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time; further ones wait to be accepted.
    pub connections: usize,
    /// Bytes of a request's head. Bodies are not read at all.
    pub head_bytes: usize,
    /// For a request's head to arrive, and for which a kept connection may be idle.
    pub head_timeout: Duration,
    /// After which a connection is closed once its request is answered.
    pub connection_lifetime: Duration,
    /// For [`Operations::refresh_metrics`], after which the scrape goes on without.
    pub refresh_timeout: Duration,
    /// For [`Operations::not_ready`] and [`Operations::status`].
    pub answer_timeout: Duration,
    /// For [`Operations::reload`]; it goes on when nobody waits for it any more.
    pub reload_timeout: Duration,
    /// For which requests in flight may go on after the shutdown has begun, or after the connection's lifetime.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 64,
            head_bytes: 16 * 1024,
            head_timeout: Duration::from_secs(30),
            connection_lifetime: Duration::from_secs(600),
            refresh_timeout: Duration::from_secs(2),
            answer_timeout: Duration::from_secs(5),
            reload_timeout: Duration::from_secs(60),
            grace: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests;
