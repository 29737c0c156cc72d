//! x402-reqwest, as its README says to use it, with reqwest's cookie store on: says its version, then pays one job a
//! line.

use std::collections::HashMap;
use std::error::Error;
use std::io::{self, BufRead};
use std::iter::successors;
use std::sync::Arc;

use alloy_signer_local::PrivateKeySigner;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Client, Method};
use reqwest_middleware::ClientWithMiddleware;
use serde::Deserialize;
use serde_json::{Value, json};
use x402_chain_eip155::{V1Eip155ExactClient, V2Eip155ExactClient};
use x402_reqwest::{ReqwestWithPayments, ReqwestWithPaymentsBuild, X402Client};
use x402_types::proto::v2::SettleResponse;
use x402_types::util::Base64Bytes;

/// Where the version that was built stands.
const LOCK: &str = include_str!("../../Cargo.lock");
/// v2's and v1's.
const SETTLEMENT_HEADERS: [&str; 2] = ["payment-response", "x-payment-response"];

#[derive(Deserialize)]
struct Job {
    url: String,
    method: Option<String>,
    headers: Option<HashMap<String, String>>,
    body: Option<String>,
    key: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let version = locked_version("x402-reqwest").ok_or("Cargo.lock does not name x402-reqwest")?;
    println!("{}", json!({ "version": version }));
    let mut clients = HashMap::new();
    for line in io::stdin().lock().lines() {
        let job: Job = serde_json::from_str(&line?)?;
        let answer = pay(&mut clients, job).await.unwrap_or_else(|error| json!({ "error": chain(&*error) }));
        println!("{answer}");
    }
    Ok(())
}

/// A client for each key: cookies are the payer's own.
async fn pay(clients: &mut HashMap<String, ClientWithMiddleware>, job: Job) -> Result<Value, Box<dyn Error>> {
    if !clients.contains_key(&job.key) {
        clients.insert(job.key.clone(), paying_client(&job.key)?);
    }
    let client = &clients[&job.key];
    let mut request = client
        .request(job.method.as_deref().unwrap_or("GET").parse::<Method>()?, &job.url)
        .headers(HeaderMap::try_from(&job.headers.unwrap_or_default())?);
    if let Some(body) = job.body {
        request = request.body(body);
    }
    let response = request.send().await?;
    let header = |name: &str| response.headers().get(name).cloned();
    let settlement = SETTLEMENT_HEADERS.into_iter().find_map(header).map(|value| settlement(&value));
    let pass = header("farebox-pass").map(|pass| pass.to_str().map(str::to_owned)).transpose()?;
    let status = response.status().as_u16();
    Ok(json!({ "status": status, "body": response.text().await?, "settlement": settlement, "pass": pass }))
}

fn paying_client(key: &str) -> Result<ClientWithMiddleware, Box<dyn Error>> {
    let signer = Arc::new(key.parse::<PrivateKeySigner>()?);
    let x402 =
        X402Client::new().register(V1Eip155ExactClient::new(signer.clone())).register(V2Eip155ExactClient::new(signer));
    Ok(Client::builder().cookie_store(true).build()?.with_payments(x402).build())
}

/// x402-types' own reading, written out as x402 has it; what it cannot read, with its own word why.
fn settlement(header: &HeaderValue) -> Value {
    let read = || -> Result<SettleResponse, Box<dyn Error>> {
        Ok(serde_json::from_slice(&Base64Bytes::from(header.as_bytes()).decode()?)?)
    };
    match read() {
        Ok(SettleResponse::Success { payer, transaction, network }) => {
            json!({ "success": true, "payer": payer, "transaction": transaction, "network": network })
        }
        Ok(SettleResponse::Error { reason, network }) => {
            json!({ "success": false, "errorReason": reason, "network": network })
        }
        Err(error) => json!({ "unreadable": error.to_string() }),
    }
}

fn locked_version(package: &str) -> Option<&'static str> {
    let name = format!("name = \"{package}\"");
    let mut lines = LOCK.lines().skip_while(|line| *line != name);
    lines.nth(1)?.strip_prefix("version = \"")?.strip_suffix('"')
}

/// An error and its causes in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = successors(Some(error), |&error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
