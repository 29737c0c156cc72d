//! A backend that knows nothing of payments.

use std::net::TcpListener;

use axum::http::HeaderMap;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

/// Serves until the runtime ends.
pub(super) async fn serve(listener: TcpListener) {
    let router = Router::new()
        .route("/free", get(|| async { Json(json!({ "weather": "look out of the window" })) }))
        .route("/premium", get(premium));
    let served = match listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener)) {
        Ok(listener) => axum::serve(listener, router).await,
        Err(error) => Err(error),
    };
    if let Err(error) = served {
        tracing::error!(%error, "the demo's upstream ended");
    }
}

/// Shows what Farebox tells a backend about who paid.
async fn premium(headers: HeaderMap) -> Json<Value> {
    let told: serde_json::Map<String, Value> = headers
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("farebox-"))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().into()))
        .collect();
    Json(json!({ "weather": "sunny", "temperature": 21, "the upstream was told": told }))
}
