//! Passes whose signature was found good, so that a pass that comes with each request is checked once.
//!
//! A signature over one token, route and host stays good for as long as its key is held, so what is remembered lies
//! with the keys and goes with them. Only time ends a pass: that is asked each time.

use std::sync::Arc;

use quick_cache::sync::Cache;
use subtle::ConstantTimeEq as _;

use super::pass::Claims;

/// How many are remembered, of some 500 bytes each; who is forgotten is checked again.
const PASSES_MAX: usize = 4096;

/// The passes that are remembered. Only good ones are: nobody fills it without having paid.
pub(super) struct Proven {
    /// By what is signed, in which nothing is secret: the mac is compared in constant time.
    cache: Cache<Box<str>, Arc<Good>>,
}

/// Which mac was good for what, and what it signs.
struct Good {
    mac: Box<str>,
    route: Box<str>,
    host: Box<str>,
    claims: Claims,
}

impl Proven {
    pub(super) fn new() -> Proven {
        Proven { cache: Cache::new(PASSES_MAX) }
    }

    /// What is signed here, if this mac was found good for this route and host.
    pub(super) fn get(&self, signed: &str, mac: &str, route: &str, host: &str) -> Option<Claims> {
        let good = self.cache.get(signed)?;
        let is_same =
            *good.route == *route && *good.host == *host && bool::from(good.mac.as_bytes().ct_eq(mac.as_bytes()));
        is_same.then(|| good.claims.clone())
    }

    /// Remembers it; may forget another one for it.
    pub(super) fn insert(&self, signed: &str, mac: &str, route: &str, host: &str, claims: Claims) {
        let good = Good { mac: mac.into(), route: route.into(), host: host.into(), claims };
        self.cache.insert(signed.into(), Arc::new(good));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x402::PaymentId;

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let proven = Proven::new();
        let claims = Claims {
            payer: "payer".into(),
            payment_id: PaymentId::parse(&"0".repeat(64)).unwrap(),
            expires_at: 1,
            uses: None,
        };
        for number in 0..2 * PASSES_MAX {
            let signed = number.to_string();
            proven.insert(&signed, "mac", "route", "host", claims.clone());
            assert_eq!(proven.get(&signed, "mac", "route", "host"), Some(claims.clone()));
            assert_eq!(proven.get(&signed, "mad", "route", "host"), None);
        }
        assert!(proven.cache.len() <= PASSES_MAX, "{}", proven.cache.len());
    }
}
