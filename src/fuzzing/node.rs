//! What a chain's node answers.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Context, Poll};

use alloy::hex;
use alloy::primitives::{Address, B256, U256, address};
use alloy::rpc::json_rpc::{RequestPacket, ResponsePacket};
use alloy::sol_types::SolEvent;
use alloy::transports::{TransportError, TransportErrorKind, TransportFut};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};
use tower_service::Service;
use url::Url;

use crate::evm::chain::{AuthorizationCanceled, AuthorizationUsed, Chain, Finding, NodeConfig, Sought, Transfer};

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
/// Nothing is paid, diverted or cancelled for which no line holds the token's event of that kind by its payer and nonce;
/// nothing is paid without a transfer to whom it was meant for; and nothing is over that no line says was not used.
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
        let found = RUNTIME.block_on(chain.look(&sought, named));
        let signature = match &found {
            Ok(Finding::Paid { .. } | Finding::Diverted { .. }) => Some(AuthorizationUsed::SIGNATURE_HASH),
            Ok(Finding::Canceled { .. }) => Some(AuthorizationCanceled::SIGNATURE_HASH),
            Ok(Finding::Expired | Finding::Unused | Finding::Unconfirmed { .. }) | Err(_) => None,
        };
        if let Some(signature) = signature {
            says(data, &[hex::encode(signature), hex::encode(NONCE), hex::encode(PAYER), hex::encode(TOKEN)]);
        }
        match found {
            Ok(Finding::Paid { .. }) => says(data, &[hex::encode(Transfer::SIGNATURE_HASH), hex::encode(PAY_TO)]),
            Ok(Finding::Expired | Finding::Unused) => says(data, &["0".repeat(64)]),
            Ok(Finding::Diverted { .. } | Finding::Canceled { .. } | Finding::Unconfirmed { .. }) => {}
            Err(error) => assert!(!error.to_string().contains(char::is_control), "{error:?}"),
        }
    }
}

/// Each of these digits stands in a line.
fn says(data: &[u8], digits: &[String]) {
    // As JSON reads it: a digit may be written as an escape.
    let lines = data.split(|&byte| byte == b'\n').map(|line| line.strip_prefix(b"!").unwrap_or(line));
    let said: String =
        lines.filter_map(|line| serde_json::from_slice::<Value>(line).ok()).map(|line| line.to_string()).collect();
    let said = said.to_ascii_lowercase();
    for digits in digits {
        assert!(said.contains(digits), "found out of nothing: nobody said {digits}");
    }
}
