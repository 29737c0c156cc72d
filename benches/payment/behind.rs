//! What is behind the gateway: a facilitator that says yes, and an upstream, in one process. Each takes as long as it is
//! told to, and what the facilitator was asked is counted.

use std::env;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::Failure;
use super::client::Connection;
use super::process::{Process, free_address, other_core};

/// What is paid for.
pub const PRICED: &str = "/priced/data";

/// What the facilitator was asked.
const CALLS: &str = "/calls";

/// Bytes of what is paid for.
const BODY_BYTES: usize = 1024;

/// How long each takes.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Delays {
    /// Milliseconds of a verification.
    #[arg(long)]
    pub verify: u64,
    /// Milliseconds of a settlement.
    #[arg(long)]
    pub settle: u64,
    /// Milliseconds of the upstream.
    #[arg(long)]
    pub upstream: u64,
}

/// The role's arguments.
#[derive(clap::Args)]
pub struct Args {
    /// Where it listens.
    listen: SocketAddr,
    #[command(flatten)]
    delays: Delays,
}

/// How often the facilitator was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// `/verify`.
    pub verify: u64,
    /// `/settle`.
    pub settle: u64,
}

/// Starts both on the load's core.
pub fn start(folder: &Path, delays: Delays) -> Result<Process, Failure> {
    let address = free_address()?;
    let Delays { verify, settle, upstream } = delays;
    let arguments = ["behind".to_owned(), address.to_string()].into_iter().chain([
        format!("--verify={verify}"),
        format!("--settle={settle}"),
        format!("--upstream={upstream}"),
    ]);
    let name = format!("facilitator and upstream {settle}");
    Process::start_on(other_core(), &name, &env::current_exe()?, arguments.map(Into::into), folder, address)
}

/// How often the facilitator was asked so far.
pub async fn calls(behind: SocketAddr) -> Result<Calls, Failure> {
    let answer = Connection::open(behind).await?.get(CALLS, None).await?;
    Ok(serde_json::from_slice(&answer.body)?)
}

/// Serves until the process is killed.
pub fn run(args: Args) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.listen).await?.tap_io(|stream| {
            // A connection on which this fails is slower, which would be seen.
            let _ = stream.set_nodelay(true);
        });
        let behind = Arc::new(Behind { delays: args.delays, verify: AtomicU64::new(0), settle: AtomicU64::new(0) });
        let router = Router::new()
            .route("/supported", get(supported))
            .route("/verify", post(verify))
            .route("/settle", post(settle))
            .route(CALLS, get(asked))
            .route(PRICED, get(upstream));
        Ok(axum::serve(listener, router.with_state(behind)).await?)
    })
}

/// Both, while they run.
struct Behind {
    delays: Delays,
    verify: AtomicU64,
    settle: AtomicU64,
}

/// Of a body that a facilitator is sent, who pays.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order {
    payment_payload: Payment,
}

#[derive(Deserialize)]
struct Payment {
    payload: Payload,
}

#[derive(Deserialize)]
struct Payload {
    authorization: Authorization,
}

#[derive(Deserialize)]
struct Authorization {
    from: String,
}

impl Order {
    fn payer(self) -> String {
        self.payment_payload.payload.authorization.from
    }
}

async fn supported() -> Json<Value> {
    let kind = json!({"x402Version": 2, "scheme": "exact", "network": "eip155:84532"});
    Json(json!({"kinds": [kind], "extensions": [], "signers": {}}))
}

async fn verify(State(behind): State<Arc<Behind>>, Json(order): Json<Order>) -> Json<Value> {
    behind.verify.fetch_add(1, Ordering::Relaxed);
    wait(behind.delays.verify).await;
    Json(json!({"isValid": true, "payer": order.payer()}))
}

async fn settle(State(behind): State<Arc<Behind>>, Json(order): Json<Order>) -> Json<Value> {
    behind.settle.fetch_add(1, Ordering::Relaxed);
    wait(behind.delays.settle).await;
    let transaction = alloy::hex::encode_prefixed(rand::random::<[u8; 32]>());
    Json(json!({"success": true, "transaction": transaction, "network": "eip155:84532", "payer": order.payer()}))
}

async fn asked(State(behind): State<Arc<Behind>>) -> Json<Calls> {
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    Json(Calls { verify: of(&behind.verify), settle: of(&behind.settle) })
}

async fn upstream(State(behind): State<Arc<Behind>>) -> [u8; BODY_BYTES] {
    wait(behind.delays.upstream).await;
    [b'x'; BODY_BYTES]
}

/// Nothing at all where it is nothing: a timer would take a turn.
async fn wait(milliseconds: u64) {
    if milliseconds > 0 {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    }
}
