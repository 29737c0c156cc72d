//! What the demo shows: one unpaid and one paid request, with decoded headers.

use std::fmt::Write as _;
use std::time::Duration;

use alloy::signers::local::PrivateKeySigner;
use http::{HeaderMap, Method};
use serde::Serialize;
use url::Url;

use super::Addresses;
use crate::cli::pay::{Consent, Intent, Options, Outcome, Paid, pay};
use crate::x402::{Dialect, header as wire};

/// Makes the two requests and prints them.
pub(super) async fn walk(config: &str, addresses: &Addresses) -> Result<(), String> {
    let Addresses { upstream, gateway, admin } = addresses;
    println!("Farebox demo: no chain, no account, no money. Three parts on loopback:\n");
    println!("  upstream   http://{upstream}   a backend that knows nothing of payments");
    println!("  gateway    http://{gateway}   Farebox, with a sandbox facilitator inside");
    println!("  admin      http://{admin}   metrics, health and status\n");
    println!("The gateway's whole config:\n\n{}", indented(config));

    let url = format!("http://{gateway}/premium");
    let options = Options {
        url: Url::parse(&url).map_err(|error| error.to_string())?,
        method: Method::GET,
        headers: HeaderMap::new(),
        body: None,
        dialect: Dialect::V2,
        limit: "1".parse().map_err(|error| format!("{error}"))?,
        intent: Intent::Pay(PrivateKeySigner::random()),
        retry_wait: Duration::from_secs(1),
    };
    let outcome = pay(&options, &mut |_| Consent::Given).await.map_err(|error| error.to_string())?;
    let Outcome::Paid(paid) = outcome else { return Err(format!("{url} was not asked money for")) };
    let Paid { unpaid, receipt, response } = *paid;

    println!("1. A request without a payment:  GET {url}\n");
    println!("   {}", unpaid.status);
    println!("   PAYMENT-REQUIRED, decoded (the body says the same to x402 v1 clients):");
    println!("{}", pretty(&unpaid.terms.json)?);
    println!("2. The same request, with a payment of {} that a throw-away key has signed:\n", unpaid.quote.units());
    println!("   PAYMENT-SIGNATURE, decoded:");
    println!("{}", pretty(&receipt.payment.json)?);
    println!("   {}", response.status());
    println!("   PAYMENT-RESPONSE, decoded (the transaction's hash says that it is not real):");
    println!("{}", pretty(&receipt.settlement)?);
    let pass = response.headers().get("farebox-pass").and_then(|pass| pass.to_str().ok()).map(str::to_owned);
    let body: serde_json::Value = response.json().await.map_err(|error| error.to_string())?;
    println!("   body:");
    println!("{}", pretty(&body)?);
    if let Some(pass) = pass {
        println!("   farebox-pass: opens the route for 60 seconds more, without paying:\n");
        println!("   curl -H 'farebox-pass: {pass}' {url}\n");
    }
    Ok(())
}

/// What to try while it stays up.
pub(super) fn stay(addresses: &Addresses) {
    let Addresses { gateway, admin, .. } = addresses;
    println!("Try it:\n");
    println!("  curl -i http://{gateway}/free");
    println!("  curl -i http://{gateway}/premium");
    // As it was called: a build in a checkout is not on anybody's PATH.
    let farebox = std::env::args().next().unwrap_or_else(|| "farebox".to_owned());
    println!("  {farebox} pay --throwaway --yes http://{gateway}/premium");
    println!("  curl -s http://{admin}/status");
    println!("  curl -s http://{admin}/metrics | grep farebox_\n");
    println!("Ctrl-C ends it. The terms travel in the {} header.", wire::PAYMENT_REQUIRED.to_uppercase());
}

fn pretty(value: &impl Serialize) -> Result<String, String> {
    let json = serde_json::to_string_pretty(value).map_err(|error| error.to_string())?;
    Ok(indented(&json))
}

fn indented(text: &str) -> String {
    let mut lines = String::new();
    for line in text.lines() {
        // Writing to a string cannot fail.
        let _ = if line.is_empty() { writeln!(lines) } else { writeln!(lines, "     {line}") };
    }
    lines
}
