//! Listeners, the runtime, signals, and a shutdown that loses nothing.

use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use pingora::apps::HttpServerOptions;
use pingora::proxy::http_proxy;
use pingora::server::configuration::ServerConf;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch as watch_value;
use tracing::{error, info, warn};

use super::gateway::Gateway;
use super::house::House;
use super::{listener, upstreams};
use crate::admin::{self, Operations};
use crate::config::watch::watch;
use crate::gate::unix_millis;
use crate::ledger::retention::Pruner;

/// Idle connections kept to upstreams, all together; too few cost a connection per request.
const UPSTREAM_POOL: usize = 1024;

/// How often a request is tried on another server of its upstream.
const RETRIES_MAX: usize = 2;

/// How often facilitators are asked what they support.
const SUPPORTED_EVERY: Duration = Duration::from_secs(60);

/// How often while one of them has never answered.
const SUPPORTED_EVERY_UNTIL_ANSWERED: Duration = Duration::from_secs(2);

/// Sockets that are bound already, so that a busy port is an error before anything has started.
pub struct Listeners {
    /// For clients, without TLS.
    pub public: Vec<TcpListener>,
    /// For clients, with TLS.
    pub tls: Vec<TcpListener>,
    /// For the operator.
    pub admin: Option<TcpListener>,
}

/// A socket that could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}: {error}")]
pub struct BindError {
    /// Where.
    pub address: SocketAddr,
    /// Why not.
    pub error: std::io::Error,
}

impl Listeners {
    /// Binds every address.
    pub fn bind(public: &[SocketAddr], tls: &[SocketAddr], admin: Option<SocketAddr>) -> Result<Listeners, BindError> {
        let bind = |address: SocketAddr| {
            let listener = TcpListener::bind(address).map_err(|error| BindError { address, error })?;
            listener.set_nonblocking(true).map_err(|error| BindError { address, error })?;
            Ok(listener)
        };
        Ok(Listeners {
            public: public.iter().copied().map(bind).collect::<Result<_, _>>()?,
            tls: tls.iter().copied().map(bind).collect::<Result<_, _>>()?,
            admin: admin.map(bind).transpose()?,
        })
    }
}

/// The runtime for so many workers. With one there is nobody to steal work from, and connections share it fairly.
pub fn runtime(threads: Option<usize>) -> std::io::Result<tokio::runtime::Runtime> {
    let threads = threads.or_else(|| std::thread::available_parallelism().ok().map(|cores| cores.get())).unwrap_or(1);
    if threads == 1 {
        tokio::runtime::Builder::new_current_thread().enable_all().build()
    } else {
        tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
    }
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Every request was answered and the ledger is closed.
    Cleanly,
    /// Requests or settlements were cut off, or the ledger could not be closed.
    Uncleanly,
}

/// Serves until a signal comes or `done` is ready, then drains; a second signal cuts that short.
pub async fn serve(
    house: Arc<House>,
    listeners: Listeners,
    Signals { mut end, hangup }: Signals,
    done: impl Future<Output = ()>,
) -> Ended {
    let (shutdown, stopping) = watch_value::channel(false);
    let proxy = tokio::spawn(serve_clients(house.clone(), listeners.public, listeners.tls, stopping.clone()));
    // The operator can look until the last request is answered.
    let admin = listeners.admin.map(tokio::net::TcpListener::from_std).and_then(|listener| match listener {
        Ok(listener) => {
            Some(tokio::spawn(admin::serve(listener, house.clone(), house.metrics.clone(), std::future::pending())))
        }
        Err(error) => {
            error!(%error, "the admin listener cannot be served");
            None
        }
    });
    let keepers = [
        tokio::spawn(keep_facilitators(house.clone())),
        tokio::spawn(keep_upstreams(house.clone())),
        tokio::spawn(keep_config(house.clone(), hangup)),
        tokio::spawn(keep_resolving(house.clone())),
        tokio::spawn(keep_pruning(house.clone())),
    ];

    tokio::select! {
        () = end.next() => {}
        () = done => {}
    }
    let config = house.live().generation.config.clone();
    info!(in_flight = house.in_flight(), "stopping: no new connections, requests in flight are finished");
    for keeper in keepers {
        keeper.abort();
    }
    let _ = shutdown.send(true);
    if let Err(panic) = proxy.await {
        error!(%panic, "the listeners ended badly");
    }
    let drained = tokio::select! {
        drained = house.drain(config.server.drain_timeout) => drained,
        () = end.next() => false,
    };
    if !drained {
        warn!(
            in_flight = house.in_flight(),
            "requests were cut off: server.drain_timeout is over, or a second signal came"
        );
    }
    if let Some(admin) = admin {
        admin.abort();
    }
    let closed = house.gate.shared().ledger.close().await;
    if let Err(error) = &closed {
        error!(%error, "the ledger was not closed");
    }
    if drained && closed.is_ok() { Ended::Cleanly } else { Ended::Uncleanly }
}

/// What the process is asked for. Received from the moment this is made: a SIGHUP ends no gateway that answers already, and
/// none is lost between two waits.
pub struct Signals {
    end: End,
    hangup: Signal,
}

/// What asks the process to end.
struct End {
    term: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Starts to receive SIGTERM, SIGINT and SIGHUP. Needs a runtime.
    pub fn receive() -> std::io::Result<Signals> {
        let end = End { term: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? };
        Ok(Signals { end, hangup: signal(SignalKind::hangup())? })
    }
}

impl End {
    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => info!("SIGTERM"),
            _ = self.interrupt.recv() => info!("SIGINT"),
        }
    }
}

async fn serve_clients(
    house: Arc<House>,
    plain: Vec<TcpListener>,
    tls: Vec<TcpListener>,
    stopping: watch_value::Receiver<bool>,
) {
    let conf =
        ServerConf { max_retries: RETRIES_MAX, upstream_keepalive_pool_size: UPSTREAM_POOL, ..ServerConf::default() };
    let mut proxy = http_proxy(&Arc::new(conf), Gateway { house: house.clone() });
    let mut options = HttpServerOptions::default();
    // Not to tunnel: the engine's own refusal does not say why.
    options.allow_connect_method_proxying = true;
    proxy.server_options = Some(options);
    let of_tokio = |listeners: Vec<TcpListener>| {
        listeners.into_iter().map(tokio::net::TcpListener::from_std).collect::<Result<Vec<_>, _>>()
    };
    match (of_tokio(plain), of_tokio(tls)) {
        (Ok(plain), Ok(tls)) => {
            if let Err(error) = listener::serve(house, proxy, plain, tls, stopping).await {
                error!(%error, "TLS cannot be spoken");
            }
        }
        (Err(error), _) | (_, Err(error)) => error!(%error, "a listener cannot be served"),
    }
}

async fn keep_facilitators(house: Arc<House>) {
    loop {
        let answered = house.live().generation.facilitators.health().iter().all(|health| health.up);
        let pause = if answered { SUPPORTED_EVERY } else { SUPPORTED_EVERY_UNTIL_ANSWERED };
        tokio::time::sleep(pause).await;
        house.refresh_facilitators().await;
    }
}

async fn keep_upstreams(house: Arc<House>) {
    loop {
        tokio::time::sleep(upstreams::REFRESH_EVERY).await;
        house.refresh_upstreams().await;
    }
}

/// Finds out what became of payments whose outcome nobody knows.
async fn keep_resolving(house: Arc<House>) {
    let reconciler = house.gate.reconciler();
    reconciler.run(move || house.live().generation.witnesses.clone()).await;
}

/// Forgets old payments, where the config in force asks for it.
async fn keep_pruning(house: Arc<House>) {
    let (ledger, metrics) = (house.gate.shared().ledger.clone(), house.metrics.clone());
    let pruner = Pruner { ledger, metrics, clock: unix_millis };
    pruner.run(move || house.live().generation.config.ledger.keep).await;
}

/// Reloads on SIGHUP and when the file changes, or one that went into the config.
async fn keep_config(house: Arc<House>, mut hangup: Signal) {
    let files = Some(house.files()).filter(|files| !files.is_empty());
    let mut watched = files.and_then(|files| match watch(files) {
        Ok(watched) => Some(watched),
        Err(error) => {
            warn!(%error, "the config file is not watched: reload with SIGHUP or through the admin listener");
            None
        }
    });
    loop {
        let changed = async {
            match &mut watched {
                Some((_watcher, changes)) => changes.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = hangup.recv() => info!("SIGHUP: reloading the config"),
            () = house.reloaded() => {
                // Whoever asked for it: other files may have gone into it.
                if let Some((watcher, _)) = &watched {
                    watcher.follow(house.files());
                }
                continue;
            }
            change = changed => match change {
                Some(()) => info!("the config file changed, or one that it names: reloading it"),
                None => {
                    warn!("the config file is not watched any more");
                    watched = None;
                    continue;
                }
            },
        }
        house.reload().await;
    }
}
