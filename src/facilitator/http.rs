//! A facilitator behind HTTP.
//!
//! This file knows connections, time and sizes; what an answer means is decided in `answer`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::answer::{self, Answer, Failure};
use super::{BuildError, Facilitator, Fault, FaultKind, Operation, Order, Settlement, Supported, Verification};
use crate::config;
use crate::outbound::{self, chain};

/// Bytes of an answer to `/verify` or `/settle` that are read.
pub const DECISION_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an answer to `/supported` that are read.
pub const SUPPORTED_BYTES_MAX: usize = 256 * 1024;
/// Idle connections that are kept. A server that closes one just as it is taken leaves a settlement unknown, so
/// they are given up before Node's `keepAliveTimeout` of 5 seconds, the shortest in wide use.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
const IDLE_CONNECTIONS_MAX: usize = 64;

/// Speaks to a facilitator over HTTP/1.1 or HTTP/2, over connections that it keeps.
pub struct HttpFacilitator {
    name: Arc<str>,
    client: reqwest::Client,
    verify_url: Url,
    settle_url: Url,
    supported_url: Url,
    read_timeout: Duration,
    verify_timeout: Duration,
    settle_timeout: Duration,
}

impl HttpFacilitator {
    /// Connects to nobody yet. Fails on a URL that has no path, a header that cannot be written, or a machine
    /// without root certificates for a facilitator behind TLS.
    pub fn new(name: Arc<str>, config: &config::HttpFacilitator) -> Result<HttpFacilitator, BuildError> {
        let refuse = |detail: String| BuildError { facilitator: name.clone(), detail };
        let url = |operation| endpoint(&config.url, operation).ok_or_else(|| refuse("its URL has no path".into()));
        let (verify_url, settle_url, supported_url) =
            (url(Operation::Verify)?, url(Operation::Settle)?, url(Operation::Supported)?);
        let client = outbound::client(&config.url)
            .default_headers(headers(config).map_err(|header| refuse(format!("header {header} cannot be sent")))?)
            // Below the total, or a slow connect would look like a request that was sent.
            .connect_timeout(config.connect_timeout.min(config.verify_timeout).min(config.settle_timeout))
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX);
        let client = client.build().map_err(|error| refuse(chain(&error)))?;
        Ok(HttpFacilitator {
            name: name.clone(),
            client,
            verify_url,
            settle_url,
            supported_url,
            read_timeout: config.read_timeout,
            verify_timeout: config.verify_timeout,
            settle_timeout: config.settle_timeout,
        })
    }

    fn post(&self, url: &Url, body: String) -> reqwest::RequestBuilder {
        self.client.post(url.clone()).header(CONTENT_TYPE, "application/json").body(body)
    }

    /// Sends a request and reads its answer to the end, within `total` and `bytes_max`.
    async fn exchange(
        &self,
        request: reqwest::RequestBuilder,
        total: Duration,
        bytes_max: usize,
    ) -> Result<Answer, Failure> {
        match tokio::time::timeout(total, self.receive(request, bytes_max)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure { kind: FaultKind::Timeout, detail: format!("no complete answer within {total:?}") }),
        }
    }

    /// The head may take as long as the whole call does: a settlement is waiting for its block. Once the answer has
    /// begun, `read_timeout` bounds each pause.
    async fn receive(&self, request: reqwest::RequestBuilder, bytes_max: usize) -> Result<Answer, Failure> {
        let mut response = request.send().await.map_err(unsent_or_cut)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        loop {
            let chunk = match tokio::time::timeout(self.read_timeout, response.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return Ok(Answer { status, body }),
                Ok(Err(error)) => return Err(Failure { kind: FaultKind::Cut, detail: chain(&error.without_url()) }),
                Err(_) => {
                    let detail = format!("HTTP {status}, then nothing for {:?}", self.read_timeout);
                    return Err(Failure { kind: FaultKind::Timeout, detail });
                }
            };
            if chunk.len() > bytes_max.saturating_sub(body.len()) {
                let detail = format!("HTTP {status} with a body of more than {bytes_max} bytes");
                return Err(Failure { kind: FaultKind::Garbage, detail });
            }
            body.extend_from_slice(&chunk);
        }
    }
}

#[async_trait]
impl Facilitator for HttpFacilitator {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    async fn verify(&self, order: &Order) -> Result<Verification, Fault> {
        let request = self.post(&self.verify_url, order.settle_request());
        self.exchange(request, self.verify_timeout, DECISION_BYTES_MAX)
            .await
            .and_then(|answer| answer::verification(order, &answer))
            .map_err(|failure| failure.of(&self.name))
    }

    async fn settle(&self, order: &Order) -> Settlement {
        let request = self.post(&self.settle_url, order.settle_request());
        let answer = self.exchange(request, self.settle_timeout, DECISION_BYTES_MAX).await;
        answer::settlement(order, &self.name, answer)
    }

    async fn supported(&self) -> Result<Supported, Fault> {
        let request = self.client.get(self.supported_url.clone());
        self.exchange(request, self.verify_timeout, SUPPORTED_BYTES_MAX)
            .await
            .and_then(|answer| answer::supported(&answer))
            .map_err(|failure| failure.of(&self.name))
    }
}

/// The URL's path with the operation behind it, whether or not it ended in a slash; its query stays.
fn endpoint(base: &Url, operation: Operation) -> Option<Url> {
    let mut url = base.clone();
    url.path_segments_mut().ok()?.pop_if_empty().push(operation.label());
    Some(url)
}

/// The bearer and the custom headers, or the name of one that cannot be written.
fn headers(config: &config::HttpFacilitator) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    let bearer = config.bearer.as_ref().map(|token| ("authorization", format!("Bearer {}", token.expose())));
    let custom = config.headers.iter().map(|(name, value)| (name.as_str(), value.expose().to_owned()));
    for (name, value) in bearer.into_iter().chain(custom) {
        let mut value = HeaderValue::from_str(&value).map_err(|_| name.to_owned())?;
        value.set_sensitive(true);
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| name.to_owned())?;
        if name == AUTHORIZATION {
            // Two of them are nobody's.
            headers.insert(name, value);
        } else {
            headers.append(name, value);
        }
    }
    Ok(headers)
}

/// Without a connection nothing was sent; after it, nobody knows how much was.
fn unsent_or_cut(error: reqwest::Error) -> Failure {
    let kind = if error.is_connect() || error.is_builder() {
        FaultKind::Unreached
    } else if error.is_timeout() {
        FaultKind::Timeout
    } else {
        FaultKind::Cut
    };
    Failure { kind, detail: chain(&error.without_url()) }
}

#[cfg(test)]
mod tests;
