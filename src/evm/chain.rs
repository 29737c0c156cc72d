//! What a chain says became of an EIP-3009 authorization.
//!
//! A node is asked read-only questions and believed only as far as its answers agree with each other: what cannot be
//! decoded, is too large, comes too late or contradicts is a [`ChainError`], and the payment stays what it was.

mod search;
mod transport;

use std::time::Duration;

use alloy::consensus::TxReceipt;
use alloy::network::AnyNetwork;
use alloy::primitives::{Address, B256, TxHash, U256};
use alloy::providers::{Provider, RootProvider};
use alloy::rpc::client::RpcClient;
use alloy::rpc::types::Log;
use alloy::sol_types::SolEvent;
use alloy::transports::IntoBoxTransport;
use url::Url;

use self::transport::Node;

alloy::sol! {
    /// EIP-3009, "Events": of the authorization's use and of its cancellation by the payer.
    event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
    event AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce);
    /// Whether it was used or cancelled: the state does not tell which.
    function authorizationState(address authorizer, bytes32 nonce) external view returns (bool);
    /// ERC-20.
    event Transfer(address indexed from, address indexed to, uint256 value);
}

/// For which one question may take.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(10);
/// Seconds by which this machine's clock may differ from the blocks'.
const CLOCK_MARGIN_SECONDS: u64 = 600;

/// How a node is asked.
#[derive(Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// Its JSON-RPC endpoint. Often holds a key.
    pub url: Url,
    /// Blocks that must confirm what was found, the one that holds it included.
    pub confirmations: u64,
    /// Blocks that one `eth_getLogs` may span.
    pub block_range: u64,
}

impl std::fmt::Debug for NodeConfig {
    /// Without the URL's path and query, where providers want their keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeConfig")
            .field("host", &self.url.host_str())
            .field("confirmations", &self.confirmations)
            .field("block_range", &self.block_range)
            .finish_non_exhaustive()
    }
}

/// The authorization that is looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought {
    /// The token's contract.
    pub token: Address,
    /// Who signed.
    pub payer: Address,
    /// Under which nonce.
    pub nonce: B256,
    /// Who should have been paid.
    pub pay_to: Address,
    /// At least so much, in atomic units.
    pub amount: U256,
    /// Unix seconds; the token takes it in blocks before.
    pub valid_before: u64,
    /// Unix seconds before which it was not settled here.
    pub since: u64,
}

/// What the chain says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It paid us. Whoever sent the transaction: an authorization can be submitted by anybody.
    Paid {
        /// In this transaction.
        transaction: TxHash,
    },
    /// Its nonce was used, and the money went elsewhere: it can never pay us.
    Diverted {
        /// In this transaction.
        transaction: TxHash,
    },
    /// The payer cancelled it: it can never pay us.
    Canceled {
        /// In this transaction.
        transaction: TxHash,
    },
    /// Its time is over, and it was not used: it can never pay us.
    Expired,
    /// It was not used so far and still may be.
    Unused,
    /// Something became of it, not deep enough in the chain to be relied on.
    Unconfirmed {
        /// In this transaction.
        transaction: TxHash,
    },
}

/// Why a node cannot tell. Never holds its URL.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// It did not answer, or not what was asked.
    #[error("{question}: {detail}")]
    NoAnswer {
        /// The JSON-RPC method.
        question: &'static str,
        /// What came instead.
        detail: String,
    },
    /// It is a node of another chain.
    #[error("the node is of chain {found}, not {expected}: check the network's rpc_url")]
    WrongChain {
        /// Its chain id.
        found: u64,
        /// The network's.
        expected: u64,
    },
    /// What it says does not fit together.
    #[error("{0}")]
    Contradiction(String),
}

/// A block, as far as it matters here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Block {
    number: u64,
    timestamp: u64,
}

/// One chain behind one node.
#[derive(Debug, Clone)]
pub struct Chain {
    provider: RootProvider<AnyNetwork>,
    id: u64,
    config: NodeConfig,
}

impl Chain {
    /// Asks nobody yet. Fails where no HTTP client can be made, such as without root certificates.
    pub fn new(chain_id: u64, config: &NodeConfig) -> Result<Chain, String> {
        Ok(Chain::over(Node::new(&config.url, QUESTION_TIMEOUT)?, chain_id, config))
    }

    /// Asks by this transport, whatever URL the config names.
    pub(crate) fn over(transport: impl IntoBoxTransport, chain_id: u64, config: &NodeConfig) -> Chain {
        // "Local" would only make its polls faster, and nothing polls here.
        let provider = RootProvider::new(RpcClient::new(transport, false));
        Chain { provider, id: chain_id, config: config.clone() }
    }

    /// What became of an authorization. `named`: a transaction that is said to be it; a look there is cheaper than a
    /// search, and proves no less.
    pub async fn look(&self, sought: &Sought, named: Option<TxHash>) -> Result<Finding, ChainError> {
        let found = answered("eth_chainId", self.provider.get_chain_id().await)?;
        if found != self.id {
            return Err(ChainError::WrongChain { found, expected: self.id });
        }
        let latest = self.latest().await?;
        let confirmed = latest.number.saturating_sub(self.config.confirmations.saturating_sub(1));
        if !self.is_spent(sought, latest.number).await? {
            // No later block takes it, and no reorganisation reaches that deep.
            let is_over = self.block(confirmed).await?.timestamp >= sought.valid_before;
            return Ok(if is_over { Finding::Expired } else { Finding::Unused });
        }
        let event = match named {
            Some(transaction) => self.event_in(sought, transaction).await?,
            None => None,
        };
        let event = match event {
            Some(event) => event,
            None => self.search(sought, latest).await?,
        };
        self.judge(sought, &event, confirmed).await
    }

    /// What an event of the authorization means, by its transaction's receipt. That the money went elsewhere is final, and
    /// so nothing is said of a transaction in which we were paid, too: a token may log in another order.
    async fn judge(&self, sought: &Sought, event: &Event, confirmed: u64) -> Result<Finding, ChainError> {
        let transaction = event.transaction;
        let Some(receipt) = self.receipt(transaction).await? else {
            return Err(ChainError::Contradiction(format!("{transaction} has an event and no receipt")));
        };
        let Some(at) = receipt.logs.iter().position(|log| event.kind.is(sought, log)) else {
            return Err(ChainError::Contradiction(format!("the receipt of {transaction} lacks its event")));
        };
        if receipt.block > confirmed {
            return Ok(Finding::Unconfirmed { transaction });
        }
        Ok(match event.kind {
            Kind::Canceled => Finding::Canceled { transaction },
            Kind::Used => {
                // The token marks the nonce, then moves the money: its next transfer is this authorization's.
                let of_token = |log: &&Log| log.address() == sought.token;
                let after = receipt.logs.get(at..).unwrap_or_default();
                let next = after.iter().filter(of_token).find_map(transfer);
                let mut all = receipt.logs.iter().filter(of_token).filter_map(transfer);
                if next.is_some_and(|transfer| pays(&transfer, sought)) {
                    Finding::Paid { transaction }
                } else if all.any(|transfer| pays(&transfer, sought)) {
                    let text = format!("{transaction} paid us, and not by what is logged next: look by hand");
                    return Err(ChainError::Contradiction(text));
                } else {
                    Finding::Diverted { transaction }
                }
            }
        })
    }

    /// The event of the authorization in a transaction, where that holds it.
    async fn event_in(&self, sought: &Sought, transaction: TxHash) -> Result<Option<Event>, ChainError> {
        let Some(receipt) = self.receipt(transaction).await? else { return Ok(None) };
        let kind = receipt.logs.iter().find_map(|log| Kind::of(sought, log));
        Ok(kind.map(|kind| Event { kind, transaction }))
    }

    /// The receipt of a transaction that succeeded; one that did not has no events.
    async fn receipt(&self, transaction: TxHash) -> Result<Option<Receipt>, ChainError> {
        const QUESTION: &str = "eth_getTransactionReceipt";
        let Some(receipt) = answered(QUESTION, self.provider.get_transaction_receipt(transaction).await)? else {
            return Ok(None);
        };
        let receipt = &receipt.inner;
        if receipt.transaction_hash != transaction {
            return Err(ChainError::Contradiction(format!(
                "asked for {transaction}, got {}",
                receipt.transaction_hash
            )));
        }
        let Some(block) = receipt.block_number.filter(|_| receipt.inner.inner.status()) else { return Ok(None) };
        Ok(Some(Receipt { block, logs: receipt.inner.inner.logs().to_vec() }))
    }

    async fn is_spent(&self, sought: &Sought, block: u64) -> Result<bool, ChainError> {
        use alloy::sol_types::SolCall;
        const QUESTION: &str = "eth_call authorizationState";
        let call = authorizationStateCall { authorizer: sought.payer, nonce: sought.nonce };
        let request = alloy::rpc::types::TransactionRequest::default().to(sought.token).input(call.abi_encode().into());
        let answer = answered(QUESTION, self.provider.call(request.into()).block(block.into()).await)?;
        // No code at the address answers nothing, which is not `false`.
        authorizationStateCall::abi_decode_returns_validate(&answer)
            .map_err(|error| ChainError::NoAnswer { question: QUESTION, detail: error.to_string() })
    }

    async fn latest(&self) -> Result<Block, ChainError> {
        self.header(alloy::eips::BlockNumberOrTag::Latest).await
    }

    async fn block(&self, number: u64) -> Result<Block, ChainError> {
        let block = self.header(number.into()).await?;
        if block.number != number {
            return Err(ChainError::Contradiction(format!("asked for block {number}, got {}", block.number)));
        }
        Ok(block)
    }

    async fn header(&self, at: alloy::eips::BlockNumberOrTag) -> Result<Block, ChainError> {
        const QUESTION: &str = "eth_getBlockByNumber";
        let block = answered(QUESTION, self.provider.get_block_by_number(at).await)?;
        let block =
            block.ok_or_else(|| ChainError::NoAnswer { question: QUESTION, detail: format!("no block {at}") })?;
        Ok(Block { number: block.header.number, timestamp: block.header.timestamp })
    }
}

struct Receipt {
    block: u64,
    logs: Vec<Log>,
}

/// What became of an authorization, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Event {
    kind: Kind,
    transaction: TxHash,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Used,
    Canceled,
}

impl Kind {
    /// What a log says of the authorization, if it is the token's about it.
    fn of(sought: &Sought, log: &Log) -> Option<Kind> {
        [Kind::Used, Kind::Canceled].into_iter().find(|kind| kind.is(sought, log))
    }

    fn is(self, sought: &Sought, log: &Log) -> bool {
        let signature = match self {
            Kind::Used => AuthorizationUsed::SIGNATURE_HASH,
            Kind::Canceled => AuthorizationCanceled::SIGNATURE_HASH,
        };
        !log.removed
            && log.address() == sought.token
            && *log.topics() == [signature, sought.payer.into_word(), sought.nonce]
    }
}

/// A log as an ERC-20 transfer.
fn transfer(log: &Log) -> Option<Transfer> {
    Some(Transfer::decode_log_validate(&log.inner).ok()?.data)
}

fn pays(transfer: &Transfer, sought: &Sought) -> bool {
    transfer.from == sought.payer && transfer.to == sought.pay_to && transfer.value >= sought.amount
}

fn answered<T>(question: &'static str, answer: alloy::transports::TransportResult<T>) -> Result<T, ChainError> {
    answer.map_err(|error| ChainError::NoAnswer { question, detail: transport::for_log(&error.to_string()) })
}

#[cfg(test)]
mod tests;
