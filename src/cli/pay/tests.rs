//! `pay` against a seller that answers from a script.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use alloy::primitives::Address;
use alloy::signers::local::PrivateKeySigner;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::exchange::SENDS_MAX;
use super::terms::Terms;
use super::*;
use crate::evm::eip3009::{self, Token};
use crate::money::Amount;
use crate::x402::challenge::ChallengeTemplate;
use crate::x402::offer::Scheme;
use crate::x402::payment::Payload;
use crate::x402::{Asset, Network, Offer, Payment, Reason, SettlementResponse, header};

const PAY_TO: &str = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";

fn offer(network: &str, amount: u64) -> Offer {
    let network = Network::parse(network).unwrap();
    let asset = Asset::known(&network, "USDC").unwrap();
    let extra = asset.eip712.iter().flat_map(|domain| {
        [("name".to_owned(), json!(&*domain.name)), ("version".to_owned(), json!(&*domain.version))]
    });
    Offer {
        way: "usdc".into(),
        scheme: Scheme::Exact,
        extra: Arc::new(Map::from_iter(extra)),
        amount: Amount::from(amount),
        pay_to: PAY_TO.into(),
        max_timeout_seconds: 300,
        network,
        asset,
    }
}

/// What a seller does with a request.
#[derive(Clone)]
enum Answer {
    Http(String),
    /// Closes the connection without a word.
    Hangup,
}

fn answer(status: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    Answer::Http(format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"))
}

fn challenge(offers: &[Offer]) -> Answer {
    let challenge = ChallengeTemplate::new(offers, "Weather", "text/plain").render("http://seller.test/weather", None);
    let header = str::from_utf8(&challenge.payment_required).unwrap();
    answer("402 Payment Required", &[("payment-required", header)], str::from_utf8(&challenge.body).unwrap())
}

fn v1_challenge(offers: &[Offer]) -> Answer {
    let body = ChallengeTemplate::new(offers, "", "").render("http://seller.test/weather", None).body;
    answer("402 Payment Required", &[], str::from_utf8(&body).unwrap())
}

fn pending(headers: &[(&str, &str)]) -> Answer {
    let network = Network::parse("base-sepolia").unwrap();
    let settlement = SettlementResponse::failed(Dialect::V2, &network, Reason::SettlementPending, None, None);
    let settlement = header::encode_json(&settlement);
    answer("503 Service Unavailable", &[headers, &[("payment-response", settlement.as_str())]].concat(), "")
}

fn served() -> Answer {
    let network = Network::parse("base-sepolia").unwrap();
    let settled = SettlementResponse::settled(Dialect::V2, &network, "0xabc", None, Amount::from(1000));
    answer("200 OK", &[("PAYMENT-RESPONSE", &header::encode_json(&settled))], "sunny")
}

/// A seller on loopback: one answer a request, the last one again and again.
struct Seller {
    url: Url,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Seller {
    async fn new(script: Vec<Answer>) -> Seller {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/weather", listener.local_addr().unwrap()).parse().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        // Ends with the test's runtime.
        tokio::spawn(async move {
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                let request = read_request(&mut connection).await;
                let turn = {
                    let mut seen = seen.lock().unwrap();
                    seen.push(request);
                    seen.len() - 1
                };
                match script.get(turn).or(script.last()).unwrap() {
                    Answer::Http(text) => connection.write_all(text.as_bytes()).await.unwrap(),
                    Answer::Hangup => {}
                }
            }
        });
        Seller { url, requests }
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// The payment headers' values, one a request.
    fn payments(&self, dialect: Dialect) -> Vec<Option<String>> {
        let name = format!("{}: ", dialect.payment_header());
        let of = |request: &String| request.lines().find_map(|line| line.strip_prefix(&name)).map(str::to_owned);
        self.requests().iter().map(of).collect()
    }

    fn options(&self) -> Options {
        Options {
            url: self.url.clone(),
            method: Method::GET,
            headers: HeaderMap::new(),
            body: None,
            dialect: Dialect::V2,
            limit: "$1".parse().unwrap(),
            intent: Intent::Pay(PrivateKeySigner::random()),
            retry_wait: Duration::ZERO,
        }
    }
}

async fn read_request(connection: &mut TcpStream) -> String {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && connection.read(&mut byte).await.unwrap() == 1 {
        request.push(byte[0]);
    }
    let text = String::from_utf8(request).unwrap();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await.unwrap();
    text + &String::from_utf8(body).unwrap()
}

async fn pay_willingly(options: &Options) -> Result<Outcome, PayError> {
    pay(options, &mut |_| Consent::Given).await
}

fn paid(outcome: Result<Outcome, PayError>) -> Paid {
    match outcome {
        Ok(Outcome::Paid(paid)) => *paid,
        other => panic!("{other:?}"),
    }
}

/// The payment that a seller got, checked as a seller checks it.
fn checked(dialect: Dialect, value: &str, network: &str, options: &Options) -> Payment {
    let payment = header::decode_payment(dialect, value.as_bytes()).unwrap();
    let network = Network::parse(network).unwrap();
    let asset = Asset::known(&network, "USDC").unwrap();
    let token =
        Token::new(network.evm_chain_id().unwrap(), asset.address.parse().unwrap(), asset.eip712.as_ref().unwrap());
    let Payload::Eip3009 { authorization, signature } = &payment.payload else { panic!("{payment:?}") };
    let Intent::Pay(key) = &options.intent else { panic!("no key") };
    assert_eq!(eip3009::recover(&token, authorization, signature), Some(key.address()));
    assert_eq!(authorization.from, key.address());
    assert_eq!(authorization.to, PAY_TO.parse::<Address>().unwrap());
    assert_eq!(authorization.valid_before - authorization.valid_after, 600 + 300);
    payment
}

#[tokio::test]
async fn what_is_free_is_fetched() {
    let seller = Seller::new(vec![answer("200 OK", &[], "sunny")]).await;
    let Ok(Outcome::Free(response)) = pay_willingly(&seller.options()).await else { panic!("free") };
    assert_eq!(response.text().await.unwrap(), "sunny");
    assert_eq!(seller.requests().len(), 1);
}

#[tokio::test]
async fn v2_terms_are_paid_as_they_were_offered() {
    let seller = Seller::new(vec![challenge(&[offer("base-sepolia", 1000)]), served()]).await;
    let options = Options {
        method: Method::POST,
        headers: HeaderMap::from_iter([(http::header::ACCEPT, "text/plain".parse().unwrap())]),
        body: Some("where=here".into()),
        ..seller.options()
    };
    let paid = paid(pay_willingly(&options).await);
    assert_eq!((paid.unpaid.status, paid.receipt.sends), (StatusCode::PAYMENT_REQUIRED, 1));
    assert_eq!(paid.receipt.settlement.as_ref().map(|s| s.transaction.as_str()), Some("0xabc"));
    assert_eq!(paid.response.text().await.unwrap(), "sunny");

    let [None, Some(value)] = &seller.payments(Dialect::V2)[..] else { panic!("one payment, the second time") };
    let payment = checked(Dialect::V2, value, "base-sepolia", &options);
    assert!(offer("base-sepolia", 1000).is_accepted_by(payment.accepted.as_ref().unwrap()));
    assert_eq!(payment.json["resource"]["url"], "http://seller.test/weather");
    assert_eq!(payment.json, paid.receipt.payment.json);
    for request in seller.requests() {
        assert!(request.starts_with("POST /weather HTTP/1.1\r\n"), "{request}");
        assert!(request.contains("accept: text/plain\r\n") && request.ends_with("where=here"), "{request}");
    }
}

#[tokio::test]
async fn v1_terms_are_paid_where_v2s_are_missing_malformed_or_not_wanted() {
    let offers = [offer("base", 1000)];
    let Answer::Http(both) = challenge(&offers) else { panic!("an answer") };
    let malformed = Answer::Http(both.replace("payment-required: ", "payment-required: !"));
    for (first, dialect) in
        [(v1_challenge(&offers), Dialect::V2), (malformed, Dialect::V2), (challenge(&offers), Dialect::V1)]
    {
        let seller = Seller::new(vec![first, served()]).await;
        let options = Options { dialect, ..seller.options() };
        let paid = paid(pay_willingly(&options).await);
        assert_eq!(paid.response.status(), StatusCode::OK);
        let [None, Some(value)] = &seller.payments(Dialect::V1)[..] else { panic!("one v1 payment") };
        assert_eq!(checked(Dialect::V1, value, "base", &options).network, "base");
        assert_eq!(seller.payments(Dialect::V2), [None, None]);
    }
}

#[tokio::test]
async fn the_limit_is_never_passed() {
    for (limit, amount, within) in [
        ("$1", 1_000_000, true),
        ("$1", 1_000_001, false),
        ("0.000001", 1, true),
        ("0.000001", 2, false),
        // Finer than the token: not rounded to what it is not.
        ("0.0000019", 1, false),
    ] {
        let seller = Seller::new(vec![challenge(&[offer("base", amount)]), served()]).await;
        let options = Options { limit: limit.parse().unwrap(), ..seller.options() };
        match pay_willingly(&options).await {
            Ok(Outcome::Paid(_)) => assert!(within, "{amount} within {limit}"),
            Err(PayError::NothingPayable(offers)) => {
                assert!(!within, "{amount} within {limit}: {offers:?}");
                assert_eq!(seller.payments(Dialect::V2), [None], "nothing was signed for the seller to keep");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn an_offer_within_the_limit_is_found_behind_others() {
    let offers = [offer("solana", 1), offer("base", 2_000_000), offer("base-sepolia", 1000)];
    let seller = Seller::new(vec![challenge(&offers), served()]).await;
    let paid = paid(pay_willingly(&seller.options()).await);
    assert_eq!(paid.unpaid.quote.network.alias(), "base-sepolia");
    assert_eq!(paid.unpaid.quote.units(), "0.001 USDC");
}

#[tokio::test]
async fn nothing_is_paid_without_consent_or_when_only_looking() {
    for (intent, consent) in [
        (Intent::Look, Consent::Given),
        (Intent::Pay(PrivateKeySigner::random()), Consent::Refused),
        (Intent::Pay(PrivateKeySigner::random()), Consent::NobodyToAsk),
    ] {
        let seller = Seller::new(vec![challenge(&[offer("base", 1000)]), served()]).await;
        let options = Options { intent: intent.clone(), ..seller.options() };
        let outcome = pay(&options, &mut |_| consent).await;
        match (&intent, consent, outcome) {
            (Intent::Look, _, Ok(Outcome::Looked(unpaid))) => assert_eq!(unpaid.quote.amount, Amount::from(1000)),
            (Intent::Pay(_), Consent::Refused, Err(PayError::Refused)) => {}
            (Intent::Pay(_), Consent::NobodyToAsk, Err(PayError::NobodyToAsk)) => {}
            (intent, consent, outcome) => panic!("{intent:?}, {consent:?}: {outcome:?}"),
        }
        assert_eq!(seller.payments(Dialect::V2), [None]);
    }
}

#[tokio::test]
async fn a_refused_payment_is_not_followed_by_another() {
    let seller = Seller::new(vec![challenge(&[offer("base", 1000)])]).await;
    let paid = paid(pay_willingly(&seller.options()).await);
    assert_eq!((paid.response.status(), paid.receipt.sends), (StatusCode::PAYMENT_REQUIRED, 1));
    assert_eq!(seller.requests().len(), 2);
}

#[tokio::test]
async fn a_pending_payment_is_sent_again_and_no_second_one_is_signed() {
    let first = challenge(&[offer("base-sepolia", 1000)]);
    for unsettled in [
        vec![pending(&[("retry-after", "0")]), pending(&[])],
        vec![answer("503 Service Unavailable", &[("retry-after", "0")], "")],
        vec![Answer::Hangup, pending(&[]), Answer::Hangup],
    ] {
        let script = [vec![first.clone()], unsettled.clone(), vec![served()]].concat();
        let seller = Seller::new(script).await;
        let paid = paid(pay_willingly(&seller.options()).await);
        assert_eq!(paid.response.status(), StatusCode::OK);
        assert_eq!(paid.receipt.sends as usize, unsettled.len() + 1);
        let payments = seller.payments(Dialect::V2);
        assert_eq!(payments.len(), unsettled.len() + 2);
        assert!(payments[1..].iter().all(|payment| payment.as_ref() == Some(&paid.receipt.payment.value)));
    }
}

#[tokio::test]
async fn sending_again_has_an_end() {
    let first = challenge(&[offer("base-sepolia", 1000)]);
    let seller = Seller::new(vec![first.clone(), pending(&[])]).await;
    let paid = paid(pay_willingly(&seller.options()).await);
    assert_eq!((paid.response.status(), paid.receipt.sends), (StatusCode::SERVICE_UNAVAILABLE, SENDS_MAX));
    assert_eq!(seller.requests().len() as u32, SENDS_MAX + 1);

    let seller = Seller::new(vec![first.clone(), Answer::Hangup]).await;
    let outcome = pay_willingly(&seller.options()).await;
    assert!(matches!(outcome, Err(PayError::Unanswered { sends: SENDS_MAX, .. })), "{outcome:?}");

    // A seller that is merely down said nothing of trying again.
    let seller = Seller::new(vec![first, answer("503 Service Unavailable", &[], "")]).await;
    assert_eq!(paid_sends(pay_willingly(&seller.options()).await), 1);
}

fn paid_sends(outcome: Result<Outcome, PayError>) -> u32 {
    paid(outcome).receipt.sends
}

#[tokio::test]
async fn a_402_without_terms_and_a_silent_seller_are_told_apart() {
    for body in ["", "{}", "[]", r#"{"x402Version":3,"accepts":[]}"#, r#"{"x402Version":1}"#] {
        let seller = Seller::new(vec![answer("402 Payment Required", &[], body)]).await;
        let outcome = pay_willingly(&seller.options()).await;
        assert!(matches!(outcome, Err(PayError::NoTerms(_))), "{body}: {outcome:?}");
    }
    let seller = Seller::new(vec![Answer::Hangup]).await;
    let outcome = pay_willingly(&seller.options()).await;
    assert!(matches!(outcome, Err(PayError::Unreachable(_))), "{outcome:?}");
}

#[test]
fn what_cannot_be_paid_says_why() {
    let good = serde_json::to_value(offer("base-sepolia", 1000).to_v2()).unwrap();
    let cases = [
        ("/scheme", json!("upto"), "scheme \"upto\": only \"exact\" can be paid"),
        ("/network", json!("eip155:1"), "unknown token; what its units are worth is anybody's guess"),
        ("/network", json!("solana:5eykt4UsFv8P8NJdTREpY1vzqKqZKvdp"), "solana: only EVM networks can be paid on"),
        ("/network", json!("cosmos:x"), "\"cosmos:x\": not a network"),
        ("/asset", json!("0x0000000000000000000000000000000000000001"), "unknown token"),
        ("/payTo", json!("0x1"), "\"0x1\": not an address"),
        ("/amount", json!(1000), "malformed: "),
        ("/amount", json!("1000001"), "1.000001 USDC on base-sepolia is above the limit of 1"),
        ("/extra", json!({"name": "USDC"}), "no EIP-712 name and version of the token in \"extra\""),
        ("/extra", json!(null), "no EIP-712 name and version of the token in \"extra\""),
        ("/extra", json!({"assetTransferMethod": "permit2"}), "only EIP-3009 transfers can be signed"),
    ];
    let choose = |entry: Value| {
        let json = json!({"x402Version": 2, "accepts": [entry]});
        Terms { dialect: Dialect::V2, json }.choose("1".parse().unwrap())
    };
    assert!(choose(good.clone()).is_ok());
    for (pointer, value, expected) in cases {
        let mut entry = good.clone();
        *entry.pointer_mut(pointer).unwrap() = value;
        let unpayable = choose(entry).unwrap_err();
        assert_eq!(unpayable.len(), 1);
        assert!(unpayable[0].reason.contains(expected), "{pointer}: {}", unpayable[0]);
    }
    assert!(choose(json!("nonsense")).is_err());
}

#[test]
fn a_sellers_text_cannot_draw_on_the_terminal() {
    assert_eq!(report::printable("a\u{1b}[2Jb\r\nc\u{202e}d"), "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}d");
    assert_eq!(report::printable(&"x".repeat(1000)).len(), 400);
}

#[test]
fn headers_are_read_as_curl_reads_them() {
    let (name, value) = parse_header("Accept:  text/plain; q=0.5:x ").unwrap();
    assert_eq!((name.as_str(), value.as_bytes()), ("accept", &b"text/plain; q=0.5:x"[..]));
    for bad in ["Accept", "Ac cept: x", ": x", "A: b\nc"] {
        assert!(parse_header(bad).is_err(), "{bad:?}");
    }
    let secret = parse_header("Authorization: Bearer hush").unwrap();
    assert!(!format!("{secret:?}").contains("hush"));
    assert!(!parse_header("Authorization: Bearer hush\n1").unwrap_err().contains("hush"));
}
