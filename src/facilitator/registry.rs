//! All facilitators of a config, and the pool of each way to pay.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;
use url::Url;

use super::http::HttpFacilitator;
use super::member::{Health, Member};
use super::pool::Pool;
use super::sandbox::SandboxFacilitator;
use super::{Facilitator, Fault, FaultKind, Observer, Order, Settlement};
use crate::config::{FacilitatorAt, FacilitatorConfig, Way};

/// Why a facilitator cannot be spoken to at all.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("facilitator {facilitator}: {detail}")]
pub struct BuildError {
    /// The `[facilitators.NAME]`.
    pub facilitator: Arc<str>,
    /// What is wrong with it.
    pub detail: String,
}

/// Every facilitator of a config by name, and a pool for each way to pay.
pub struct Facilitators {
    entries: BTreeMap<Arc<str>, Entry>,
    pools: BTreeMap<Arc<str>, Arc<Pool>>,
    observer: Arc<dyn Observer>,
}

#[derive(Clone)]
struct Entry {
    config: FacilitatorConfig,
    member: Arc<Member>,
    sandbox: Option<Arc<SandboxFacilitator>>,
}

impl Facilitators {
    /// Builds what a config names. A facilitator whose config is what it was in `previous` is taken over with all
    /// that it holds: connections, what it supports, the sandbox's books.
    pub fn new(
        facilitators: &BTreeMap<Arc<str>, FacilitatorConfig>,
        ways: &BTreeMap<Arc<str>, Way>,
        previous: Option<&Facilitators>,
        observer: Arc<dyn Observer>,
    ) -> Result<Facilitators, BuildError> {
        let mut entries = BTreeMap::new();
        for (name, config) in facilitators {
            let unchanged = previous
                .and_then(|previous| previous.entries.get(name))
                .filter(|entry| entry.config == *config)
                .cloned();
            let entry = match unchanged {
                Some(entry) => entry,
                None => Entry::new(name, config)?,
            };
            entries.insert(name.clone(), entry);
        }
        let pools = pools(ways, &entries, &observer);
        Ok(Facilitators { entries, pools, observer })
    }

    /// Others in the place of what a config names: to try what stands above with answers of the test's own.
    #[cfg(test)]
    pub(crate) fn standing_in(
        facilitators: &BTreeMap<Arc<str>, FacilitatorConfig>,
        ways: &BTreeMap<Arc<str>, Way>,
        mut stand_in: impl FnMut(&Arc<str>, &FacilitatorConfig) -> Arc<dyn Facilitator>,
    ) -> Facilitators {
        let observer: Arc<dyn Observer> = Arc::new(super::NoObserver);
        let mut entries = BTreeMap::new();
        for (name, config) in facilitators {
            let member = Arc::new(Member::new(stand_in(name, config), "test:".to_owned(), config.calls_in_flight()));
            entries.insert(name.clone(), Entry { config: config.clone(), member, sandbox: None });
        }
        let pools = pools(ways, &entries, &observer);
        Facilitators { entries, pools, observer }
    }

    /// The pool of a `[pay.NAME]`.
    pub fn pool(&self, way: &str) -> Option<&Arc<Pool>> {
        self.pools.get(way)
    }

    /// Asks the facilitator that was asked before to settle the same order again; where nobody knows which one that was,
    /// or it is gone from the config, the order's way to pay.
    pub async fn settle_again(&self, asked: Option<&str>, order: &Order) -> Settlement {
        if let Some(entry) = asked.and_then(|name| self.entries.get(name)) {
            return entry.member.settle(order, &*self.observer).await;
        }
        match self.pool(&order.offer.way) {
            Some(pool) => pool.settle(order).await,
            None => Settlement::NotSent {
                fault: Fault {
                    facilitator: asked.unwrap_or_default().into(),
                    kind: FaultKind::Unreached,
                    detail: format!("the config has no pay.{} any more", order.offer.way),
                },
            },
        }
    }

    /// Asks every facilitator at once, and each only once, what it supports.
    pub async fn refresh(&self) {
        join_all(self.entries.values().map(|entry| entry.member.refresh(&*self.observer))).await;
    }

    /// Every facilitator's health, by name.
    pub fn health(&self) -> Vec<Health> {
        self.entries.values().map(|entry| entry.member.health()).collect()
    }

    /// The sandbox of that name, to look into its books.
    pub fn sandbox(&self, name: &str) -> Option<&Arc<SandboxFacilitator>> {
        self.entries.get(name)?.sandbox.as_ref()
    }
}

fn pools(
    ways: &BTreeMap<Arc<str>, Way>,
    entries: &BTreeMap<Arc<str>, Entry>,
    observer: &Arc<dyn Observer>,
) -> BTreeMap<Arc<str>, Arc<Pool>> {
    let pool = |(way, Way { facilitators, facilitator_timeout }): (&Arc<str>, &Way)| {
        let members = facilitators.iter().filter_map(|name| entries.get(name)).map(|entry| entry.member.clone());
        (way.clone(), Arc::new(Pool::new(way.clone(), members.collect(), *facilitator_timeout, observer.clone())))
    };
    ways.iter().map(pool).collect()
}

impl Entry {
    fn new(name: &Arc<str>, config: &FacilitatorConfig) -> Result<Entry, BuildError> {
        let (facilitator, url, sandbox): (Arc<dyn Facilitator>, _, _) = match &config.at {
            FacilitatorAt::Http(http) => (Arc::new(HttpFacilitator::new(name.clone(), http)?), shown(&http.url), None),
            FacilitatorAt::Sandbox(sandbox) => {
                let sandbox = Arc::new(SandboxFacilitator::new(name.clone(), sandbox.clone()));
                (sandbox.clone(), "sandbox:".to_owned(), Some(sandbox))
            }
        };
        let member = Arc::new(Member::new(facilitator, url, config.calls_in_flight()));
        Ok(Entry { config: config.clone(), member, sandbox })
    }
}

/// Without user, password and query: keys are passed in either.
fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    // Refused only by URLs without a host, which have no user either.
    let _ = shown.set_username("");
    let _ = shown.set_password(None);
    shown.set_query(None);
    shown.set_fragment(None);
    shown.into()
}

#[cfg(test)]
mod tests;
