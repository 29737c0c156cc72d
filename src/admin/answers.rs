//! What the operator's listener answers.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde_json::json;
use tokio::time::timeout;

use super::{Limits, Operations, origin};
use crate::telemetry::{Metrics, metrics};

#[derive(Clone)]
struct Office {
    limits: Limits,
    ops: Arc<dyn Operations>,
    metrics: Arc<Metrics>,
}

pub(super) fn router(limits: Limits, ops: Arc<dyn Operations>, metrics: Arc<Metrics>) -> Router {
    Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(|| async { "ok" }))
        .route("/readyz", get(ready))
        .route("/status", get(status))
        .route("/reload", post(reload))
        .fallback(|| async {
            refusal(StatusCode::NOT_FOUND, "not found: there are /metrics, /healthz, /readyz, /status and POST /reload")
        })
        .method_not_allowed_fallback(|| async {
            refusal(StatusCode::METHOD_NOT_ALLOWED, "method not allowed: /reload takes POST, the others take GET")
        })
        .with_state(Office { limits, ops, metrics })
}

async fn scrape(State(office): State<Office>) -> Response {
    if timeout(office.limits.refresh_timeout, office.ops.refresh_metrics()).await.is_err() {
        office.metrics.unsettled(None);
    }
    // On a thread of its own: a thousand routes are a text of some megabytes, and clients do not wait for it.
    match tokio::task::spawn_blocking(move || office.metrics.render()).await {
        Ok(text) => ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(_) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be written; see the log"),
    }
}

async fn ready(State(office): State<Office>) -> Response {
    let limit = office.limits.answer_timeout;
    let reasons = match timeout(limit, office.ops.not_ready()).await {
        Ok(reasons) => reasons,
        Err(_) => vec![format!("it is not known within {limit:?} whether the gateway is ready")],
    };
    let status = if reasons.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": reasons.is_empty(), "reasons": reasons }))).into_response()
}

async fn status(State(office): State<Office>) -> Response {
    match timeout(office.limits.answer_timeout, office.ops.status()).await {
        Ok(status) => Json(status).into_response(),
        Err(_) => too_late(office.limits.answer_timeout),
    }
}

async fn reload(State(office): State<Office>, headers: HeaderMap) -> Response {
    if let Err(foreign) = origin::check(&headers) {
        return refusal(StatusCode::FORBIDDEN, &foreign.to_string());
    }
    let limit = office.limits.reload_timeout;
    // A task of its own: a client that hangs up does not leave a reload half done.
    match timeout(limit, uncancelled(async move { office.ops.reload().await })).await {
        Ok(Some(answer)) => {
            let status = if answer.ok { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
            (status, Json(answer)).into_response()
        }
        Ok(None) => refusal(StatusCode::INTERNAL_SERVER_ERROR, "the reload failed; see the log"),
        Err(_) => too_late(limit),
    }
}

/// `None` when it panicked.
async fn uncancelled<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> Option<T> {
    tokio::spawn(work).await.ok()
}

fn too_late(limit: Duration) -> Response {
    refusal(StatusCode::GATEWAY_TIMEOUT, &format!("no answer within {limit:?}"))
}

fn refusal(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error }))).into_response()
}
