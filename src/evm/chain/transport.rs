//! JSON-RPC over HTTP for alloy's provider, with bounds that its own transport does not have: how long an answer may
//! be and how long it may take.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use alloy::rpc::json_rpc::{RequestPacket, ResponsePacket};
use alloy::transports::{TransportError, TransportErrorKind, TransportFut};
use tower_service::Service;
use url::Url;

use crate::outbound::{self, chain};

/// Bytes of an answer that are read; a block's receipt with thousands of logs fits.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Bytes of a node's text that a log line keeps.
const DETAIL_BYTES_MAX: usize = 300;

/// One node's endpoint.
#[derive(Debug, Clone)]
pub(super) struct Node {
    client: reqwest::Client,
    url: Arc<Url>,
    timeout: Duration,
}

impl Node {
    pub(super) fn new(url: &Url, timeout: Duration) -> Result<Node, String> {
        let client =
            outbound::client(url).connect_timeout(timeout.checked_div(2).unwrap_or(timeout)).timeout(timeout).build();
        let client = client.map_err(|error| chain(&error.without_url()))?;
        Ok(Node { client, url: Arc::new(url.clone()), timeout })
    }

    async fn ask(self, request: RequestPacket) -> Result<ResponsePacket, TransportError> {
        let failed = |text: String| TransportErrorKind::custom_str(&text);
        let sent = self.client.post((*self.url).clone()).json(&request).send().await;
        let mut response = sent.map_err(|error| failed(self.in_words(error)))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| failed(self.in_words(error)))? {
            if chunk.len() > ANSWER_BYTES_MAX.saturating_sub(body.len()) {
                return Err(failed(format!("HTTP {status} with more than {ANSWER_BYTES_MAX} bytes")));
            }
            body.extend_from_slice(&chunk);
        }
        // Some nodes answer an error of theirs with a status of its own: the body says more.
        serde_json::from_slice(&body)
            .map_err(|_| failed(format!("HTTP {status}, and no JSON-RPC: {}", String::from_utf8_lossy(&body))))
    }

    fn in_words(&self, error: reqwest::Error) -> String {
        if error.is_timeout() {
            format!("no complete answer within {:?}", self.timeout)
        } else {
            chain(&error.without_url())
        }
    }
}

impl Service<RequestPacket> for Node {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> TransportFut<'static> {
        Box::pin(self.clone().ask(request))
    }
}

/// A node's text in one bounded line.
pub(super) fn for_log(text: &str) -> String {
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    line.scan(0_usize, |bytes, c| {
        *bytes = bytes.saturating_add(c.len_utf8());
        (*bytes <= DETAIL_BYTES_MAX).then_some(c)
    })
    .collect()
}
