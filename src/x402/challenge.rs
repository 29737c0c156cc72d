//! The 402 that a v1 and a v2 client can both pay, rendered ahead of time.
//!
//! Only two values differ from one request to the next: the resource's URL and the error. Everything around them is
//! rendered once. For the header it is also turned into base64 once: JSON allows white space before a value and
//! behind it, so each constant part is padded to whole groups of three bytes and its base64 stands by itself.

use std::borrow::Cow;
use std::sync::LazyLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;

use super::Offer;
use super::network::V1Reach;

/// What v2 clients are told when they sent no payment.
pub const UNPAID_V2: &str = "PAYMENT-SIGNATURE header is required";
/// What v1 clients are told when they sent no payment.
pub const UNPAID_V1: &str = "X-PAYMENT header is required";

/// A route's challenge with everything in place but the resource's URL and the error.
#[derive(Debug, Clone)]
pub struct ChallengeTemplate {
    header: HeaderTemplate,
    body: BodyTemplate,
}

/// One rendered challenge.
#[derive(Debug, Clone)]
pub struct Challenge {
    /// The value of `PAYMENT-REQUIRED`: base64 of the v2 terms.
    pub payment_required: Bytes,
    /// The body: the v1 terms as JSON.
    pub body: Bytes,
}

impl ChallengeTemplate {
    /// Renders what does not change.
    pub fn new(offers: &[Offer], description: &str, mime_type: &str) -> ChallengeTemplate {
        ChallengeTemplate {
            header: HeaderTemplate::new(offers, description, mime_type),
            body: BodyTemplate::new(offers, description, mime_type),
        }
    }

    /// Splices in the resource's URL, and the error: a refusal's code, or `None` for the usual sentence.
    ///
    /// Allocates twice, for the header and for the body (a URL that needs JSON's escapes costs one more).
    pub fn render(&self, resource_url: &str, error: Option<&str>) -> Challenge {
        let url = escaped(resource_url);
        let error = error.map(escaped);
        Challenge {
            payment_required: self.header.render(&url, error.as_deref()),
            body: self.body.render(&url, error.as_deref()),
        }
    }
}

/// The offers that the v1 body lists.
///
/// One name that it does not know makes a v1 client refuse the whole body. So names that every client knows stand
/// alone where there are any; else names that some know, without Solana's beside Ethereum's. May be none at all: a v1
/// client then finds nothing that it could pay, and a v2 client does not look here.
pub fn v1_offers(offers: &[Offer]) -> Vec<&Offer> {
    let of_reach = |reach| offers.iter().filter(move |offer| offer.network.v1_reach() == reach);
    let everyones: Vec<_> = of_reach(V1Reach::Everyone).collect();
    if !everyones.is_empty() {
        return everyones;
    }
    let (solana, others): (Vec<_>, Vec<_>) = of_reach(V1Reach::Newer).partition(|offer| offer.network.is_solana());
    if others.is_empty() { solana } else { others }
}

/// The v2 terms in base64, but for two strings, which are spliced in behind the [`Openings`].
#[derive(Debug, Clone)]
struct HeaderTemplate {
    /// From behind the URL to the end.
    rest: Box<str>,
}

/// What is the same in every route's header. Each part ends with a string's opening quote (after white space that fills its
/// last group); the string, its closing quote and white space are spliced in.
struct Openings {
    /// Up to the URL, with the usual error.
    unpaid: Box<str>,
    /// Up to the error.
    refused: Box<str>,
    /// From behind the error up to the URL.
    refused_url: Box<str>,
}

static OPENINGS: LazyLock<Openings> = LazyLock::new(|| Openings {
    unpaid: up_to_string(&format!(r#"{{"x402Version":2,"error":{},"resource":{{"url":"#, json(&UNPAID_V2))),
    refused: up_to_string(r#"{"x402Version":2,"error":"#),
    refused_url: up_to_string(r#","resource":{"url":"#),
});

impl HeaderTemplate {
    fn new(offers: &[Offer], description: &str, mime_type: &str) -> HeaderTemplate {
        let accepts: Vec<_> = offers.iter().map(Offer::to_v2).collect();
        let rest = format!(
            r#","description":{},"mimeType":{}}},"accepts":{}}}"#,
            json(&description),
            json(&mime_type),
            json(&accepts),
        );
        HeaderTemplate { rest: STANDARD.encode(rest).into() }
    }

    fn render(&self, url: &str, error: Option<&str>) -> Bytes {
        let Openings { unpaid, refused, refused_url } = &*OPENINGS;
        let (opening, error): (&[&str], _) = match error {
            None => (&[unpaid], None),
            Some(error) => (&[refused, refused_url], Some(error)),
        };
        let constant = opening.iter().map(|part| part.len()).fold(self.rest.len(), usize::saturating_add);
        let spliced = spliced_len(url).saturating_add(error.map_or(0, spliced_len));
        let mut header = String::with_capacity(constant.saturating_add(spliced));
        for (part, text) in opening.iter().zip(error.into_iter().chain([url])) {
            header.push_str(part);
            splice(&mut header, text);
        }
        header.push_str(&self.rest);
        header.into()
    }
}

/// Base64 of JSON that ends where a string is to follow, with that string's opening quote: whole groups only.
fn up_to_string(json: &str) -> Box<str> {
    let width = 3_usize.saturating_sub(json.len() % 3);
    STANDARD.encode(format!("{json}{:>width$}", '"')).into()
}

/// Appends the base64 of a string's inside, its closing quote and white space up to a whole group.
fn splice(header: &mut String, text: &str) {
    let (groups, rest) = text.as_bytes().as_chunks::<3>();
    STANDARD.encode_string(groups.as_flattened(), header);
    let last = match rest {
        [] => [b'"', b' ', b' '],
        [a] => [*a, b'"', b' '],
        [a, b, ..] => [*a, *b, b'"'],
    };
    STANDARD.encode_string(last, header);
}

/// Bytes that [`splice`] appends.
fn spliced_len(text: &str) -> usize {
    (text.len() / 3).saturating_add(1).saturating_mul(4)
}

/// The v1 terms, but for the error and the URL, which stands in every entry.
#[derive(Debug, Clone)]
struct BodyTemplate {
    /// From behind the error; a URL belongs between each part and the next.
    parts: Vec<Box<str>>,
    /// Bytes of all parts together.
    parts_len: usize,
}

const BODY_START: &str = r#"{"x402Version":1,"error":""#;

impl BodyTemplate {
    fn new(offers: &[Offer], description: &str, mime_type: &str) -> BodyTemplate {
        let mut parts: Vec<Box<str>> = Vec::new();
        let mut part = r#"","accepts":["#.to_owned();
        for (index, offer) in v1_offers(offers).into_iter().enumerate() {
            part.push_str(if index == 0 { "{" } else { ",{" });
            part.push_str(&format!(
                r#""scheme":{},"network":{},"maxAmountRequired":{},"resource":""#,
                json(&offer.scheme.name()),
                json(&offer.network.v1_name()),
                json(&offer.amount),
            ));
            parts.push(part.into());
            part = format!(
                r#"","description":{},"mimeType":{},"payTo":{},"maxTimeoutSeconds":{},"asset":{},"extra":{}}}"#,
                json(&description),
                json(&mime_type),
                json(&offer.pay_to),
                offer.max_timeout_seconds,
                json(&offer.asset.address),
                json(&*offer.extra),
            );
        }
        part.push_str("]}");
        parts.push(part.into());
        BodyTemplate { parts_len: parts.iter().map(|part| part.len()).sum(), parts }
    }

    fn render(&self, url: &str, error: Option<&str>) -> Bytes {
        let error = error.unwrap_or(UNPAID_V1);
        let urls = self.parts.len().saturating_sub(1).saturating_mul(url.len());
        let constant = self.parts_len.saturating_add(BODY_START.len());
        let mut body = String::with_capacity(constant.saturating_add(error.len()).saturating_add(urls));
        body.push_str(BODY_START);
        body.push_str(error);
        for (index, part) in self.parts.iter().enumerate() {
            if index > 0 {
                body.push_str(url);
            }
            body.push_str(part);
        }
        body.into()
    }
}

/// A text as it stands between JSON's quotes; hardly any URL needs a change.
fn escaped(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        return Cow::Borrowed(text);
    }
    let mut quoted = Value::from(text).to_string();
    quoted.pop();
    quoted.remove(0);
    Cow::Owned(quoted)
}

fn json<T: Serialize>(value: &T) -> String {
    // Strings, numbers and maps with string keys: there is always JSON for them.
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Amount;
    use crate::x402::offer::Scheme;
    use crate::x402::{Asset, Network, header, v1, v2};
    use proptest::prelude::*;
    use serde_json::Map;
    use std::sync::Arc;

    fn offer(network: &str) -> Offer {
        let network = Network::parse(network).unwrap();
        Offer {
            way: "usdc".into(),
            scheme: Scheme::Exact,
            asset: Asset {
                address: "0x036CbD53842c5426634e7929541eC2318f3dCF7e".into(),
                decimals: 6,
                symbol: "USDC".into(),
                eip712: None,
            },
            network,
            amount: Amount::from(1000),
            pay_to: "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC".into(),
            max_timeout_seconds: 300,
            extra: Arc::default(),
        }
    }

    fn offers() -> impl Strategy<Value = Vec<Offer>> {
        let networks: Vec<_> = Network::aliases().chain(["eip155:31337"]).collect();
        let one = (proptest::sample::select(networks), any::<u64>(), any::<u64>(), ".{0,20}", "\\PC{0,20}").prop_map(
            |(network, amount, max_timeout_seconds, text, key)| Offer {
                amount: Amount::from(amount),
                max_timeout_seconds,
                pay_to: text.as_str().into(),
                extra: Arc::new(Map::from_iter([("name".to_owned(), Value::from(text)), (key, Value::from(amount))])),
                ..offer(network)
            },
        );
        proptest::collection::vec(one, 0..5)
    }

    proptest! {
        #[test]
        fn a_challenge_says_exactly_the_terms_in_both_versions(
            offers in offers(),
            url in any::<String>(),
            description in any::<String>(),
            mime_type in any::<String>(),
            error in any::<Option<String>>(),
        ) {
            let template = ChallengeTemplate::new(&offers, &description, &mime_type);
            let challenge = template.render(&url, error.as_deref());
            let resource = v2::ResourceInfo { url, description, mime_type };

            prop_assert!(http::HeaderValue::from_maybe_shared(challenge.payment_required.clone()).is_ok());
            let terms = header::decode_payment_required(&challenge.payment_required).unwrap();
            prop_assert_eq!(terms, v2::PaymentRequired {
                x402_version: 2,
                error: Some(error.clone().unwrap_or_else(|| UNPAID_V2.to_owned())),
                resource: resource.clone(),
                accepts: offers.iter().map(Offer::to_v2).collect(),
                extensions: None,
            });

            let body: v1::PaymentRequired = serde_json::from_slice(&challenge.body).unwrap();
            prop_assert_eq!(body, v1::PaymentRequired {
                x402_version: 1,
                error: Some(error.unwrap_or_else(|| UNPAID_V1.to_owned())),
                accepts: v1_offers(&offers).into_iter().filter_map(|offer| offer.to_v1(&resource)).collect(),
            });
        }

        #[test]
        fn strict_base64_decoders_read_the_header_too(url in "[a-z:/]{0,40}", error in proptest::option::of("[a-z_]{0,20}")) {
            let challenge = ChallengeTemplate::new(&[offer("base")], "", "").render(&url, error.as_deref());
            let json = STANDARD.decode(&challenge.payment_required).unwrap();
            // No white space but the padding: nothing is written twice or left behind a value.
            let terms: v2::PaymentRequired = serde_json::from_slice(&json).unwrap();
            prop_assert!(json.len() - serde_json::to_vec(&terms).unwrap().len() <= 8);
        }

        #[test]
        fn capacities_are_exact(url in any::<String>(), error in any::<Option<String>>()) {
            // An exact capacity is what makes `Bytes` take the buffer over as it is.
            let template = ChallengeTemplate::new(&[offer("base"), offer("avalanche")], "Weather", "");
            let (url, error) = (escaped(&url), error.as_deref().map(escaped));
            let header = template.header.render(&url, error.as_deref());
            let body = template.body.render(&url, error.as_deref());
            for bytes in [header, body] {
                let length = bytes.len();
                prop_assert_eq!(Vec::from(bytes).capacity(), length);
            }
        }
    }

    #[test]
    fn the_v1_body_lists_only_what_its_readers_know() {
        let cases: &[(&[&str], &[&str])] = &[
            (&["base", "avalanche"], &["base", "avalanche"]),
            (&["polygon", "base", "monad", "solana"], &["base"]),
            (&["polygon", "monad", "sei", "solana"], &["polygon", "sei"]),
            (&["solana", "solana-devnet"], &["solana", "solana-devnet"]),
            (&["monad", "solana"], &["solana"]),
            (&["monad", "ethereum", "eip155:31337"], &[]),
            (&[], &[]),
        ];
        for (offered, expected) in cases {
            let offers: Vec<_> = offered.iter().map(|network| offer(network)).collect();
            let listed: Vec<_> = v1_offers(&offers).iter().map(|offer| offer.network.alias().to_owned()).collect();
            assert_eq!(listed, *expected, "{offered:?}");
        }
    }
}
