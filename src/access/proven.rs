//! Passes whose signature was found good, so that a pass that comes with each request is checked once.
//!
//! A signature over one token, route and host stays good for as long as its key is held, so what is remembered lies
//! with the keys and goes with them. Only time ends a pass: that is asked each time.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::pass::Claims;

/// How many are remembered, of some 500 bytes each; who is forgotten is checked again.
const PASSES_MAX: usize = 4096;

/// The passes that are remembered. Only good ones are: nobody fills it without having paid.
pub(super) struct Proven {
    /// By token. It is found by a hash with a seed that nobody knows, so how long a look takes tells nobody how much of
    /// a guessed token is right.
    cache: Cache<Box<str>, Arc<Good>>,
}

/// What a token was good for, and what it says.
struct Good {
    route: Box<str>,
    host: Box<str>,
    claims: Claims,
}

impl Proven {
    pub(super) fn new() -> Proven {
        Proven { cache: Cache::new(PASSES_MAX) }
    }

    /// What this token was found to say, for this route and host.
    pub(super) fn get(&self, token: &str, route: &str, host: &str) -> Option<Claims> {
        let good = self.cache.get(token)?;
        (*good.route == *route && *good.host == *host).then(|| good.claims.clone())
    }

    /// Remembers it; may forget another one for it.
    pub(super) fn insert(&self, token: &str, route: &str, host: &str, claims: Claims) {
        self.cache.insert(token.into(), Arc::new(Good { route: route.into(), host: host.into(), claims }));
    }
}
