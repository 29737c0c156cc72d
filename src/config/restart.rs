//! What of a changed file waits for a restart.

use std::net::SocketAddr;

use super::{Config, LedgerUrl, LogFormat};

/// What a gateway has started with and cannot change while it runs.
#[derive(Debug)]
pub struct Started {
    listen: Vec<SocketAddr>,
    tls_listen: Vec<SocketAddr>,
    threads: Option<usize>,
    admin: Option<SocketAddr>,
    ledger: LedgerUrl,
    log_format: LogFormat,
}

impl Started {
    /// With this config.
    pub fn with(config: &Config) -> Started {
        Started {
            listen: config.server.listen.clone(),
            tls_listen: tls_listen(config),
            threads: config.server.threads,
            admin: config.admin.listen,
            ledger: config.ledger.url.clone(),
            log_format: config.log.format,
        }
    }

    /// The keys of `new` that wait for a restart; empty: a reload carries everything out.
    pub fn waiting(&self, new: &Config) -> Vec<String> {
        let changes = [
            ("server.listen", self.listen != new.server.listen),
            ("server.tls.listen", self.tls_listen != tls_listen(new)),
            ("server.threads", self.threads != new.server.threads),
            ("admin.listen", self.admin != new.admin.listen),
            ("ledger.url", self.ledger != new.ledger.url),
            ("log.format", self.log_format != new.log.format),
        ];
        changes.into_iter().filter(|(_, changed)| *changed).map(|(key, _)| key.to_owned()).collect()
    }
}

fn tls_listen(config: &Config) -> Vec<SocketAddr> {
    config.server.tls.as_ref().map_or(Vec::new(), |tls| tls.listen.clone())
}
