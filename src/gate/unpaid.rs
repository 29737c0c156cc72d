//! The challenge of a request that shows nothing: what the config alone decides.
//!
//! Most unpaid requests need no more than a look at their method, host, target and the names of their fields.
//! [`Gate::decide`](super::Gate::decide) says the same of them; whoever asks here first and is told nothing asks there.

use std::sync::Arc;

use http::Method;

use super::Request;
use super::answer::Answer;
use super::facts::Facts;
use super::generation::{Generation, LiveRoute, Quote};
use super::shown::Shown;
use crate::config::LimitBy;
use crate::route::canonical::CanonicalTarget;

/// A request for something priced, as far as its method, host and target tell.
pub struct Priced<'a> {
    generation: &'a Arc<Generation>,
    index: usize,
    live: &'a LiveRoute,
    quote: &'a Arc<Quote>,
    target: CanonicalTarget<'a>,
}

impl<'a> Priced<'a> {
    /// `None` where a field's name says that there is more to look at (a payment, a pass, a body), the target is ambiguous,
    /// no route matches, or the one that does is free. `host` is canonical, `names` are in any case.
    pub fn find<'n>(
        generation: &'a Arc<Generation>,
        method: &Method,
        host: &str,
        target: &'a [u8],
        names: impl IntoIterator<Item = &'n str>,
    ) -> Option<Priced<'a>> {
        // First: whoever shows something has all of it looked at elsewhere.
        if Shown::of(names) != Shown::default() {
            return None;
        }
        let target = CanonicalTarget::parse(target).ok()?;
        let index = generation.config.matcher.find(host, target.path(), method.as_str())?;
        let live = generation.route(index)?;
        Some(Priced { generation, index, live, quote: live.quote.as_ref()?, target })
    }

    /// The canonical path, without the query.
    pub fn path(&self) -> &str {
        self.target.path()
    }

    /// The route that matched.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its challenge. `None` where there is more to look at: a limit of the client's, a free use, or offers that no
    /// facilitator has made whole. Nothing is counted then. `facts` are those it was found by; a preflight (`OPTIONS`) is
    /// not to come here.
    pub fn challenge(&self, facts: &Facts<'_>) -> Option<Answer> {
        let Priced { generation, index, live, quote, target } = self;
        let is_counted = live.route.limit.is_some_and(|limit| limit.by == LimitBy::Client);
        let is_simple = !is_counted && quote.terms.free.is_none() && !quote.offers.is_empty();
        is_simple.then(|| Request { generation, index: *index, live, quote, facts, target }.terms())
    }
}
