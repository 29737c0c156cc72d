//! Proof to an upstream that a request came through this gateway, and that what it says of the payment is true.
//!
//! An upstream that others can reach too would believe anybody's `farebox-payer`. With `[server] upstream_secret` each
//! forwarded request carries [`FAREBOX_SIGNATURE`]: `t=<Unix seconds>`, and for each secret `v1=<HMAC-SHA-256 in hex>`.
//! Two secrets are for changing one: the upstream accepts a request that either signed. docs/identity.md is the
//! format's description for those who verify.
//!
//! What is signed are lines, each with a line end that no part of a request's head can hold (RFC 9110 section 5.5,
//! RFC 9112 section 3): a label, the time, the method, the target, and every `farebox-*` header by name. So no two
//! requests read alike, and a header that is added, taken out or changed shows.

use std::io::Write as _;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sha2::Sha256;

use crate::config::Secret;

/// The header that carries the proof.
pub const FAREBOX_SIGNATURE: HeaderName = HeaderName::from_static("farebox-signature");

/// Tells these signatures from any other use of the same secret, and from any later format.
const LABEL: &str = "farebox-signature-v1";
/// The headers that are signed.
const OURS: &str = "farebox-";
/// Of a usual request's signed text.
const TEXT_BYTES: usize = 512;

/// Signs what upstreams are told.
#[derive(Clone)]
pub struct Signer {
    keyed: Vec<Hmac<Sha256>>,
}

impl std::fmt::Debug for Signer {
    /// Without the secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("secrets", &self.keyed.len()).finish_non_exhaustive()
    }
}

impl Signer {
    /// `None` without a secret: then nothing is signed.
    pub fn new(secrets: &[Secret]) -> Option<Signer> {
        // HMAC takes a key of any length.
        let keyed = secrets.iter().filter_map(|secret| Hmac::new_from_slice(secret.expose().as_bytes()).ok());
        let keyed: Vec<_> = keyed.collect();
        (!keyed.is_empty()).then_some(Signer { keyed })
    }

    /// The value of [`FAREBOX_SIGNATURE`] for a request as it is forwarded: `target` is its path and query, `headers` hold
    /// no signature yet, `now` is Unix seconds.
    pub fn sign(&self, method: &Method, target: &str, headers: &HeaderMap, now: u64) -> Option<HeaderValue> {
        let text = signed_text(method, target, headers, now);
        let mut value = format!("t={now}");
        for keyed in &self.keyed {
            let mut mac = keyed.clone();
            mac.update(&text);
            value.push_str(",v1=");
            value.push_str(&alloy::hex::encode(mac.finalize().into_bytes()));
        }
        HeaderValue::try_from(value).ok()
    }
}

fn signed_text(method: &Method, target: &str, headers: &HeaderMap, now: u64) -> Vec<u8> {
    let mut ours: Vec<(&str, &[u8])> = headers
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_bytes()))
        .filter(|(name, _)| name.starts_with(OURS))
        .collect();
    ours.sort_unstable();
    let mut text = Vec::with_capacity(TEXT_BYTES);
    // Writing to a vector cannot fail.
    let _ = writeln!(text, "{LABEL}\n{now}\n{method}\n{target}");
    for (name, value) in ours {
        for part in [name.as_bytes(), b":", value, b"\n"] {
            text.extend_from_slice(part);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_795_262_400;

    fn signer(secrets: &[&str]) -> Signer {
        let secrets: Vec<Secret> = secrets.iter().map(|secret| Secret::new((*secret).to_owned())).collect();
        Signer::new(&secrets).unwrap()
    }

    fn headers(fields: &[(&str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&str, &str)| {
            (HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap())
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn the_example_of_the_documentation_is_signed_as_it_says() {
        let document = include_str!("../../docs/identity.md");
        let fields = [
            ("x-other", "is not signed"),
            ("farebox-route", "premium"),
            ("farebox-payer", "0x90F79bf6EB2c4f870365E785982E1f101E93b906"),
            ("farebox-amount", "10000"),
        ];
        let text = signed_text(&Method::GET, "/v1/premium?q=1", &headers(&fields), NOW);
        let text = String::from_utf8(text).unwrap();
        assert!(document.contains(&text), "docs/identity.md does not have this text:\n{text}");
        let value = signer(&["an-example-secret-of-32-bytes-00"])
            .sign(&Method::GET, "/v1/premium?q=1", &headers(&fields), NOW)
            .unwrap();
        let value = value.to_str().unwrap();
        assert!(document.contains(value), "docs/identity.md does not have this header:\n{value}");
    }

    #[test]
    fn each_secret_signs_for_itself() {
        let (first, second) = ("a".repeat(32), "b".repeat(32));
        let sign = |secrets: &[&str]| {
            let value = signer(secrets).sign(&Method::GET, "/", &HeaderMap::new(), NOW).unwrap();
            value.to_str().unwrap().to_owned()
        };
        let (both, first, second) = (sign(&[&first, &second]), sign(&[&first]), sign(&[&second]));
        let mac = |value: &str| value.split_once(",v1=").unwrap().1.to_owned();
        assert_eq!(both, format!("t={NOW},v1={},v1={}", mac(&first), mac(&second)));
        assert_ne!(mac(&first), mac(&second));
    }

    #[test]
    fn nothing_is_signed_without_a_secret_and_debug_shows_none() {
        assert!(Signer::new(&[]).is_none());
        let shown = format!("{:?}", signer(&["hushhushhushhushhushhushhushhush"]));
        assert_eq!(shown, "Signer { secrets: 1, .. }");
    }

    #[test]
    fn no_two_of_many_similar_requests_read_alike() {
        let mut texts = HashSet::new();
        type Fields = &'static [(&'static str, &'static str)];
        let requests: [(&str, &str, Fields, u64); 9] = [
            ("GET", "/a", &[], NOW),
            ("GET", "/a", &[], NOW + 1),
            ("POST", "/a", &[], NOW),
            ("GET", "/a?farebox-payer:0x1", &[], NOW),
            ("GET", "/a", &[("farebox-payer", "0x1")], NOW),
            ("GET", "/a", &[("farebox-payer", "")], NOW),
            ("GET", "/a", &[("farebox-payer", "0x1"), ("farebox-amount", "")], NOW),
            ("GET", "/a", &[("farebox-payer", "0x1"), ("farebox-payer", "0x2")], NOW),
            ("GET", "/a", &[("farebox-payer", "0x1farebox-amount:1")], NOW),
        ];
        for (method, target, fields, now) in requests {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let text = signed_text(&method, target, &headers(fields), now);
            assert!(texts.insert(text), "{method} {target} {fields:?} {now} reads like another");
        }
    }

    proptest! {
        /// What was signed can be read back: so nothing else has the same text.
        #[test]
        fn a_signed_text_is_read_back_in_one_way(
            method in "[A-Z]{1,8}",
            target in "/[!-~]{0,40}",
            fields in prop::collection::btree_map("farebox-[a-z-]{1,12}", "[ -~]{0,20}", 0..6),
        ) {
            let pairs: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let text = signed_text(&Method::from_bytes(method.as_bytes()).unwrap(), &target, &headers(&pairs), NOW);
            let text = String::from_utf8(text).unwrap();
            let mut lines = text.lines();
            let now = NOW.to_string();
            let head = [LABEL, now.as_str(), method.as_str(), target.as_str()];
            for expected in head {
                prop_assert_eq!(lines.next(), Some(expected));
            }
            let read: Vec<(&str, &str)> = lines.map(|line| line.split_once(':').unwrap()).collect();
            prop_assert_eq!(read, pairs);
        }
    }
}
