//! Where requests are forwarded to: servers by name or address, in turn, past those that are down.

use std::collections::{self, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use pingora::lb::discovery::ServiceDiscovery;
use pingora::lb::health_check::TcpHealthCheck;
use pingora::lb::selection::RoundRobin;
use pingora::lb::{Backend, Backends, Extensions, LoadBalancer};
use pingora::protocols::l4::socket::SocketAddr;
use pingora::upstreams::peer::{HttpPeer, PeerOptions};
use pingora::{Error, ErrorType, Result};
use tracing::warn;

use crate::config::{Charge, Config, ServerAddress, Upstream};
use crate::telemetry::{Metrics, UpstreamMetrics};

/// How often names are resolved again and servers looked at.
pub(super) const REFRESH_EVERY: Duration = Duration::from_secs(10);

/// How many servers are looked at to find one that is up.
const SELECT_ITERATIONS: usize = 64;

/// All upstreams of a config.
pub(super) struct Upstreams(foldhash::HashMap<Arc<str>, Arc<LiveUpstream>>);

/// One upstream at work.
pub(super) struct LiveUpstream {
    pub(super) config: Upstream,
    /// Whether a priced route leads to one of its servers, by this name or another.
    pub(super) sells: bool,
    pub(super) metrics: Arc<UpstreamMetrics>,
    balancer: LoadBalancer<RoundRobin>,
    options: PeerOptions,
    /// The one server, where there is only one: nothing to choose.
    alone: ArcSwapOption<HttpPeer>,
}

impl std::fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Upstreams {
    /// Resolves every server's name; one that cannot be resolved now is tried again later.
    pub(super) async fn start(config: &Config, metrics: &Metrics) -> Upstreams {
        let mut upstreams = foldhash::HashMap::default();
        for (name, upstream) in &config.upstreams {
            let live = LiveUpstream::new(upstream.clone(), sells(config, upstream), metrics.for_upstream(name));
            live.refresh().await;
            upstreams.insert(name.clone(), Arc::new(live));
        }
        Upstreams(upstreams)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<LiveUpstream>> {
        self.0.get(name)
    }

    /// Resolves names again and looks which servers are up.
    pub(super) async fn refresh(&self) {
        futures::future::join_all(self.0.values().map(|upstream| upstream.refresh())).await;
    }

    /// For the operator: each upstream's servers and whether they are used.
    pub(super) fn status(&self) -> serde_json::Value {
        let upstreams = self.0.iter().map(|(name, upstream)| {
            let backends = upstream.balancer.backends();
            let servers: Vec<_> = backends
                .get_backend()
                .iter()
                .map(
                    |backend| serde_json::json!({ "address": backend.addr.to_string(), "up": backends.ready(backend) }),
                )
                .collect();
            (name.to_string(), serde_json::Value::Array(servers))
        });
        serde_json::Value::Object(upstreams.collect())
    }
}

impl LiveUpstream {
    fn new(config: Upstream, sells: bool, metrics: Arc<UpstreamMetrics>) -> LiveUpstream {
        let discovery = Resolver { servers: config.servers.clone() };
        let mut backends = Backends::new(Box::new(discovery));
        // A lone server is asked whatever its health: there is nobody to ask instead.
        if config.servers.len() > 1 {
            backends.set_health_check(TcpHealthCheck::new());
        }
        let mut options = PeerOptions::new();
        options.connection_timeout = Some(config.connect_timeout);
        options.total_connection_timeout = Some(config.connect_timeout);
        options.read_timeout = Some(config.read_timeout);
        options.write_timeout = Some(config.write_timeout);
        options.idle_timeout = Some(config.idle_timeout);
        let balancer = LoadBalancer::from_backends(backends);
        LiveUpstream { config, sells, metrics, balancer, options, alone: ArcSwapOption::empty() }
    }

    /// The next server that is up.
    pub(super) fn peer(&self) -> Result<Box<HttpPeer>> {
        if let Some(peer) = &*self.alone.load() {
            return Ok(Box::new(HttpPeer::clone(peer)));
        }
        let backend = self.balancer.select(b"", SELECT_ITERATIONS);
        let peer = backend.and_then(|backend| self.peer_at(&backend));
        peer.map(Box::new).ok_or_else(|| Error::explain(ErrorType::ConnectNoRoute, "no server of it is up"))
    }

    fn peer_at(&self, backend: &Backend) -> Option<HttpPeer> {
        let SocketAddr::Inet(address) = backend.addr else { return None };
        let mut peer = match backend.ext.get::<Tls>() {
            Some(tls) => HttpPeer::new(address, true, tls.name.clone()),
            None => HttpPeer::new(address, false, String::new()),
        };
        peer.options = self.options.clone();
        Some(peer)
    }

    /// Whether another server can be tried when one cannot be reached.
    pub(super) fn has_alternatives(&self) -> bool {
        self.balancer.backends().get_backend().len() > 1
    }

    async fn refresh(&self) {
        if let Err(error) = self.balancer.update().await {
            warn!(upstream = %self.config.name, %error, "an upstream's servers cannot be resolved");
        }
        let backends = self.balancer.backends();
        backends.run_health_check(true).await;
        let all = backends.get_backend();
        let alone = all.first().filter(|_| all.len() == 1).and_then(|backend| self.peer_at(backend));
        self.alone.store(alone.map(Arc::new));
    }
}

/// Whether a priced route leads to a server of this upstream: two upstreams may be the same server.
fn sells(config: &Config, upstream: &Upstream) -> bool {
    let priced = config.routes.iter().filter(|route| matches!(route.charge, Charge::Priced(_)));
    let mut sold = priced.filter_map(|route| config.upstreams.get(&route.upstream)).flat_map(|other| &other.servers);
    sold.any(|server| upstream.servers.iter().any(|own| own.host == server.host && own.port == server.port))
}

/// A server that speaks TLS, and the name that its certificate must have.
#[derive(Debug, Clone)]
struct Tls {
    name: String,
}

/// Resolves names with the system's resolver.
struct Resolver {
    servers: Vec<ServerAddress>,
}

#[async_trait]
impl ServiceDiscovery for Resolver {
    /// An address is itself. A name that does not resolve is left out; if none resolves, that is an error and what
    /// was known before stays.
    async fn discover(&self) -> Result<(BTreeSet<Backend>, collections::HashMap<u64, bool>)> {
        let mut backends = BTreeSet::new();
        let mut failure = None;
        for server in &self.servers {
            match tokio::net::lookup_host((server.host.as_str(), server.port)).await {
                Ok(addresses) => backends.extend(addresses.map(|address| {
                    let mut ext = Extensions::new();
                    if server.tls {
                        ext.insert(Tls { name: server.host.clone() });
                    }
                    Backend { addr: SocketAddr::Inet(address), weight: 1, ext }
                })),
                Err(error) => failure = Some(format!("{}: {error}", server.host)),
            }
        }
        match failure {
            Some(failure) if backends.is_empty() => Err(Error::explain(ErrorType::ConnectNoRoute, failure)),
            _ => Ok((backends, collections::HashMap::new())),
        }
    }
}
