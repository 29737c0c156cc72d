//! A node of a chain on loopback, for the unit tests and the gateway's: blocks every two seconds, one token, and
//! whatever became of the authorizations that a test says it knows.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use alloy::primitives::{Address, B256, U256, keccak256};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// The first block's time.
pub const GENESIS: u64 = 1_700_000_000;
/// Between two blocks.
pub const BLOCK_SECONDS: u64 = 2;

/// Base Sepolia's.
pub const CHAIN_ID: u64 = 84532;

/// What became of an authorization.
#[derive(Debug, Clone)]
pub enum Fate {
    /// Used: the token moved so much from the payer to somebody.
    Moved {
        /// Who was paid.
        to: Address,
        /// How much.
        value: u64,
    },
    /// The same, by a token that logs the transfer before the authorization's use.
    MovedFirst {
        /// Who was paid.
        to: Address,
        /// How much.
        value: u64,
    },
    /// Cancelled by its payer.
    Canceled,
    /// The state says that it is spent, and no event says how.
    Vanished,
}

/// One authorization that is spent.
#[derive(Debug, Clone)]
pub struct Spent {
    pub payer: Address,
    pub nonce: B256,
    pub block: u64,
    pub fate: Fate,
}

/// What a test decides.
#[derive(Debug, Clone)]
pub struct Books {
    pub chain_id: u64,
    pub token: Address,
    pub latest: u64,
    pub spent: Vec<Spent>,
    /// Each `eth_getLogs` may span so many blocks.
    pub range_max: u64,
    /// The next answers are these, whatever is asked.
    pub instead: Vec<String>,
    /// The methods that were asked, in order.
    pub asked: Vec<String>,
}

/// A node that is listening; it stops with this value.
pub struct FakeNode {
    pub address: SocketAddr,
    books: Arc<Mutex<Books>>,
    serving: tokio::task::JoinHandle<()>,
}

impl FakeNode {
    /// A chain that has reached this Unix time.
    pub async fn at(time: u64, token: Address) -> FakeNode {
        let latest = (time - GENESIS) / BLOCK_SECONDS;
        let books = Books {
            chain_id: CHAIN_ID,
            token,
            latest,
            spent: Vec::new(),
            range_max: 1000,
            instead: Vec::new(),
            asked: Vec::new(),
        };
        let books = Arc::new(Mutex::new(books));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = axum::Router::new().route("/", axum::routing::post(answer)).with_state(books.clone());
        let serving = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        FakeNode { address, books, serving }
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Changes what it knows.
    pub fn tell<T>(&self, change: impl FnOnce(&mut Books) -> T) -> T {
        change(&mut self.books.lock().unwrap())
    }
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// The block that was the latest at a Unix time.
pub fn block_at(time: u64) -> u64 {
    (time - GENESIS) / BLOCK_SECONDS
}

/// The hash of the transaction that spent an authorization.
pub fn transaction_of(nonce: B256) -> B256 {
    keccak256(nonce)
}

async fn answer(State(books): State<Arc<Mutex<Books>>>, Json(request): Json<Value>) -> Response {
    let mut books = books.lock().unwrap();
    let method = request["method"].as_str().unwrap().to_owned();
    books.asked.push(method.clone());
    if !books.instead.is_empty() {
        return books.instead.remove(0).into_response();
    }
    let result = match books.result(&method, &request["params"]) {
        Ok(result) => json!({ "jsonrpc": "2.0", "id": request["id"], "result": result }),
        Err(text) => json!({ "jsonrpc": "2.0", "id": request["id"], "error": { "code": -32000, "message": text } }),
    };
    Json(result).into_response()
}

fn number(value: &Value) -> Option<u64> {
    u64::from_str_radix(value.as_str()?.strip_prefix("0x")?, 16).ok()
}

fn quantity(number: u64) -> String {
    format!("{number:#x}")
}

impl Books {
    fn result(&self, method: &str, params: &Value) -> Result<Value, String> {
        match method {
            "eth_chainId" => Ok(json!(quantity(self.chain_id))),
            "eth_getBlockByNumber" => {
                let number = if params[0] == "latest" { self.latest } else { number(&params[0]).unwrap() };
                Ok(if number > self.latest { Value::Null } else { header(number) })
            }
            "eth_call" => self.call(params),
            "eth_getLogs" => self.logs(&params[0]),
            "eth_getTransactionReceipt" => Ok(self.receipt(&params[0])),
            other => Err(format!("the method {other} does not exist")),
        }
    }

    fn call(&self, params: &Value) -> Result<Value, String> {
        let block = number(&params[1]).unwrap();
        if block > self.latest {
            return Err("header not found".to_owned());
        }
        if params[0]["to"].as_str().unwrap().parse() != Ok(self.token) {
            return Ok(json!("0x"));
        }
        let input = params[0]["input"].as_str().unwrap();
        let spent = self.spent.iter().any(|spent| {
            spent.block <= block
                && input.contains(&format!("{:x}", spent.payer))
                && input.contains(&format!("{:x}", spent.nonce))
        });
        Ok(json!(format!("0x{:064x}", u8::from(spent))))
    }

    fn logs(&self, filter: &Value) -> Result<Value, String> {
        let (from, to) = (number(&filter["fromBlock"]).unwrap(), number(&filter["toBlock"]).unwrap());
        if to - from >= self.range_max {
            return Err(format!("query exceeds max block range {}", self.range_max));
        }
        let found = self.spent.iter().filter(|spent| (from..=to).contains(&spent.block));
        let logs = found.flat_map(|spent| self.events(spent)).filter(|log| log["topics"][2] == filter["topics"][2]);
        Ok(logs.collect())
    }

    fn receipt(&self, hash: &Value) -> Value {
        let Some(spent) = self.spent.iter().find(|spent| json!(transaction_of(spent.nonce)) == *hash) else {
            return Value::Null;
        };
        json!({
            "transactionHash": hash,
            "transactionIndex": "0x0",
            "blockHash": B256::with_last_byte(1),
            "blockNumber": quantity(spent.block),
            "from": Address::ZERO,
            "to": self.token,
            "cumulativeGasUsed": "0x1",
            "gasUsed": "0x1",
            "effectiveGasPrice": "0x1",
            "contractAddress": null,
            "logs": self.events(spent),
            "logsBloom": format!("0x{}", "00".repeat(256)),
            "status": "0x1",
            "type": "0x2",
        })
    }

    /// As a token logs them: the nonce is marked, then the money moves. Another payment stands before it, as in a batch.
    fn events(&self, spent: &Spent) -> Vec<Value> {
        let payer = spent.payer.into_word();
        let log = |topics: Value, data: String, index: u64| {
            json!({
                "address": self.token, "topics": topics, "data": data, "blockNumber": quantity(spent.block),
                "blockHash": B256::with_last_byte(1), "transactionHash": transaction_of(spent.nonce),
                "transactionIndex": "0x0", "logIndex": quantity(index), "removed": false,
            })
        };
        let used = keccak256("AuthorizationUsed(address,bytes32)");
        let transfer = |to: Address, value: u64, index| {
            let signature = keccak256("Transfer(address,address,uint256)");
            log(json!([signature, payer, to.into_word()]), format!("{:#066x}", U256::from(value)), index)
        };
        match &spent.fate {
            Fate::Vanished => Vec::new(),
            Fate::Canceled => {
                let signature = keccak256("AuthorizationCanceled(address,bytes32)");
                vec![log(json!([signature, payer, spent.nonce]), "0x".to_owned(), 0)]
            }
            Fate::Moved { to, value } => vec![
                log(json!([used, payer, B256::repeat_byte(0xee)]), "0x".to_owned(), 0),
                transfer(Address::repeat_byte(0xee), 7, 1),
                log(json!([used, payer, spent.nonce]), "0x".to_owned(), 2),
                transfer(*to, *value, 3),
            ],
            Fate::MovedFirst { to, value } => vec![
                transfer(*to, *value, 0),
                log(json!([used, payer, spent.nonce]), "0x".to_owned(), 1),
                transfer(Address::repeat_byte(0xee), 7, 2),
                log(json!([used, payer, B256::repeat_byte(0xee)]), "0x".to_owned(), 3),
            ],
        }
    }
}

fn header(number: u64) -> Value {
    let zero = B256::ZERO;
    json!({
        "number": quantity(number),
        "timestamp": quantity(GENESIS + number * BLOCK_SECONDS),
        "hash": B256::left_padding_from(&number.to_be_bytes()),
        "parentHash": zero, "sha3Uncles": zero, "miner": Address::ZERO, "stateRoot": zero, "transactionsRoot": zero,
        "receiptsRoot": zero, "logsBloom": format!("0x{}", "00".repeat(256)), "difficulty": "0x0",
        "gasLimit": "0x1", "gasUsed": "0x0", "extraData": "0x", "mixHash": zero, "nonce": "0x0000000000000000",
        "baseFeePerGas": "0x1", "size": "0x1", "uncles": [], "transactions": [],
    })
}
