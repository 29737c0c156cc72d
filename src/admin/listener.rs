//! Accepting the operator's connections, within limits.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Limits, Operations, answers};
use crate::telemetry::Metrics;

/// How long a failed accept is waited out; it fails while the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Serves the operator until `shutdown` is ready, then lets requests in flight end.
pub async fn serve(
    listener: TcpListener,
    ops: Arc<dyn Operations>,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()>,
) {
    serve_within(Limits::default(), listener, ops, metrics, shutdown).await;
}

/// As [`serve`], within other limits.
pub(super) async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    ops: Arc<dyn Operations>,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()>,
) {
    let router = answers::router(limits, ops, metrics);
    let slots = Arc::new(Semaphore::new(limits.connections));
    let (stop, stopping) = watch::channel(());
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            accepted = accept(&listener, &slots) => match accepted {
                Ok((stream, slot)) => {
                    connections.spawn(connection(limits, stream, slot, router.clone(), stopping.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "the admin listener cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    drop(stop);
    while connections.join_next().await.is_some() {}
}

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, slot))
}

async fn connection(
    limits: Limits,
    stream: TcpStream,
    _slot: OwnedSemaphorePermit,
    router: Router,
    mut stopping: watch::Receiver<()>,
) {
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_timeout)
        .max_buf_size(limits.head_bytes)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(serving);
    tokio::select! {
        // How a connection ended, or that it broke, is the client's affair.
        _ = &mut serving => return,
        // The sender is never used, only dropped: this is the shutdown.
        _ = stopping.changed() => {}
        () = tokio::time::sleep(limits.connection_lifetime) => {}
    }
    serving.as_mut().graceful_shutdown();
    let _ = timeout(limits.grace, serving).await;
}
