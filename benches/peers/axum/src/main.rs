//! x402-rs's middleware in an axum app as its documentation builds one, on one thread. See ../../README.md for `PEER_…`.

use std::env;
use std::error::Error;

use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tokio::net::TcpListener;
use x402_axum::X402Middleware;
use x402_chain_eip155::chain::ChecksummedAddress;
use x402_chain_eip155::{KnownNetworkEip155, V2Eip155Exact};
use x402_types::networks::USDC;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let pay_to: ChecksummedAddress = env::var("PEER_PAY_TO")?.parse()?;
    let price = USDC::base_sepolia().parse(env::var("PEER_PRICE")?.as_str())?;
    let x402 = X402Middleware::try_new(&format!("{}/", env::var("PEER_FACILITATOR")?))?;
    let paid = x402
        .with_price_tag(V2Eip155Exact::price_tag(pay_to, price))
        .with_description(env::var("PEER_DESCRIPTION")?)
        .with_mime_type("application/json".to_owned());
    let resource = get(|| async { Json(json!({ "paid": true })) });
    let app = Router::new().route(&env::var("PEER_PATH")?, resource.layer(paid));
    let listener = TcpListener::bind(("127.0.0.1", env::var("PEER_PORT")?.parse()?)).await?;
    Ok(axum::serve(listener, app).await?)
}
