//! A client that pays once, for the pass that the load then shows, and a look at whether both proxies answer alike.

use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use alloy::primitives::B256;
use alloy::signers::local::PrivateKeySigner;
use farebox::evm::eip3009::{self, Token};
use farebox::x402::payment::Authorization;
use farebox::x402::{Asset, Network, header};
use reqwest::{Client, Response};
use serde_json::json;

use super::Failure;
use super::bare::Challenge;
use super::rows::{FREE, PRICED};

/// What a payment brought.
pub struct Paid {
    /// Opens the priced route.
    pub pass: String,
    /// The payment's header, which does so, too.
    pub payment: String,
}

/// Reads the challenge of Farebox's priced route and pays it.
pub fn pay_once(farebox: SocketAddr) -> Result<(Challenge, Paid), Failure> {
    blocking(async {
        let client = client()?;
        let challenge = answer(get(&client, farebox, PRICED, None).await?).await?;
        let terms = challenge.headers.iter().find(|(name, _)| name == header::PAYMENT_REQUIRED);
        let (_, terms) = terms.ok_or("the priced route answers no challenge")?;
        let payment = sign(terms)?;
        let paid = get(&client, farebox, PRICED, Some((header::PAYMENT_SIGNATURE, &payment))).await?;
        let pass = paid.headers().get("farebox-pass").map(|pass| pass.to_str().map(str::to_owned)).transpose()?;
        let pass = pass.ok_or_else(|| format!("paid, and got {} without a pass", paid.status()))?;
        Ok((challenge, Paid { pass, payment }))
    })
}

/// An error unless both say the same on both routes, without payment.
pub fn same_answers(bare: SocketAddr, farebox: SocketAddr) -> Result<(), Failure> {
    blocking(async {
        let client = client()?;
        for path in [PRICED, FREE] {
            let [mut theirs, mut ours] = [
                answer(get(&client, bare, path, None).await?).await?,
                answer(get(&client, farebox, path, None).await?).await?,
            ];
            theirs.headers.sort();
            ours.headers.sort();
            if (theirs.status, &theirs.headers, &theirs.body) != (ours.status, &ours.headers, &ours.body) {
                let shown = serde_json::to_string_pretty(&[theirs, ours])?;
                return Err(format!("{path}: the bare proxy and Farebox do not answer alike: {shown}").into());
            }
        }
        Ok(())
    })
}

fn blocking<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(work)
}

fn client() -> Result<Client, Failure> {
    // No TLS is spoken here, but a client is not built without a provider. One may have been installed before.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(Client::builder().no_proxy().build()?)
}

async fn get(
    client: &Client,
    server: SocketAddr,
    path: &str,
    header: Option<(&str, &str)>,
) -> Result<Response, reqwest::Error> {
    let request = client.get(format!("http://{server}{path}")).header("host", "api.example.com");
    let request = header.into_iter().fold(request, |request, (name, value)| request.header(name, value));
    request.send().await
}

async fn answer(response: Response) -> Result<Challenge, Failure> {
    let per_response = |name: &str| matches!(name, "date" | "connection" | "keep-alive");
    let headers = response.headers().iter().filter(|(name, _)| !per_response(name.as_str()));
    let headers = headers.map(|(name, value)| Ok((name.as_str().to_owned(), value.to_str()?.to_owned())));
    Ok(Challenge {
        status: response.status().as_u16(),
        headers: headers.collect::<Result<_, Failure>>()?,
        body: response.text().await?,
    })
}

/// The header of a payment of the first offer, signed with a key that nobody keeps: the sandbox gives each payer money.
fn sign(terms: &str) -> Result<String, Failure> {
    let terms = header::decode_payment_required(terms.as_bytes())?;
    let offer = terms.accepts.first().ok_or("the challenge has no offer")?;
    let network = Network::parse(&offer.network).map_err(|error| error.to_string())?;
    let chain_id = offer.network.strip_prefix("eip155:").ok_or("not an EVM network")?.parse()?;
    let domain = Asset::known(&network, "USDC").and_then(|asset| asset.eip712).ok_or("not a known token")?;
    let token = Token::new(chain_id, offer.asset.parse()?, &domain);
    let key = PrivateKeySigner::random();
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let signed = Authorization {
        from: key.address(),
        to: offer.pay_to.parse()?,
        value: offer.amount,
        valid_after: now - 60,
        valid_before: now + offer.max_timeout_seconds,
        nonce: B256::from(rand::random::<[u8; 32]>()),
    };
    let signature = eip3009::sign(&token, &signed, &key)?;
    Ok(header::encode_json(&json!({
        "x402Version": 2,
        "resource": terms.resource,
        "accepted": offer,
        "payload": {
            "signature": signature,
            "authorization": {
                "from": signed.from,
                "to": signed.to,
                "value": signed.value.to_string(),
                "validAfter": signed.valid_after.to_string(),
                "validBefore": signed.valid_before.to_string(),
                "nonce": signed.nonce,
            },
        },
    })))
}
