//! What a chain's node answers.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll};

use alloy::primitives::{Address, B256, U256, address};
use alloy::rpc::json_rpc::{RequestPacket, ResponsePacket};
use alloy::transports::{TransportError, TransportErrorKind, TransportFut};
use tokio::runtime::{Builder, Runtime};
use tower_service::Service;
use url::Url;

use crate::evm::chain::{Chain, Finding, NodeConfig, Sought};

const CHAIN_ID: u64 = 84532;
const TOKEN: Address = address!("036CbD53842c5426634e7929541eC2318f3dCF7e");
const PAYER: Address = Address::repeat_byte(0x0a);
const PAY_TO: Address = Address::repeat_byte(0x0b);
const NONCE: B256 = B256::repeat_byte(0x0c);

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().build().unwrap());

/// A node that answers each question with the next line, whatever was asked.
#[derive(Clone)]
struct Script(Arc<Mutex<VecDeque<Vec<u8>>>>);

impl Script {
    fn next(&self, request: &RequestPacket) -> Result<ResponsePacket, TransportError> {
        let line = self.0.lock().ok().and_then(|mut lines| lines.pop_front());
        let line = line.ok_or_else(|| TransportErrorKind::custom_str("no more answers"))?;
        // A line is the result, or with a `!` before it the whole body.
        let body = match (line.split_first(), request) {
            (Some((b'!', body)), _) => body.to_vec(),
            (_, RequestPacket::Single(question)) => {
                let id = serde_json::to_string(question.id()).unwrap_or_default();
                let head = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":");
                [head.as_bytes(), &line, b"}"].concat()
            }
            (_, RequestPacket::Batch(_)) => line,
        };
        serde_json::from_slice(&body).map_err(|_| TransportErrorKind::custom_str("no JSON-RPC"))
    }
}

impl Service<RequestPacket> for Script {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: RequestPacket) -> TransportFut<'static> {
        let answer = self.next(&request);
        Box::pin(async move { answer })
    }
}

/// A node's answers to the questions of one look, a line each.
///
/// Nothing is paid, diverted or cancelled for which no line names a token's event by its payer and nonce.
pub fn node_answer(data: &[u8]) {
    let config = NodeConfig { url: Url::parse("http://node.test").unwrap(), confirmations: 3, block_range: 1000 };
    let sought = Sought {
        token: TOKEN,
        payer: PAYER,
        nonce: NONCE,
        pay_to: PAY_TO,
        amount: U256::from(1000),
        valid_before: 1_710_000_300,
        since: 1_710_000_000,
    };
    for named in [None, Some(B256::repeat_byte(0x0d))] {
        let lines = data.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        let chain = Chain::over(Script(Arc::new(Mutex::new(lines))), CHAIN_ID, &config);
        match RUNTIME.block_on(chain.look(&sought, named)) {
            Ok(Finding::Paid { .. } | Finding::Diverted { .. } | Finding::Canceled { .. }) => {
                let said = data.to_ascii_lowercase();
                let nonce = "0c".repeat(32);
                assert!(said.windows(64).any(|word| word == nonce.as_bytes()), "an event out of nothing");
            }
            Ok(Finding::Expired | Finding::Unused | Finding::Unconfirmed { .. }) => {}
            Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?}"),
        }
    }
}
